"""Flask-Security: https://flask-security-too.readthedocs.io/"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from flask import Flask, g, has_app_context, jsonify
from flask_mail import Mail
from flask_security import (
    Security,
    SQLAlchemyUserDatastore,
    auth_required,
    current_user,
    hash_password,
)
from flask_security.confirmable import generate_confirmation_token
from flask_security.models import fsqla_v3 as fsqla
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.engine import Engine

from benchmarks.filling import fill
from benchmarks.workload import (
    LOGGED_IN,
    PASSWORD,
    SECRET_KEY,
    SENDER,
    Orders,
    Request,
    Surroundings,
    address,
    name,
    post,
    prepare_in_process,
    registrations,
)

surroundings = Surroundings.of_process()
app = Flask(__name__)
app.config.from_mapping(
    SECRET_KEY=SECRET_KEY,
    SECURITY_PASSWORD_SALT=SECRET_KEY,
    SQLALCHEMY_DATABASE_URI=surroundings.database,
    MAIL_SERVER="127.0.0.1",
    MAIL_PORT=surroundings.mail_port,
    MAIL_SUPPRESS_SEND=not surroundings.mail_port,
    MAIL_DEFAULT_SENDER=SENDER,
    SECURITY_EMAIL_SENDER=SENDER,
    SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
    SECURITY_REGISTERABLE=True,
    SECURITY_CONFIRMABLE=True,
    SECURITY_RECOVERABLE=True,
    SECURITY_TRACKABLE=False,
    SECURITY_USERNAME_ENABLE=True,
    SECURITY_USERNAME_REQUIRED=True,
    SECURITY_PASSWORD_CONFIRM_REQUIRED=True,
    SECURITY_PASSWORD_COMPLEXITY_CHECKER=None,
    SECURITY_RETURN_GENERIC_RESPONSES=False,
    SECURITY_REDIRECT_BEHAVIOR="spa",
    SECURITY_POST_CONFIRM_VIEW="/confirmed",
    SECURITY_CONFIRM_ERROR_VIEW="/refused",
    SECURITY_PASSWORD_HASH="argon2",
    SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS={
        "argon2__time_cost": surroundings.time_cost,
        "argon2__memory_cost": surroundings.memory_cost,
        "argon2__parallelism": 1,
    },
    WTF_CSRF_ENABLED=False,
)
if (
    surroundings.hash == "cheap"
):  # its links have a hash of the address, which takes 200 ms as shipped
    app.config["SECURITY_HASHING_SCHEMES"] = ["hex_md5"]
    app.config["SECURITY_DEPRECATED_HASHING_SCHEMES"] = []
db = SQLAlchemy(app)
fsqla.FsModels.set_db_info(db)
Mail(app)


class Role(db.Model, fsqla.FsRoleMixin):
    pass


class User(db.Model, fsqla.FsUserMixin):
    pass


app.security = Security(app, SQLAlchemyUserDatastore(db, User, Role))


@app.get("/profile")
@auth_required("session", "token")
def profile() -> Any:
    return jsonify(id=current_user.id, username=current_user.username, email=current_user.email)


if surroundings.count_queries:

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_: Any) -> None:
        if has_app_context():
            g.queries = g.get("queries", 0) + 1

    @app.after_request
    def tell(response: Any) -> Any:
        response.headers["X-Queries"] = str(g.get("queries", 0))
        return response


def fill_users(orders: Orders) -> None:
    """The tables, and the verified and the pending accounts."""
    db.create_all()
    password, now = (
        hash_password(PASSWORD),
        datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" "),
    )
    yes = 1 if surroundings.database.startswith("sqlite") else True
    columns = ["id", "username", "email", "password", "active", "fs_uniquifier"]
    columns += ["confirmed_at", "create_datetime", "update_datetime"]

    def rows() -> Iterator[Sequence[Any]]:
        for number in range(1, orders.users + orders.pending + 1):
            confirmed = now if number <= orders.users else None
            yield (
                number,
                name(number),
                address(number),
                password,
                yes,
                secrets.token_hex(16),
                confirmed,
                now,
                now,
            )

    fill(surroundings.database, "user", columns, rows())


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made."""
    counts, json = orders.counts, {"Accept": "application/json"}
    with app.app_context():
        fill_users(orders)
        pending = [
            db.session.get(User, number) for number in orders.verifying() or [orders.users + 1]
        ]
        links = [generate_confirmation_token(user) for user in pending]
        users = [
            db.session.get(User, number) for number in range(1, min(LOGGED_IN, orders.users) + 1)
        ]
        tokens = [user.get_auth_token() for user in users]
    cookies = []
    for number in range(1, min(LOGGED_IN, orders.users) + 1):
        client = app.test_client()
        client.post("/login", json={"username": name(number), "password": PASSWORD})
        cookies.append(f"session={client.get_cookie('session').value}")
    wrong = {"username": "a b", "email": "nobody", "password": "short", "password_confirm": "shirt"}
    sessions = [{**json, "Cookie": cookie} for cookie in cookies]
    bearers = [{**json, "Authentication-Token": token} for token in tokens]
    forged = links[0].rpartition(".")[0] + "." + "A" * 27
    return {
        "register": registrations("/register", counts["register"], status=200),
        "bad-input": [post("/register", wrong, 400) for _ in range(counts["bad-input"])],
        "verify": [Request("GET", f"/confirm/{link}", 302) for link in links[: counts["verify"]]],
        "forged-link": [
            Request("GET", f"/confirm/{forged}", 302) for _ in range(counts["forged-link"])
        ],
        "resend": [
            post("/confirm", {"email": address(number)}) for number in orders.asking_again()
        ],
        "login": [
            post("/login", {"username": name(number), "password": PASSWORD})
            for number in orders.verified("login")
        ],
        "profile-session": [
            Request("GET", "/profile", 200, "", sessions[number % len(sessions)])
            for number in range(counts["profile-session"])
        ],
        "profile-token": [
            Request("GET", "/profile", 200, "", bearers[number % len(bearers)])
            for number in range(counts["profile-token"])
        ],
        "reset-link": [
            post("/reset", {"email": address(number)}) for number in orders.verified("reset-link")
        ],
    }


if __name__ == "__main__":
    prepare_in_process(prepare)
