"""An application with Flask-Registration, as its documentation shows it."""

from __future__ import annotations

from importlib.util import find_spec
from urllib.parse import parse_qsl, urlsplit

from flask import Flask
from flask_mail import Mail
from flask_sqlalchemy import SQLAlchemy

from benchmarks.workload import (
    LOGGED_IN,
    PAGE,
    PASSWORD,
    Orders,
    Request,
    Surroundings,
    name,
    prepare_in_process,
)
from flask_registration import (
    DEFAULT_FLOWS,
    ChallengeMixin,
    InvitationMixin,
    Registration,
    UserMixin,
    current_registration,
)
from flask_registration.flows.register import VERIFY

from . import common

db = SQLAlchemy()
mail = Mail()
registration = Registration()


class User(UserMixin, db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    __tablename__ = "users"


class Challenge(ChallengeMixin, db.Model):  # type: ignore[name-defined,misc]  # see above
    __tablename__ = "challenges"


class Invitation(InvitationMixin, db.Model):  # type: ignore[name-defined,misc]  # see above
    __tablename__ = "invitations"


def create_app(*, with_codes: bool = False, with_sign_up: bool = False) -> Flask:
    """Make the application.

    :param with_sign_up: whether it has the flows sign_up and invitations. With codes it has
        sign_up in any case.
    :param with_codes: whether e-mails have codes beside links, and log users in.
    """
    surroundings = Surroundings.of_process()
    app = common.make_app(__name__, surroundings)
    app.config["REGISTRATION_REGISTER_VERIFICATION_URL"] = PAGE
    app.config["REGISTRATION_PASSWORD_HASHER"] = common.make_hasher(surroundings)
    if find_spec("flask_registration.throttling"):
        app.config["REGISTRATION_THROTTLES"] = False  # one client asks for everybody here
    # With few users, each of them is asked about time and again.
    app.config["REGISTRATION_MAIL_LIMITS"] = None
    db.init_app(app)
    mail.init_app(app)
    if with_codes:
        from flask_registration.flows import codes, mail_login, sign_up

        app.config["REGISTRATION_VERIFICATION_METHOD"] = "both"
        flows = [*DEFAULT_FLOWS, codes.flow, mail_login.flow, sign_up.flow]
        Registration(app, user_model=User, models=[Challenge], flows=flows)
    elif with_sign_up:
        from flask_registration.flows import invitations, sign_up

        app.config["REGISTRATION_MAY_INVITE"] = lambda user, data: True
        flows = [*DEFAULT_FLOWS, sign_up.flow, invitations.flow]
        Registration(app, user_model=User, models=[Invitation], flows=flows)
    else:
        registration.init_app(app, user_model=User)
    return app


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made."""
    app = create_app()
    with app.app_context():
        db.create_all()
        common.fill_users(Surroundings.of_process(), orders)
        links = []
        for number in orders.verifying() or [orders.users + 1]:
            pending = db.session.get(User, number)
            url = current_registration.links.url(VERIFY, pending, PAGE)
            links.append(dict(parse_qsl(urlsplit(url).query)))
        tokens = [
            current_registration.tokens.provide_token(db.session.get(User, n))
            for n in range(1, LOGGED_IN + 1)
            if n <= orders.users
        ]
    cookies = []
    for number in range(1, min(LOGGED_IN, orders.users) + 1):
        client = app.test_client()
        client.post("/accounts/login/", json={"login": name(number), "password": PASSWORD})
        cookie = client.get_cookie("session")
        cookies.append(f"session={cookie.value if cookie else ''}")
    return common.requests(orders, links, cookies, tokens)


if __name__ == "__main__":
    prepare_in_process(prepare)
