"""dj-rest-auth: https://dj-rest-auth.readthedocs.io/"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.filling import fill
from benchmarks.peers import django_base
from benchmarks.workload import (
    PASSWORD,
    Orders,
    Request,
    address,
    name,
    post,
    prepare_in_process,
    registrations,
)

django_base.configure(
    "benchmarks.peers.dj_rest_auth.urls",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "dj_rest_auth",
    "dj_rest_auth.registration",
    middleware=["allauth.account.middleware.AccountMiddleware"],
    ACCOUNT_EMAIL_VERIFICATION="mandatory",
    ACCOUNT_SIGNUP_FIELDS=["email*", "username*", "password1*", "password2*"],
    ACCOUNT_RATE_LIMITS=False,  # all clients of the benchmark have one address
    AUTHENTICATION_BACKENDS=[
        "django.contrib.auth.backends.ModelBackend",
        "allauth.account.auth_backends.AuthenticationBackend",
    ],
    REST_AUTH={"SESSION_LOGIN": False},
)

from django.core.wsgi import get_wsgi_application  # noqa: E402

app = get_wsgi_application()


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made. Its login gives a token and opens no session."""
    from allauth.account.models import EmailAddress, EmailConfirmationHMAC
    from django.contrib.auth.models import User

    django_base.fill_users(orders)
    User.objects.update(is_active=True)  # an account that waits is active, its address unverified
    fill_addresses(orders)
    counts, users = orders.counts, django_base.logged_in(orders)
    addresses = EmailAddress.objects.filter(user_id__in=orders.verifying() or [1]).order_by("pk")
    keys = [EmailConfirmationHMAC(each).key for each in addresses]
    wrong = {"username": "a b", "email": "nobody", "password1": "short", "password2": "shirt"}
    tokens = [{"Authorization": f"Token {token}"} for token in django_base.tokens(users)]
    verify = "/auth/registration/verify-email/"
    return {
        "register": [
            post("/auth/registration/", renamed(request), 201)
            for request in registrations("", counts["register"], confirm="password2")
        ],
        "bad-input": [post("/auth/registration/", wrong, 400) for _ in range(counts["bad-input"])],
        "verify": [post(verify, {"key": key}) for key in keys[: counts["verify"]]],
        "forged-link": [
            post(verify, {"key": keys[number % len(keys)][:-43] + "A" * 43}, 404)
            for number in range(counts["forged-link"])
        ],
        "resend": [
            post("/auth/registration/resend-email/", {"email": address(number)})
            for number in orders.asking_again()
        ],
        "login": [
            post("/auth/login/", {"username": name(number), "password": PASSWORD})
            for number in orders.verified("login")
        ],
        "profile-token": django_base.profiles("/auth/user/", counts["profile-token"], tokens),
        "reset-link": [
            post("/auth/password/reset/", {"email": address(number)})
            for number in orders.verified("reset-link")
        ],
    }


def renamed(request: Request) -> dict[str, str]:
    """The body of a registration with its name of the first password."""
    body: dict[str, str] = json.loads(request.body)
    body["password1"] = body.pop("password")
    return body


def fill_addresses(orders: Orders) -> None:
    """The table of e-mail addresses: those of the accounts that wait are not verified."""
    sqlite = django_base.surroundings.database.startswith("sqlite")
    yes, no = (1, 0) if sqlite else (True, False)

    def rows() -> Iterator[Sequence[Any]]:
        for number in range(1, orders.users + orders.pending + 1):
            yield number, address(number), yes if number <= orders.users else no, yes, number

    columns = ["id", "email", "verified", '"primary"', "user_id"]
    fill(django_base.surroundings.database, "account_emailaddress", columns, rows())


if __name__ == "__main__":
    prepare_in_process(prepare)
