"""Run the quick start on the port in ``PORT``: ``PORT=8000 python -m examples.quickstart``."""

from __future__ import annotations

from .app import create_app, port

create_app().run(port=int(port()), debug=True)
