"""The application of a Celery worker, ``celery --app tests.celery_worker worker``, as ``TEST_SITE``
describes it."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery
from flask import Flask

from .site import make_site


def celery_of(app: Flask, **config: Any) -> Celery:
    """Give an application its Celery, as Flask's documentation does it."""
    celery = Celery(app.name)
    celery.config_from_object(config)
    app.extensions["celery"] = celery
    return celery


def by_celery(**config: Any) -> dict[str, Any]:
    """What ``make_site`` needs for an application whose mail goes by Celery."""
    return {"before": lambda app: celery_of(app, **config), "MAIL_DISPATCHER": "celery"}


if "TEST_SITE" in os.environ:
    described = json.loads(os.environ["TEST_SITE"])
    app = make_site(**by_celery(**described.pop("celery")), **described).app.extensions["celery"]
