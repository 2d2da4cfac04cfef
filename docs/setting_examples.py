# ruff: noqa: E402, F811 -- readers copy each example alone
"""The example of each setting in ``settings.md``: a line of a configuration file.

An example runs alone. It is everything from the end of the one before: imports, functions, and
settings on adjacent lines, of which the last one is the one that it is about.
"""

# The model

REGISTRATION_USER_LOGIN_FIELDS = ["username", "email"]

REGISTRATION_USER_LOGIN_FIELDS_UNIQUE_CHECK_ENABLED = False

REGISTRATION_USER_PUBLIC_FIELDS = ["first_name", "last_name", "company"]

REGISTRATION_USER_EDITABLE_FIELDS = ["first_name", "last_name"]

REGISTRATION_USER_HIDDEN_FIELDS = ["last_name"]

REGISTRATION_USER_EMAIL_FIELD = "email_address"

REGISTRATION_USER_PASSWORD_FIELD = "password"

REGISTRATION_USER_VERIFICATION_ID_FIELD = "public_id"

REGISTRATION_USER_VERIFICATION_FLAG_FIELD = "email_confirmed"

REGISTRATION_USER_ACTIVE_FIELD = "enabled"

REGISTRATION_USER_SECURITY_STAMP_FIELD = "session_version"

REGISTRATION_USERNAME_PATTERN = r"[a-z][a-z0-9-]{2,30}"

REGISTRATION_EMAIL_VALIDATOR_OPTIONS = {"globally_deliverable": False}

from flask_registration.validators import allowed_domains

REGISTRATION_EMAIL_VALIDATORS = [allowed_domains("example.com", "example.org")]

from marshmallow import ValidationError

from flask_registration.validators import reserved_names


def no_digits_only(username, **kwargs):
    if username.isdigit():
        raise ValidationError("Use at least one letter.")


REGISTRATION_USERNAME_VALIDATORS = [reserved_names, no_digits_only]

# Passwords

from flask_registration.auth.passwords import long_enough, strong_enough
from flask_registration.validators import not_breached

REGISTRATION_PASSWORD_VALIDATORS = [long_enough, strong_enough, not_breached]

REGISTRATION_PASSWORD_MIN_LENGTH = 15

REGISTRATION_PASSWORD_MIN_STRENGTH = 4

REGISTRATION_BREACHED_PASSWORDS_URL = "https://passwords.example.com/range/"

from pwdlib.hashers.argon2 import Argon2Hasher

REGISTRATION_PASSWORD_HASHER = Argon2Hasher(memory_cost=65536)

REGISTRATION_PASSWORD_HASH_CONCURRENCY = 2

REGISTRATION_PASSWORD_HASH_QUEUE = 16

# Logins

REGISTRATION_LOGIN_RETRIEVE_TOKEN = True
REGISTRATION_LOGIN_AUTHENTICATE_SESSION = False

REGISTRATION_LOGIN_RETRIEVE_TOKEN = True

import secrets

from flask_registration import current_registration


class TokensInMemory:
    """Tokens of one process. See "JSON Web Tokens (JWT)" for a larger example."""

    tokens = {}

    def provide_token(self, user):
        token = secrets.token_urlsafe()
        self.tokens[token] = current_registration.users.identifier(user)
        return token

    def find_user(self, token):
        user_id = self.tokens.get(token)
        return user_id and current_registration.users.get(user_id)

    def revoke_token(self, user, *, token=None):
        user_id = current_registration.users.identifier(user)
        for each, owner in list(self.tokens.items()):
            if owner == user_id and token in (None, each):
                del self.tokens[each]


REGISTRATION_AUTH_TOKEN_MANAGER_CLASS = TokensInMemory

from datetime import timedelta

REGISTRATION_AUTH_TOKEN_PERIOD = timedelta(days=30)

from datetime import timedelta

REGISTRATION_SESSION_IDLE_PERIOD = timedelta(hours=2)

REGISTRATION_SESSION_KEEP = ["cart"]

REGISTRATION_FOREIGN_LOGINS_ALLOWED = True

from datetime import timedelta

REGISTRATION_REAUTHENTICATION_PERIOD = timedelta(minutes=5)

from marshmallow import fields

from flask_registration import BodySchema


class EmailLogin(BodySchema):
    email = fields.Email(required=True)
    password = fields.String(required=True)


REGISTRATION_LOGIN_SCHEMA_CLASS = EmailLogin

from flask_registration import UserNotFound, current_registration
from flask_registration.flows.login import find_by_password


def staff_only(data, **kwargs):
    user = find_by_password(current_registration, data)
    if not user.email.endswith("@example.com"):
        raise UserNotFound(user=user)
    return user


REGISTRATION_LOGIN_AUTHENTICATOR = staff_only

# Registration

REGISTRATION_REGISTER_FLOW_ENABLED = False

from marshmallow import fields

from flask_registration import BodySchema


class SignUp(BodySchema):
    username = fields.String(required=True)
    email = fields.Email(required=True)
    password = fields.String(required=True, load_only=True)
    newsletter = fields.Boolean(load_default=False)


REGISTRATION_REGISTER_SCHEMA_CLASS = SignUp

REGISTRATION_REGISTER_SCHEMA_PASSWORD_CONFIRM = False

from marshmallow import Schema, fields


class Welcome(Schema):
    name = fields.String(attribute="username")


REGISTRATION_REGISTER_OUTPUT_SCHEMA_CLASS = Welcome

REGISTRATION_REGISTER_VERIFICATION_ENABLED = False

REGISTRATION_REGISTER_VERIFICATION_URL = "https://example.com/verify-registration/"

from flask import current_app


def log_link(request, user, *, verification_url, **kwargs):
    current_app.logger.info("%s: %s", user.email, verification_url)


REGISTRATION_REGISTER_VERIFICATION_EMAIL_SENDER = log_link

from datetime import timedelta

REGISTRATION_REGISTER_VERIFICATION_PERIOD = timedelta(days=3)

REGISTRATION_REGISTER_VERIFICATION_ONE_TIME_USE = True

REGISTRATION_REGISTER_VERIFICATION_EMAIL_TEMPLATES = {
    "subject": "mail/welcome.txt",
    "html_body": "mail/welcome.html",
}

REGISTRATION_REGISTER_VERIFICATION_ONE_TIME_USE = True
REGISTRATION_REGISTER_VERIFICATION_AUTO_LOGIN = True

REGISTRATION_PREVENT_ENUMERATION = False

# Password reset

REGISTRATION_RESET_PASSWORD_VERIFICATION_URL = "https://example.com/reset-password/"

REGISTRATION_RESET_PASSWORD_VERIFICATION_ENABLED = False

from marshmallow import fields

from flask_registration import BodySchema


class ByEmail(BodySchema):
    email = fields.Email(required=True)


REGISTRATION_SEND_RESET_PASSWORD_LINK_SCHEMA_CLASS = ByEmail

from flask_registration import UserNotFound, current_registration


def by_email(data, **kwargs):
    users = current_registration.users.find("email", data.get("email", ""))
    if not users:
        raise UserNotFound
    return users[0]


REGISTRATION_SEND_RESET_PASSWORD_LINK_USER_FINDER = by_email

REGISTRATION_SEND_RESET_PASSWORD_LINK_SCHEMA_USE_EMAIL = True

REGISTRATION_RESET_PASSWORD_FAIL_WHEN_USER_NOT_FOUND = True

from flask import current_app


def log_link(request, user, *, verification_url, **kwargs):
    current_app.logger.info("%s: %s", user.email, verification_url)


REGISTRATION_RESET_PASSWORD_VERIFICATION_EMAIL_SENDER = log_link

from datetime import timedelta

REGISTRATION_RESET_PASSWORD_VERIFICATION_PERIOD = timedelta(hours=1)

REGISTRATION_RESET_PASSWORD_VERIFICATION_ONE_TIME_USE = False

REGISTRATION_RESET_PASSWORD_VERIFICATION_EMAIL_TEMPLATES = {
    "subject": "mail/reset.txt",
    "text_body": "mail/reset_body.txt",
}

REGISTRATION_RESET_PASSWORD_SCHEMA_PASSWORD_CONFIRM = True

REGISTRATION_RESET_PASSWORD_AUTO_LOGIN = True

# E-mail change

REGISTRATION_REGISTER_EMAIL_VERIFICATION_URL = "https://example.com/verify-email/"

from marshmallow import fields

from flask_registration import BodySchema


class NewAddress(BodySchema):
    email = fields.Email(required=True)
    password = fields.String(required=True)


REGISTRATION_REGISTER_EMAIL_SCHEMA_CLASS = NewAddress

REGISTRATION_REGISTER_EMAIL_VERIFICATION_ENABLED = False

from flask import current_app


def log_link(request, user, *, email, verification_url, **kwargs):
    current_app.logger.info("%s: %s", email, verification_url)


REGISTRATION_REGISTER_EMAIL_VERIFICATION_EMAIL_SENDER = log_link

from datetime import timedelta

REGISTRATION_REGISTER_EMAIL_VERIFICATION_PERIOD = timedelta(hours=12)

REGISTRATION_REGISTER_EMAIL_VERIFICATION_EMAIL_TEMPLATES = {
    "subject": "mail/new_address.txt",
    "html_body": "mail/new_address.html",
}

REGISTRATION_UNDO_EMAIL_CHANGE_URL = "https://example.com/undo-email-change/"

from datetime import timedelta

REGISTRATION_UNDO_EMAIL_CHANGE_PERIOD = timedelta(days=14)

# Password change and profile

REGISTRATION_CHANGE_PASSWORD_SCHEMA_PASSWORD_CONFIRM = False

from marshmallow import fields, validate

from flask_registration import BodySchema


class Profile(BodySchema):
    username = fields.String(dump_only=True)
    first_name = fields.String(validate=validate.Length(max=40))


REGISTRATION_PROFILE_SCHEMA_CLASS = Profile


def anonymize(user, *, request, **kwargs):
    user.username = f"deleted-{user.id}"
    user.email = f"deleted-{user.id}@example.com"


REGISTRATION_PROFILE_DELETER = anonymize

REGISTRATION_DELETION_NOTICE_ENABLED = False

# Links and codes

REGISTRATION_VERIFICATION_METHOD = "both"

from urllib.parse import urlencode


def in_fragment(link):
    return f"{link.base_url}#{urlencode(link.params)}"


REGISTRATION_VERIFICATION_URL_BUILDER = in_fragment

REGISTRATION_CODE_FORMAT = "digits"

from datetime import timedelta

REGISTRATION_CODE_PERIOD = timedelta(minutes=30)

REGISTRATION_CODE_TRIES = 5

# E-mails

REGISTRATION_VERIFICATION_FROM_EMAIL = "Example <accounts@example.com>"

REGISTRATION_VERIFICATION_REPLY_TO_EMAIL = "support@example.com"

import re


def without_tags(html):
    return re.sub(r"<[^>]+>", "", html)


REGISTRATION_VERIFICATION_EMAIL_HTML_TO_TEXT_CONVERTER = without_tags


def with_help(user, user_address, data, *, notification_type, notification_method, **kwargs):
    return {"user": user, "email": user_address, "help": "https://example.com/help", **data}


REGISTRATION_VERIFICATION_TEMPLATE_CONTEXT_BUILDER = with_help


def plain(template_config, context, **kwargs):
    return "Your account", context.get("verification_url") or "Your account was changed.", None


REGISTRATION_VERIFICATION_TEMPLATE_RENDERER = plain


def by_company(*, request, user, notification_type, notification_method, **kwargs):
    if notification_type != "register" or user.company != "Example":
        raise LookupError
    return {"subject": "mail/welcome.txt", "html_body": "mail/welcome.html"}


REGISTRATION_VERIFICATION_TEMPLATES_SELECTOR = by_company

REGISTRATION_SITE_NAME = "Example"

REGISTRATION_SITE_LOGO_URL = "https://example.com/logo.png"

REGISTRATION_SITE_BRAND_COLOR = "#0f766e"

REGISTRATION_MAIL_DISPATCHER = "outbox"

REGISTRATION_PASSWORD_NOTICE_ENABLED = False

REGISTRATION_MAIL_THREADS = 2

from datetime import timedelta

REGISTRATION_MAIL_TIMEOUT = timedelta(seconds=5)

REGISTRATION_MAIL_VERIFY_TLS = False

REGISTRATION_MAIL_EHLO_NAME = "app.example.com"

REGISTRATION_MAIL_LIMITS = "2/minute;10/hour;20/day"

REGISTRATION_MAIL_BUDGET = "1000/hour;5000/day"

from datetime import timedelta

REGISTRATION_MAIL_REQUEST_TIMEBOX = timedelta(milliseconds=50)

REGISTRATION_MAIL_TRIES = 20

from datetime import timedelta

REGISTRATION_MAIL_RETRY_DELAY = timedelta(seconds=30)

from datetime import timedelta

REGISTRATION_MAIL_RETRY_MAX_DELAY = timedelta(hours=1)

from datetime import timedelta

REGISTRATION_OUTBOX_LEASE = timedelta(minutes=10)

from datetime import timedelta

REGISTRATION_OUTBOX_RETENTION = timedelta(days=30)

# Requests and responses

REGISTRATION_URL_PREFIX = "/api/accounts"

REGISTRATION_NON_FIELD_ERRORS_KEY = "errors"

from flask import jsonify


def enveloped(message, status, extra_data):
    return jsonify({"ok": True, "message": message, **(extra_data or {})}), status


REGISTRATION_SUCCESS_RESPONSE_BUILDER = enveloped

from functools import wraps

from flask import abort, request


def only_our_app(view):
    @wraps(view)
    def decorated(**values):
        if "X-App-Version" not in request.headers:
            abort(403)
        return view(**values)

    return decorated


REGISTRATION_NOT_AUTHENTICATED_DECORATORS = [only_our_app]

REGISTRATION_MAX_CONTENT_LENGTH = 16384

REGISTRATION_LANGUAGES = ["de", "en"]


def of_profile(*, request, user, **kwargs):
    return getattr(user, "language", None)


REGISTRATION_LOCALE_SELECTOR = of_profile

REGISTRATION_TRANSLATION_DIRECTORIES = ["locale"]

REGISTRATION_PROBLEM_TYPES_URL = "https://example.com/problems"

REGISTRATION_OPENAPI_PATH = "/api.json"

REGISTRATION_OPENAPI_PAGE_PATH = "/docs/"


def with_server(document):
    return {**document, "servers": [{"url": "https://example.com"}]}


REGISTRATION_OPENAPI_EDITOR = with_server

# Abuse

REGISTRATION_THROTTLES = {
    "login": {"client": "60/minute", "account": "5/5 minutes"},
    "verify_registration": None,
}

from datetime import timedelta

REGISTRATION_KNOWN_DEVICE_PERIOD = timedelta(days=90)

from flask_registration.gate import SiteVerify

REGISTRATION_GATE = SiteVerify(
    "https://challenges.cloudflare.com/turnstile/v0/siteverify", secret="your secret key"
)

REGISTRATION_GATE_WHEN = "throttled"

REGISTRATION_SILENCED_CHECKS = ["registration.W014"]

# Sign-up, invitations, approval, terms

REGISTRATION_SIGN_UP_URL = "https://example.com/finish-sign-up/"

from datetime import timedelta

REGISTRATION_SIGN_UP_PERIOD = timedelta(hours=2)

REGISTRATION_SIGN_UP_PASSWORD_REQUIRED = False

REGISTRATION_INVITATION_URL = "https://example.com/accept-invitation/"

from datetime import timedelta

REGISTRATION_INVITATION_PERIOD = timedelta(days=14)


def staff_may_invite(user, data):
    return user.email.endswith("@example.com")


REGISTRATION_MAY_INVITE = staff_may_invite


def set_company(user, data):
    user.company = data.get("company")


REGISTRATION_INVITATION_APPLIER = set_company

REGISTRATION_APPROVERS = ["admin@example.com"]

REGISTRATION_APPROVAL_URL = "https://example.com/decide-approval/"

from datetime import timedelta

REGISTRATION_APPROVAL_PERIOD = timedelta(days=14)

REGISTRATION_TERMS_VERSION = "2026-11"

REGISTRATION_TERMS_URL = "https://example.com/terms/"

REGISTRATION_TERMS_IP_ADDRESS_ENABLED = True

# Login by e-mail, second factor, notices

REGISTRATION_LOGIN_LINK_URL = "https://example.com/login-by-link/"

from datetime import timedelta

REGISTRATION_LOGIN_LINK_PERIOD = timedelta(minutes=30)

import os

REGISTRATION_CREDENTIAL_KEYS = [os.environ["CREDENTIAL_KEY"]]

REGISTRATION_TOTP_ISSUER = "Example"

REGISTRATION_RECOVERY_CODES = 8


def staff_must(user, **kwargs):
    return user.email.endswith("@example.com")


REGISTRATION_SECOND_FACTOR_REQUIRED = staff_must

REGISTRATION_SECOND_FACTOR_TRIES = 3

REGISTRATION_SECOND_FACTOR_LOCK = "5/hour"

from datetime import timedelta

REGISTRATION_TRUST_BROWSER_PERIOD = timedelta(days=30)

from datetime import timedelta

REGISTRATION_SECOND_FACTOR_RECOVERY_DELAY = timedelta(hours=72)

REGISTRATION_CANCEL_RECOVERY_URL = "https://example.com/cancel-recovery/"

REGISTRATION_NEW_LOGIN_NOTICE_ENABLED = True

REGISTRATION_REPORT_LOGIN_URL = "https://example.com/report-login/"

from datetime import timedelta

REGISTRATION_REPORT_LOGIN_PERIOD = timedelta(days=3)

# Deletion and export

from datetime import timedelta

REGISTRATION_DELETION_GRACE = timedelta(days=30)

REGISTRATION_CANCEL_DELETION_URL = "https://example.com/cancel-deletion/"


def companies(user):
    return [user.company]


REGISTRATION_EXPORTERS = {"companies": companies}

from datetime import timedelta

REGISTRATION_CLIENT_DATA_RETENTION = timedelta(days=90)

# Pages behind the links

REGISTRATION_LOGIN_PAGE_URL = "https://example.com/login/"

REGISTRATION_VERIFY_REGISTRATION_SUCCESS_URL = "https://example.com/welcome/"

REGISTRATION_VERIFY_REGISTRATION_FAILURE_URL = "https://example.com/try-again/"

REGISTRATION_VERIFY_EMAIL_SUCCESS_URL = "https://example.com/new-address/"

REGISTRATION_VERIFY_EMAIL_FAILURE_URL = "https://example.com/try-again/"

REGISTRATION_RESET_PASSWORD_SUCCESS_URL = "https://example.com/log-in/"

REGISTRATION_RESET_PASSWORD_FAILURE_URL = "https://example.com/try-again/"

REGISTRATION_FINISH_SIGN_UP_SUCCESS_URL = "https://example.com/welcome/"

REGISTRATION_FINISH_SIGN_UP_FAILURE_URL = "https://example.com/try-again/"

REGISTRATION_ACCEPT_INVITATION_SUCCESS_URL = "https://example.com/welcome/"

REGISTRATION_ACCEPT_INVITATION_FAILURE_URL = "https://example.com/try-again/"

REGISTRATION_LOGIN_BY_LINK_SUCCESS_URL = "https://example.com/account/"

REGISTRATION_LOGIN_BY_LINK_FAILURE_URL = "https://example.com/try-again/"
