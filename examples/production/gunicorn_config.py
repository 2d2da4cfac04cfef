"""What ``gunicorn --config gunicorn_config.py`` runs on each application host."""

from __future__ import annotations

import os

wsgi_app = "app:create_app()"
bind = os.environ.get("BIND", "0.0.0.0:8000")
worker_class = "gthread"
workers = int(os.environ.get("WORKERS", "2"))
threads = int(os.environ.get("THREADS", "4"))
keepalive = (
    75  # seconds; longer than nginx keeps a connection, so that it is never gunicorn that hangs up
)
forwarded_allow_ips = ""  # the application itself decides whom it believes
control_socket_disable = True
