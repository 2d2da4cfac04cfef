"""What ``celery --app worker worker`` runs: it sends the mail."""

from __future__ import annotations

from app import create_app

celery = create_app().extensions["celery"]
