"""django-rest-registration: https://django-rest-registration.readthedocs.io/"""

from __future__ import annotations

from benchmarks.peers import django_base
from benchmarks.workload import (
    PAGE,
    PASSWORD,
    SENDER,
    Orders,
    Request,
    name,
    post,
    prepare_in_process,
    registrations,
)

django_base.configure(
    "benchmarks.peers.django_rest_registration.urls",
    "rest_registration",
    REST_REGISTRATION={
        "REGISTER_VERIFICATION_URL": PAGE,
        "RESET_PASSWORD_VERIFICATION_URL": PAGE,
        "REGISTER_EMAIL_VERIFICATION_URL": PAGE,
        "VERIFICATION_FROM_EMAIL": SENDER,
    },
)

from django.core.wsgi import get_wsgi_application  # noqa: E402

app = get_wsgi_application()


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made. It has no way to ask for the verification mail
    again."""
    from rest_registration.signers.register import RegisterSigner

    django_base.fill_users(orders)
    counts, users = orders.counts, django_base.logged_in(orders)
    links = [
        RegisterSigner({"user_id": number}).get_signed_data()
        for number in orders.verifying() or [1]
    ]
    wrong = {"username": "a b", "email": "nobody", "password": "short", "password_confirm": "shirt"}
    verify, profile = "/accounts/verify-registration/", "/accounts/profile/"
    sessions = [{"Cookie": cookie} for cookie in django_base.cookies(users)]
    tokens = [{"Authorization": f"Token {token}"} for token in django_base.tokens(users)]
    return {
        "register": registrations("/accounts/register/", counts["register"]),
        "bad-input": [post("/accounts/register/", wrong, 400) for _ in range(counts["bad-input"])],
        "verify": [post(verify, link) for link in links[: counts["verify"]]],
        "forged-link": [
            post(verify, {**links[number % len(links)], "signature": "A" * 43}, 400)
            for number in range(counts["forged-link"])
        ],
        "login": [
            post("/accounts/login/", {"login": name(number), "password": PASSWORD})
            for number in orders.verified("login")
        ],
        "profile-session": django_base.profiles(profile, counts["profile-session"], sessions),
        "profile-token": django_base.profiles(profile, counts["profile-token"], tokens),
        "reset-link": [
            post("/accounts/send-reset-password-link/", {"login": name(number)})
            for number in orders.verified("reset-link")
        ],
    }


if __name__ == "__main__":
    prepare_in_process(prepare)
