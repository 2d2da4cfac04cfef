#!/usr/bin/env bash
# The back end at http://127.0.0.1:5000 and the front end, built, at http://127.0.0.1:5173, until Ctrl-C.
# API_PORT, WEB_PORT: other ports. BIN: where flask is. DIST: where the front end is built.
set -euo pipefail
cd "$(dirname "$0")"

api_port=${API_PORT:-5000} web_port=${WEB_PORT:-5173} dist=${DIST:-$PWD/frontend/dist}
flask=${BIN:-../../.venv/bin}/flask
export FLASK_FRONTEND_URL=http://127.0.0.1:$web_port VITE_API_URL=http://127.0.0.1:$api_port

command -v npm >/dev/null || { echo "There is no npm here: install Node.js 20.19 or newer." >&2; exit 1; }
cd frontend
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci
npm run build -- --outDir "$dist" --emptyOutDir
cd ..

trap 'kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 0' INT TERM
"$flask" --app app.py run --port "$api_port" &
back_end=$!
# CORS lets in the front end at this port, and at no other that Vite would look for.
(cd frontend && exec node_modules/.bin/vite preview --outDir "$dist" --port "$web_port" --strictPort) &
front_end=$!
while kill -0 "$back_end" 2>/dev/null && kill -0 "$front_end" 2>/dev/null; do sleep 1; done
echo "One of the two has ended, and so the other does: see above." >&2
exit 1
