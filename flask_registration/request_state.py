"""What belongs to one request, in one object."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from flask import g, has_request_context, request

#: An IPv4 address with a port, or an IPv6 address in brackets, as some proxies write them.
WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([^]]*)](?::[0-9]+)?")


class CurrentLogin(NamedTuple):
    """The login model's row of the current session or token.

    :ivar methods: how the user has logged in, as words of RFC 8176 with spaces between them.
    :ivar fresh_at: when the client last showed a credential, in seconds since the epoch.
    """

    digest: str
    methods: str
    fresh_at: float | None


@dataclass(kw_only=True)
class RequestState:
    """What the layers note about a request. Outside a request, it is of the application context.

    :ivar token: the valid token that the client sent, if its user is the current user.
    :ivar login: the login model's row of the current session or token.
    :ivar kept_session: the content of the session before a login or logout, until the commit.
    :ivar renews_session: whether the session gets a new id at the end of the request.
    :ivar opens_session: the ``methods`` and ``fresh_at`` of a login of ours that is under way. Then
        the caller commits.
    :ivar counted_tries: for which challenges and accounts a try was counted.
    :ivar admitted_mails: the recipients and kinds of the e-mails that the limits have admitted.
    :ivar last_use: the id of the login model's row that the client used, and when.
    :ivar is_committed: whether the work was committed, or an e-mail was sent: it is not retried.
    :ivar is_retry: whether the work is a retry. It then locks the rows that it reads.
    :ivar language: the ``Language`` of the response, if it contains a message of the extension.
    """

    token: str | None = None
    login: CurrentLogin | None = None
    kept_session: dict[str, Any] | None = None
    renews_session: bool = False
    opens_session: tuple[str, float | None] | None = None
    counted_tries: set[str] = field(default_factory=set)
    admitted_mails: set[tuple[str, str]] = field(default_factory=set)
    last_use: tuple[Any, datetime] | None = None
    is_committed: bool = False
    is_retry: bool = False
    language: Any = None


def request_state() -> RequestState:
    """Return the state of the current request."""
    state: RequestState = g.setdefault("_registration", RequestState())
    return state


def client_address() -> str | None:
    """Return the IP address of the client, without a port and without a zone of IPv6.

    Return any other ``remote_addr`` unchanged, for example that of a Unix socket, and None outside
    a request.
    """
    address = request.remote_addr if has_request_context() else None
    match = WITH_PORT.fullmatch(address or "")
    bare = (match[1] or match[2]) if match else address
    bare = (bare or "").partition("%")[0]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return address
    return bare


def begin_request() -> None:
    """Forget what an earlier request noted in the same application context, as in a test.

    The token and the login stay, since Flask-Login keeps the user that they belong to.
    """
    earlier = request_state()
    g._registration = RequestState(token=earlier.token, login=earlier.login)
