"""Gates against automated requests: a proof of work, and the captchas of services. Optional.

An application sets one in ``REGISTRATION_GATE``. For the proof of work, it adds the flow:
``Registration(flows=[*DEFAULT_FLOWS, gate.flow])``.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPException
from importlib.util import find_spec
from typing import Any, NoReturn, cast
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from flask import current_app
from limits import RateLimitItemPerSecond
from marshmallow import fields

from .auth.links import signing_keys
from .checks import Finding
from .errors import GateRefused
from .http.bodies import BodySchema
from .http.flow import Flow
from .http.gates import GateSettings
from .state import Extra, Setup, current_registration

#: The maximum number of characters of a solution. Those of all services are shorter.
MAX_LENGTH = 8192


def check_form(captcha: str | None) -> str:
    """Return a solution that may be one: ASCII of bounded length.

    :raises GateRefused: it is missing, or cannot be one.
    """
    if not captcha or len(captcha) > MAX_LENGTH or not captcha.isascii():
        raise GateRefused
    return captcha


# Proof of work


@dataclass(eq=False, kw_only=True)
class ProofOfWork:
    """A gate that lets the client compute for about a second, without a third party.

    ``GET /challenge/`` returns a challenge of ALTCHA, and ``captcha`` is the payload of its widget.
    Each solution works once. A challenge is signed with keys that are derived from ``SECRET_KEY``,
    and nothing is stored for it until it is solved.

    :param cost: how many rounds of PBKDF2-SHA-256 one try takes.
    :param tries: how many tries a client needs at most. It needs half of them on average.
    :param period: how long a challenge is valid.
    :raises ModuleNotFoundError: the library ``altcha`` is not installed.
    """

    cost: int = 1000
    tries: int = 5000
    period: timedelta = timedelta(minutes=10)

    def __post_init__(self) -> None:
        if not find_spec("altcha"):
            text = "ProofOfWork needs altcha: pip install 'Flask-Registration[gate]'"
            raise ModuleNotFoundError(text, name="altcha")
        if self.cost < 1 or self.tries < 2 or self.period < timedelta(seconds=1):
            raise ValueError("cost must be at least 1, tries at least 2, period at least 1 second")

    def challenge(self) -> dict[str, Any]:
        """Return a new challenge, as the widget reads it."""
        from altcha import create_challenge

        of_challenge, of_solution = derived_keys(signing_keys()[-1])
        made = create_challenge(
            "PBKDF2/SHA-256",
            self.cost,
            # The server computes this one try, so that verifying takes none.
            counter=secrets.randbelow(self.tries),
            expires_at=int(time.time() + self.period.total_seconds()),
            hmac_secret=of_challenge,
            hmac_key_secret=of_solution,
        )
        return made.to_dict()

    def __call__(
        self, request: Any, *, endpoint: str, captcha: str | None = None, **kwargs: Any
    ) -> None:
        """Verify a solution, and spend it.

        :raises GateRefused: it is missing or wrong, has expired or was used.
        """
        from altcha import Payload, verify_solution

        try:
            payload = Payload.from_base64(check_form(captcha))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise GateRefused from None
        keys = map(derived_keys, reversed(signing_keys()))
        if not any(
            verify_solution(payload, of_challenge, hmac_key_secret=of_solution).verified
            for of_challenge, of_solution in keys
        ):
            raise GateRefused
        # Until the challenge has expired. Its signature has one spelling, other than the payload.
        limit = RateLimitItemPerSecond(1, int(self.period.total_seconds()) + 2)
        spent = current_registration.extras["gate"]
        if spent.hit("gate", payload.challenge.signature, [limit]) is not None:
            raise GateRefused


def derived_keys(key: bytes) -> list[bytes]:
    """Return the keys that sign a challenge and its solution."""
    purposes = (b"flask-registration.gate/challenge", b"flask-registration.gate/solution")
    return [hmac.digest(key, purpose, "sha256") for purpose in purposes]


# Captchas of services


class NoRedirects(HTTPRedirectHandler):
    """Follows no redirect, which could send the secret to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Return None, so that the redirect is an error."""


class SiteVerify:
    """A gate that asks a captcha service about the token in ``captcha``.

    It works with Cloudflare Turnstile, hCaptcha, Friendly Captcha v2, and services with the same
    API. If the service does not respond in time, the request is refused.

    :param url: the URL of the service that verifies tokens.
    :param secret: the secret or API key that the service gave you.
    :param fields: more fields to send, for example ``sitekey``.

    :cvar TIMEOUT: how many seconds the service has, from the name lookup to the last byte.
    :cvar MAX_BYTES: the maximum length of its response.
    :cvar WORKERS: how many requests may wait for the service at the same time.
    """

    TIMEOUT = 2.0
    MAX_BYTES = 65536
    WORKERS = 32

    def __init__(self, url: str, secret: str, **fields: str) -> None:
        if urlsplit(url).scheme not in ("https", "http"):
            raise ValueError(f"{url!r} is not the URL of a service")
        self.url = url
        self._fields = {**fields, "secret": secret}
        self._opener = build_opener(NoRedirects)
        # A thread has a deadline for everything; urllib has one for each read, and none for DNS.
        self._pool = ThreadPoolExecutor(self.WORKERS, "flask-registration-gate")

    def __call__(
        self, request: Any, *, endpoint: str, captcha: str | None = None, **kwargs: Any
    ) -> None:
        """Ask the service about a token.

        :raises GateRefused: the token is missing or invalid, or the service did not respond.
        """
        token = check_form(captcha)
        try:
            future = self._pool.submit(self._ask, token)
            try:
                response = future.result(self.TIMEOUT)
            finally:
                future.cancel()
        except (OSError, ValueError, HTTPException, RuntimeError) as error:
            self._refuse(f"{type(error).__name__} {error}")
        if response.get("success") is not True:
            codes = json.dumps(response.get("error-codes") or response.get("error"))
            if any(word in codes for word in ("secret", "sitekey", "auth")):
                self._refuse(codes[:200])
            raise GateRefused

    def _ask(self, token: str) -> dict[str, Any]:
        """Return the response of the service.

        :raises OSError: it does not respond, or with an error.
        :raises ValueError: the response is not what such a service returns.
        """
        fields = {**self._fields, "response": token}
        headers = {"X-API-Key": fields["secret"], "User-Agent": "Flask-Registration"}
        request = Request(self.url, urlencode(fields).encode(), headers)  # noqa: S310 -- checked
        try:
            with self._opener.open(request, timeout=self.TIMEOUT) as response:
                found = json.loads(response.read(self.MAX_BYTES))  # a longer one is cut
        except HTTPError as error:
            error.close()
            raise
        if not isinstance(found, dict):
            raise ValueError("unexpected response")
        return found

    def _refuse(self, reason: str) -> NoReturn:
        """Log what the administrator can fix, and refuse the request."""
        host = urlsplit(self.url).hostname
        current_app.logger.error(
            "The captcha service %s did not verify a token, and the request was refused: %s",
            host,
            reason,
        )
        raise GateRefused


# The flow

flow: Flow[GateSettings] = Flow("gate", GateSettings)


class ChallengeSchema(BodySchema):
    """A challenge of ALTCHA, for its widget."""

    parameters: fields.Dict = fields.Dict(keys=fields.String(), required=True)
    signature: fields.String = fields.String(required=True)


@flow.get(
    "/challenge/",
    response=ChallengeSchema,
    enabled=lambda settings: isinstance(settings.gate, ProofOfWork),
)
def challenge() -> dict[str, Any]:
    """Return a challenge for the proof of work."""
    return cast(ProofOfWork, flow.settings.gate).challenge()


# The optional package


def prepare(setup: Setup) -> Iterator[Finding]:
    """Check the gate, and make what remembers the spent solutions."""
    settings, throttles = setup.group(GateSettings), setup.throttles
    counters, gate = throttles.counters, settings.gate
    # Whatever the strategy: a window that slides forgets a single hit too early.
    spent = counters.with_windows(sliding=False)
    setup.extras["gate"] = lambda mailer: spent
    if isinstance(gate, type):
        yield Finding(
            "registration.E070",
            "REGISTRATION_GATE",
            f"is the class {gate.__name__}. It would be made anew instead of asked.",
            f"Set an object: REGISTRATION_GATE = {gate.__name__}(...).",
        )
    if gate and settings.gate_when == "throttled" and throttles.reason:
        yield Finding(
            "registration.W030",
            "REGISTRATION_GATE_WHEN",
            f'is "throttled", and no limit is active. The gate is never asked: {throttles.reason}',
            'Set REGISTRATION_GATE_WHEN = "always", or remove what switches the limits off.',
        )
    if not isinstance(gate, ProofOfWork):
        return
    if flow not in setup.flows:
        yield Finding(
            "registration.E071",
            "REGISTRATION_GATE",
            "is a ProofOfWork, and the flow gate is not mounted. Clients get no challenge, so that "
            "all their requests would be refused.",
            "from flask_registration import gate, and pass flows=[*DEFAULT_FLOWS, gate.flow] to "
            "Registration.",
        )
    if counters.kind == "memory" and not setup.app.debug:
        yield Finding(
            "registration.N004",
            "RATELIMIT_STORAGE_URI",
            "is memory. Each process remembers the solutions of a ProofOfWork for itself: with "
            "four workers, a solution can be used four times.",
            'Set RATELIMIT_STORAGE_URI = "redis://127.0.0.1:6379". '
            "With one process, silence this note.",
        )


extra: Extra = Extra(prepare=prepare)
