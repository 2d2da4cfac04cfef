#!/usr/bin/env bash
# Two application hosts behind nginx, and a worker for mail, on a machine without Docker.
#
#   run.sh          run in the foreground, until Ctrl-C
#   run.sh start    run in the background; returns when it answers
#   run.sh stop     stop it
#   run.sh status   say what runs; ends with status 1 where something does not
#   run.sh purge    remove the database, the queue, the counters and the logs
#   run.sh flask …  a command of Flask's, with the environment of the hosts
set -euo pipefail
cd "$(dirname "$0")"

export PATH="${BIN:-$PWD/../../.venv/bin}:$PATH:/usr/sbin"
export RUN_DIR=${RUN_DIR:-$PWD/instance}
port=${PORT:-8000}
export LISTEN=127.0.0.1:$port
export HOST_1=${HOST_1:-127.0.0.1:8001} HOST_2=${HOST_2:-127.0.0.1:8002}
# nginx speaks from an address of its own, so that nobody else on this machine is taken for it.
export PROXY_BIND=${PROXY_BIND:-127.0.0.2} TRUSTED_PROXIES=${TRUSTED_PROXIES:-127.0.0.2}
export PUBLIC_URL=${PUBLIC_URL:-http://127.0.0.1:$port}
export DATABASE_URL=${DATABASE_URL:-postgresql+psycopg://postgres@127.0.0.1:5432/flask_registration_production}
export REDIS_URL=${REDIS_URL:-redis://127.0.0.1:6379/7}
export BROKER_URL=${BROKER_URL:-redis://127.0.0.1:6379/8}
export ACCESS_LOG=$RUN_DIR/access.log
if [ -z "${SECRET_KEY:-}" ]; then
    ./secrets.sh
    SECRET_KEY=$(sed -n 's/^SECRET_KEY=//p' .env)
fi
export SECRET_KEY FLASK_SKIP_DOTENV=1

parts=(host-1 host-2 worker nginx)

alive() { [ -e "$RUN_DIR/$1.pid" ] && kill -0 "$(cat "$RUN_DIR/$1.pid")" 2>/dev/null; }

answers() {
    python3 - "http://$1/health" <<'END' 2>/dev/null
import sys, urllib.request
sys.exit(urllib.request.urlopen(sys.argv[1], timeout=5).status != 200)
END
}

# In the background, with its output in a log of its own.
begin() {
    "begin_${1%-[12]}" "$1" >>"$RUN_DIR/$1.log" 2>&1 &
    echo $! >"$RUN_DIR/$1.pid"
}

begin_host() {
    local address=HOST_${1#host-}
    BIND=${!address} exec gunicorn --config gunicorn_config.py
}

begin_worker() {
    if [ "${FLASK_REGISTRATION_MAIL_DISPATCHER:-celery}" = outbox ]; then
        exec flask --app app registration send-mail --watch
    fi
    exec celery --app worker worker --concurrency "${MAIL_WORKERS:-2}" --loglevel INFO \
        --without-gossip --without-mingle --without-heartbeat
}

# wait_for PART ADDRESS: until it answers there
wait_for() {
    for _ in $(seq 240); do
        answers "$2" && return
        alive "$1" || break
        sleep 0.25
    done
    tail -n 20 "$RUN_DIR/$1.log" >&2
    echo "$1 does not answer at http://$2." >&2
    exit 1
}

begin_nginx() { exec nginx -p "$RUN_DIR" -c "$RUN_DIR/nginx.conf" -e stderr; }

end_all() {
    trap - EXIT
    trap '' INT TERM
    for part in nginx host-1 host-2 worker; do
        if alive "$part"; then
            # nginx, and then the hosts, finish the requests that are under way, and the worker its mail
            kill -s "$([ "$part" = nginx ] && echo QUIT || echo TERM)" "$(cat "$RUN_DIR/$part.pid")"
        fi
    done
    wait
    rm -rf "$RUN_DIR"/*.pid "$RUN_DIR/nginx.conf" "$RUN_DIR/site.conf" "$RUN_DIR/nginx"
}

run() {
    if alive run; then
        echo "It runs already." >&2
        exit 1
    fi
    for program in nginx gunicorn celery flask; do
        command -v "$program" >/dev/null || { echo "There is no $program here: see README.md." >&2; exit 1; }
    done
    mkdir -p "$RUN_DIR/nginx"
    echo $$ >"$RUN_DIR/run.pid"
    trap end_all EXIT
    trap 'exit 0' INT TERM

    python3 servers.py create
    python3 - <<'END'
import os, string
from pathlib import Path

run, site = Path(os.environ["RUN_DIR"]), Path("site.conf.template").read_text()
(run / "site.conf").write_text(string.Template(site).safe_substitute(os.environ))
paths = "\n".join(f"    {kind}_temp_path {run}/nginx/{kind};" for kind in "client_body proxy fastcgi uwsgi scgi".split())
(run / "nginx.conf").write_text(f"""
daemon off;
pid {run}/nginx/nginx.pid;
events {{}}
http {{
{paths}
    include {run}/site.conf;
}}
""")
END
    for part in host-1 host-2 worker; do begin "$part"; done
    wait_for host-1 "$HOST_1"
    wait_for host-2 "$HOST_2"
    begin nginx
    wait_for nginx "$LISTEN"
    touch "$RUN_DIR/ready.pid"
    echo "http://$LISTEN/health answers; the endpoints are below http://$LISTEN/accounts/. Logs are in $RUN_DIR."
    while :; do
        wait -n || true
        for part in "${parts[@]}"; do
            alive "$part" || { echo "$part has ended, and is started again." >&2; sleep 1; begin "$part"; }
        done
    done
}

case ${1:-run} in
run)
    run
    ;;
start)
    if alive run; then
        echo "It runs already." >&2
        exit 1
    fi
    mkdir -p "$RUN_DIR"
    rm -f "$RUN_DIR/ready.pid"
    nohup setsid "$BASH" "$PWD/run.sh" run >"$RUN_DIR/run.log" 2>&1 </dev/null &
    started=$!
    until [ -e "$RUN_DIR/ready.pid" ]; do
        kill -0 "$started" 2>/dev/null || { cat "$RUN_DIR/run.log" >&2; exit 1; }
        sleep 0.1
    done
    cat "$RUN_DIR/run.log"
    ;;
stop)
    alive run || { echo "It does not run."; exit 0; }
    running=$(cat "$RUN_DIR/run.pid")
    kill "$running"
    while kill -0 "$running" 2>/dev/null; do sleep 0.1; done
    echo "Stopped."
    ;;
status)
    status=0
    for part in "${parts[@]}"; do
        if alive "$part"; then
            echo "$part runs"
        else
            echo "$part does not run"
            status=1
        fi
    done
    if answers "$LISTEN"; then
        echo "http://$LISTEN answers"
    else
        echo "http://$LISTEN does not answer"
        status=1
    fi
    exit $status
    ;;
flask)
    shift
    exec flask --app app "$@"
    ;;
purge)
    if alive run; then
        echo "It still runs: stop it first." >&2
        exit 1
    fi
    python3 servers.py drop
    rm -rf "$RUN_DIR"
    echo "The database, the queue, the counters and the logs are removed. The secrets in .env are kept."
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' run.sh >&2
    exit 2
    ;;
esac
