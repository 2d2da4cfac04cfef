"""What the peers on Django have in common: its settings, its users, a count of its queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

from benchmarks.filling import fill, sqlite_path
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
)

surroundings = Surroundings.of_process()


def configure(urls: str, *applications: str, middleware: Sequence[str] = (), **more: Any) -> None:
    """Configure Django, which one process can do once."""
    url = urlsplit(surroundings.database)
    if surroundings.database.startswith("sqlite"):
        database = {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sqlite_path(surroundings.database),
        }
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE"
        }  # else two workers that read and then write collide
    else:
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "HOST": url.hostname,
        }
        database |= {"USER": url.username, "PASSWORD": url.password or "", "PORT": url.port or 5432}
    settings.configure(
        SECRET_KEY=SECRET_KEY,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=urls,
        USE_TZ=True,
        DATABASES={"default": {**database, "CONN_MAX_AGE": None}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "rest_framework",
            "rest_framework.authtoken",
            *applications,
        ],
        MIDDLEWARE=[
            "benchmarks.peers.django_base.count_queries",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            *middleware,
        ],
        TEMPLATES=[
            {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
        ],
        PASSWORD_HASHERS=["benchmarks.peers.django_hasher.Hasher"],
        AUTH_PASSWORD_VALIDATORS=[
            {"NAME": f"django.contrib.auth.password_validation.{validator}"}
            for validator in (
                "UserAttributeSimilarityValidator",
                "MinimumLengthValidator",
                "CommonPasswordValidator",
                "NumericPasswordValidator",
            )
        ],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [
                "rest_framework.authentication.SessionAuthentication",
                "rest_framework.authentication.TokenAuthentication",
            ]
        },
        EMAIL_BACKEND=f"django.core.mail.backends.{'smtp' if surroundings.mail_port else 'dummy'}.EmailBackend",  # noqa: E501
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=surroundings.mail_port,
        DEFAULT_FROM_EMAIL=SENDER,
        **more,
    )
    django.setup()


def count_queries(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A middleware that says in each reply how many statements it took."""
    from django.db import connection

    def respond(request: Any) -> Any:
        count = 0

        def counted(execute: Any, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            return execute(*arguments)

        with ExitStack() as stack:
            if surroundings.count_queries:
                stack.enter_context(connection.execute_wrapper(counted))
            response = get_response(request)
        if surroundings.count_queries:
            response["X-Queries"] = str(count)
        return response

    return respond


def fill_users(orders: Orders) -> None:
    """The tables, and the verified and the pending accounts."""
    from django.contrib.auth.hashers import make_password
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    password, joined = make_password(PASSWORD), datetime.now(UTC).isoformat(sep=" ")
    sqlite = surroundings.database.startswith("sqlite")
    yes, no = (1, 0) if sqlite else (True, False)
    columns = ["id", "username", "email", "password", "first_name", "last_name"]
    columns += ["is_active", "is_staff", "is_superuser", "date_joined"]

    def rows() -> Iterator[Sequence[Any]]:
        for number in range(1, orders.users + orders.pending + 1):
            active = yes if number <= orders.users else no
            yield number, name(number), address(number), password, "", "", active, no, no, joined

    fill(surroundings.database, "auth_user", columns, rows())


def logged_in(orders: Orders) -> list[Any]:
    """The people who have logged in once."""
    from django.contrib.auth.models import User

    return list(User.objects.filter(pk__lte=min(LOGGED_IN, orders.users)))


def cookies(users: Sequence[Any]) -> list[str]:
    """The cookies of their sessions."""
    from django.test import Client

    found = []
    for user in users:
        client = Client()
        client.force_login(user)
        found.append(f"sessionid={client.cookies['sessionid'].value}")
    return found


def tokens(users: Sequence[Any]) -> list[str]:
    """Their tokens."""
    from rest_framework.authtoken.models import Token

    return [str(Token.objects.get_or_create(user=user)[0].key) for user in users]


def profiles(path: str, count: int, headers: Sequence[dict[str, str]]) -> list[Request]:
    return [
        Request("GET", path, 200, "", headers[number % len(headers)]) for number in range(count)
    ]
