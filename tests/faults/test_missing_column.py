"""A deployment without its migration: a column or a table of a model is missing."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import text

from ..flows.common import NewSite, member
from ..people import define_login
from ..site import PASSWORD, define_user


@pytest.mark.databases
@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("ALTER TABLE users DROP COLUMN first_name", "first_name"),
        ("ALTER TABLE users DROP COLUMN last_login", "last_login"),
        ("DROP TABLE world_logins", "world_logins"),
        ("DROP TABLE users", "users"),
    ],
)
def test_what_is_missing_is_a_503_that_asks_for_no_other_try_and_is_named_in_the_log(
    statement: str,
    name: str,
    database: str,
    new_site: NewSite,
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = new_site(database, define=define_user, login_model=define_login)
    name = name.replace("world_logins", site.Login.__table__.name)
    member(site)
    with site.app.app_context():
        sql = statement.replace("world_logins", site.Login.__table__.name)
        site.db.session.execute(text(sql))
        site.db.session.commit()
    requests: dict[str, Any] = {"login": {"login": "alice", "password": PASSWORD}}
    if "logins" not in name:
        requests["send-reset-password-link"] = {"login": "alice"}
        requests["register"] = {
            "username": "bob",
            "email": "bob@example.com",
            "password": PASSWORD,
            "password_confirm": PASSWORD,
        }
    for endpoint, body in requests.items():
        caplog.clear()
        reply = site.post(endpoint, body)
        assert (reply.status_code, reply.get_json()["code"]) == (503, "database-unavailable")
        assert "Retry-After" not in reply.headers
        assert "try again" not in reply.get_data(as_text=True).lower()
        assert name not in reply.get_data(as_text=True)
        (message,) = [
            each.getMessage()
            for each in caplog.records
            if each.levelno == logging.ERROR and each.name == site.app.logger.name
        ]
        assert name in message
        assert "flask registration check --database" in message
    with site.app.app_context():  # the rows of other tests
        site.db.drop_all()
