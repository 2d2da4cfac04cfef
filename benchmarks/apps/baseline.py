"""The baseline: plain Flask and Flask-SQLAlchemy, by hand, for one application and no other.

It writes to the database what ours writes, takes the same hash, signs the same links, renders the
same mail and hands it to threads; and nothing else: no schemas, no strength of passwords, no
settings, no throttles, no signals.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    jsonify,
    render_template,
    request,
    session,
)
from flask.typing import ResponseReturnValue
from flask_mail import Mail, Message
from flask_sqlalchemy import SQLAlchemy
from itsdangerous import BadSignature, URLSafeTimedSerializer
from pwdlib import PasswordHash
from sqlalchemy import DateTime, String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from zxcvbn_rs_py import zxcvbn

from benchmarks.workload import (
    LOGGED_IN,
    PAGE,
    PASSWORD,
    SECRET_KEY,
    Orders,
    Request,
    Surroundings,
    name,
    prepare_in_process,
)

from . import common

db = SQLAlchemy()
mail = Mail()
accounts = Blueprint("accounts", __name__, url_prefix="/accounts")
senders = ThreadPoolExecutor(4)
hasher = PasswordHash([common.make_hasher(Surroundings.of_process())])
tokens = URLSafeTimedSerializer(
    SECRET_KEY,
    salt="token",
    signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
)

#: Whether a registration also rates the password, looks for the name before the INSERT, so that the
#: time does not reveal a taken address, and renders the e-mail after the response, from the row.
SAME_WORK = False

USERNAME = re.compile(r"[\w.+-]{1,150}")
EMAIL = re.compile(r"[\w.+-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE | re.ASCII)


class User(db.Model):  # type: ignore[name-defined,misc]  # Flask-SQLAlchemy makes the class at run time
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(150))
    username_key: Mapped[str] = mapped_column(String(450), unique=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    first_name: Mapped[str] = mapped_column(String(150))
    last_name: Mapped[str] = mapped_column(String(150))
    is_active: Mapped[bool]
    is_verified: Mapped[bool]
    security_stamp: Mapped[str] = mapped_column(String(32))
    date_joined: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_login: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


def create_app() -> Flask:
    """Make the application."""
    app = common.make_app(__name__, Surroundings.of_process())
    db.init_app(app)
    mail.init_app(app)
    app.register_blueprint(accounts)
    return app


def error(code: str, status: int = 400) -> ResponseReturnValue:
    return jsonify(detail="This was refused.", code=code), status


def key_of(username: str) -> str:
    return unicodedata.normalize("NFKC", username).casefold()


def signature(user: User, timestamp: str) -> str:
    text = f"verify|{user.id}|{timestamp}|{user.email}|{user.security_stamp}"
    return hmac.new(SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def link_of(user: User) -> dict[str, str]:
    timestamp = str(int(time.time()))
    return {
        "user_id": str(user.id),
        "timestamp": timestamp,
        "signature": signature(user, timestamp),
    }


def mail_of(user: User) -> tuple[str, list[str], str, str]:
    url = f"{PAGE}?{urlencode(link_of(user))}"
    context = {"url": url, "email": user.email, "site_name": "example.com", "valid_for": "7 days"}
    text, html = render_template("mail.txt", **context), render_template("mail.html", **context)
    return "Confirm your e-mail address for example.com", [user.email], text, html


def hand_over(*contents: Any) -> None:
    senders.submit(send, current_app._get_current_object(), contents)  # type: ignore[attr-defined]


def render_and_send(app: Flask, user_id: int) -> None:
    with app.test_request_context():
        user = find(User.id == user_id)
        assert user is not None
        contents = mail_of(user)
        db.session.remove()
        send(app, contents)


def send(app: Flask, contents: tuple[Any, ...]) -> None:
    with app.app_context():
        mail.send(Message(*contents))


@accounts.post("/register/")
def register() -> ResponseReturnValue:
    body = request.get_json()
    username, email, password = body.get("username"), body.get("email"), body.get("password")
    errors = {}
    if not isinstance(username, str) or not USERNAME.fullmatch(username):
        errors["username"] = ["Not a username."]
    if not isinstance(email, str) or len(email) > 254 or not EMAIL.fullmatch(email):
        errors["email"] = ["Not an address."]
    if not isinstance(password, str) or not 8 <= len(password) <= 256:
        errors["password"] = ["Not a password."]
    if body.get("password_confirm") != password:
        errors["password_confirm"] = ["The passwords differ."]
    if SAME_WORK and not errors and int(zxcvbn(password, [username, email]).score) < 3:
        errors["password"] = ["Too easy to guess."]
    if errors:
        return jsonify(errors), 400
    if SAME_WORK:
        key = key_of(username)
        taken = (User.username_key == key) | (User.email == email.lower())
        if db.session.execute(select(User.id, User.username_key, User.email).where(taken)).all():
            return error("taken")
    user = User(
        username=username,
        username_key=key_of(username),
        email=email.lower(),
        password_hash=hasher.hash(password),
        first_name="",
        last_name="",
        is_active=True,
        is_verified=False,
        security_stamp=secrets.token_hex(16),
        date_joined=datetime.now(UTC),
        last_login=None,
    )
    db.session.add(user)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        return error("taken")
    reply = {"username": username, "email": user.email, "first_name": "", "last_name": ""}
    if SAME_WORK:
        user_id = user.id
        db.session.commit()
        senders.submit(render_and_send, current_app._get_current_object(), user_id)  # type: ignore[attr-defined]
        return jsonify(reply), 201
    contents = mail_of(user)
    db.session.commit()
    hand_over(*contents)
    return jsonify(reply), 201


@accounts.post("/verify-registration/")
def verify() -> ResponseReturnValue:
    body = request.get_json()
    user_id, timestamp, given = (
        str(body.get(name, "")) for name in ("user_id", "timestamp", "signature")
    )
    user = find(User.id == int(user_id)) if user_id.isdecimal() else None
    if (
        user is None
        or not user.is_active
        or not hmac.compare_digest(signature(user, timestamp), given)
    ):
        return error("signature-invalid")
    if int(timestamp) < time.time() - 7 * 86400:
        return error("signature-expired")
    if not change(user, is_verified=True):
        return error("signature-invalid")
    db.session.commit()
    return jsonify(detail="User verified successfully")


@accounts.post("/resend-verification/")
def resend() -> ResponseReturnValue:
    user = find(User.username_key == key_of(str(request.get_json().get("login"))))
    if user is not None and user.is_active and not user.is_verified:
        hand_over(*mail_of(user))
    return jsonify(detail="A mail is on its way")


@accounts.post("/send-reset-password-link/")
def send_reset_password_link() -> ResponseReturnValue:
    user = find(User.username_key == key_of(str(request.get_json().get("login"))))
    if user is not None and user.is_active:
        hand_over(*mail_of(user))
    return jsonify(detail="A mail is on its way")


@accounts.post("/login/")
def login() -> ResponseReturnValue:
    body = request.get_json()
    user = find(User.username_key == key_of(str(body.get("login"))))
    password = str(body.get("password"))[:256]
    if user is None:
        hasher.hash(password)
        return error("login-invalid")
    if (
        not hasher.verify(password, user.password_hash)
        or not user.is_active
        or not user.is_verified
    ):
        return error("login-invalid")
    if not change(user, last_login=datetime.now(UTC)):
        return error("login-invalid")
    session.clear()
    session["user"] = [user.id, mark(user)]
    db.session.commit()
    return jsonify(detail="Login successful")


@accounts.get("/profile/")
def profile() -> ResponseReturnValue:
    authorization = request.authorization
    if authorization is not None and authorization.type == "bearer":
        try:
            key, seen = tokens.loads(authorization.token or "", max_age=14 * 86400)
        except BadSignature:
            return error("not-authenticated", 401)
    else:
        key, seen = session.get("user", (None, None))
    user = None if key is None else find(User.id == key)
    if user is None or not user.is_active or not hmac.compare_digest(mark(user), seen):
        return error("not-authenticated", 401)
    shown = ("id", "username", "email", "first_name", "last_name")
    return jsonify({name: getattr(user, name) for name in shown})


@accounts.after_request
def add_headers(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def find(condition: Any) -> User | None:
    return db.session.scalars(select(User).where(condition)).one_or_none()


def change(user: User, **columns: Any) -> bool:
    """One statement, if the account is still as it was seen."""
    unchanged = (User.id == user.id, User.is_active, User.security_stamp == user.security_stamp)
    statement = (
        update(User).where(*unchanged).values(columns).execution_options(synchronize_session=False)
    )
    return bool(db.session.execute(statement).rowcount == 1)  # type: ignore[attr-defined]


def mark(user: User) -> str:
    return hashlib.sha256(user.security_stamp.encode()).hexdigest()[:32]


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made."""
    app = create_app()
    logged_in = range(1, min(LOGGED_IN, orders.users) + 1)
    with app.app_context():
        db.create_all()
        common.fill_users(Surroundings.of_process(), orders)
        links = [
            link_of(db.session.get_one(User, n)) for n in orders.verifying() or [orders.users + 1]
        ]
        users = [db.session.get_one(User, number) for number in logged_in]
        signed = [str(tokens.dumps([user.id, mark(user)])) for user in users]
    cookies = []
    for number in logged_in:
        client = app.test_client()
        client.post("/accounts/login/", json={"login": name(number), "password": PASSWORD})
        cookie = client.get_cookie("session")
        cookies.append(f"session={cookie.value if cookie else ''}")
    return common.requests(orders, links, cookies, signed)


if __name__ == "__main__":
    prepare_in_process(prepare)
