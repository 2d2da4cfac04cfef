"""djoser: https://djoser.readthedocs.io/"""

from __future__ import annotations

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
    "benchmarks.peers.djoser.urls",
    "djoser",
    DOMAIN="example.com",
    SITE_NAME="example.com",
    DJOSER={
        "SEND_ACTIVATION_EMAIL": True,
        "ACTIVATION_URL": "activate/{uid}/{token}",
        "PASSWORD_RESET_CONFIRM_URL": "reset/{uid}/{token}",
        "USER_CREATE_PASSWORD_RETYPE": True,
    },
)

from django.core.wsgi import get_wsgi_application  # noqa: E402

app = get_wsgi_application()


def prepare(orders: Orders) -> dict[str, list[Request]]:
    """Fill the tables; the requests to be made. Its log-in gives a token and opens no session."""
    from django.contrib.auth.models import User
    from django.contrib.auth.tokens import default_token_generator
    from djoser.utils import encode_uid

    django_base.fill_users(orders)
    counts, users = orders.counts, django_base.logged_in(orders)
    links = [
        {"uid": encode_uid(user.pk), "token": default_token_generator.make_token(user)}
        for user in User.objects.filter(pk__gt=orders.users).order_by("pk")[
            : max(1, counts["verify"])
        ]
    ]
    wrong = {"username": "a b", "email": "nobody", "password": "short", "re_password": "shirt"}
    tokens = [{"Authorization": f"Token {token}"} for token in django_base.tokens(users)]
    return {
        "register": registrations("/auth/users/", counts["register"], confirm="re_password"),
        "bad-input": [post("/auth/users/", wrong, 400) for _ in range(counts["bad-input"])],
        "verify": [
            post("/auth/users/activation/", link, 204) for link in links[: counts["verify"]]
        ],
        "forged-link": [
            post(
                "/auth/users/activation/",
                {**links[number % len(links)], "token": "abc-" + "a" * 32},
                400,
            )
            for number in range(counts["forged-link"])
        ],
        "resend": [
            post("/auth/users/resend_activation/", {"email": address(number)}, 204)
            for number in orders.asking_again()
        ],
        "login": [
            post("/auth/token/login/", {"username": name(number), "password": PASSWORD})
            for number in orders.verified("login")
        ],
        "profile-token": django_base.profiles("/auth/users/me/", counts["profile-token"], tokens),
        "reset-link": [
            post("/auth/users/reset_password/", {"email": address(number)}, 204)
            for number in orders.verified("reset-link")
        ],
    }


if __name__ == "__main__":
    prepare_in_process(prepare)
