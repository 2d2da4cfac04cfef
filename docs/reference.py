"""Make the page of endpoints from the API description of an application with every flow."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy
from werkzeug.utils import import_string

import flask_registration
from flask_registration import DEFAULT_FLOWS, Registration, UserMixin
from flask_registration.flows.default import OPTIONAL_FLOWS
from flask_registration.gate import ProofOfWork
from flask_registration.openapi.markdown import to_markdown
from flask_registration.openapi.serving import Description


def endpoints_page() -> str:
    """Return the endpoints of all flows in Markdown, of an application that gives tokens too."""
    db, app = SQLAlchemy(), Flask("docs")
    names = [name for name in flask_registration.__all__ if name.endswith("Mixin")]
    mixins = [getattr(flask_registration, name) for name in names if "User" not in name]
    models: list[Any] = [
        type(mixin.__name__.removesuffix("Mixin"), (mixin, db.Model), {})
        for mixin in mixins
        if hasattr(mixin, "__registration_role__")
    ]
    columns = [mixin for mixin in mixins if not hasattr(mixin, "__registration_role__")]
    user_model = type("User", (*columns, UserMixin, db.Model), {})
    app.config["SECRET_KEY"] = "for no longer than it takes to build the pages"
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["MAIL_DEFAULT_SENDER"] = "no-reply@example.com"
    app.config["REGISTRATION_REGISTER_VERIFICATION_URL"] = (
        "https://example.com/verify-registration/"
    )
    app.config["REGISTRATION_LOGIN_RETRIEVE_TOKEN"] = True
    app.config["REGISTRATION_VERIFICATION_METHOD"] = "both"
    app.config["REGISTRATION_CREDENTIAL_KEYS"] = ["a key of at least thirty-two characters"]
    app.config["REGISTRATION_SECOND_FACTOR_RECOVERY_DELAY"] = 72 * 60 * 60
    app.config["REGISTRATION_NEW_LOGIN_NOTICE_ENABLED"] = True
    app.config["REGISTRATION_GATE"] = ProofOfWork()
    app.config["REGISTRATION_TERMS_VERSION"] = "2026-11"
    app.config["REGISTRATION_DELETION_GRACE"] = 30 * 24 * 60 * 60
    db.init_app(app)
    Mail(app)
    optional = [import_string(path) for path in OPTIONAL_FLOWS]
    flows = [*DEFAULT_FLOWS, *(flow for flow in optional if not flow.pages)]
    Registration(app, user_model=user_model, models=models, flows=flows)
    return to_markdown(Description(app, app.extensions["registration"]).document)
