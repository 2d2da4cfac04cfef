"""Where hits are counted: in the storage of Flask-Limiter's configuration, or in the process's own memory."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask

from .counters import Counters, Limit
from .events import THROTTLE_STORE_DOWN, record
from .settings import SettingsReader

if TYPE_CHECKING:
    from limits.strategies import RateLimiter

#: Seconds that Redis has for a connection and for an answer, unless ``RATELIMIT_STORAGE_OPTIONS`` says otherwise.
TIMEOUT = 0.5

#: How long a storage that failed is left alone before one request tries it again, in seconds.
PAUSE = 5

#: How often it is logged that it is still down, in seconds.
LOG_PAUSE = 60


class Backend:
    """A storage that several processes share, by the library ``limits``.

    :param make: makes the strategy, with its storage; called at the first hit.
    :param name: what kind of storage it is.
    """

    def __init__(self, make: Callable[[], RateLimiter], name: str, namespace: str) -> None:
        self.name = name
        self._make = make
        self._namespace = namespace
        self._made: RateLimiter | None = None

    @property
    def limiter(self) -> RateLimiter:
        """The strategy; a cluster that is down cannot be made yet."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def hit(self, key: str, limit: Limit) -> float | None:
        """Count one more, in one round trip; None if the limit allows it, else in how many seconds it will."""
        item = self._item(limit)
        if self.limiter.hit(item, key):
            return None
        return self.limiter.get_window_stats(item, key).reset_time - time.time()

    def clear(self, key: str, limit: Limit) -> None:
        """Begin anew."""
        self.limiter.clear(self._item(limit), key)

    def _item(self, limit: Limit) -> Any:
        from limits import RateLimitItemPerSecond

        return RateLimitItemPerSecond(limit.amount, limit.seconds, namespace=self._namespace)


class Store:
    """Counts hits. While the storage is down, the process counts for itself; so it does where there is none.

    Names are kept as keyed digests: an address cannot be read from a store, nor be looked for in it.

    :param in_tests: whether the storage is asked with ``app.testing`` too.
    """

    def __init__(self, app: Flask, backend: Backend | None, *, in_tests: bool) -> None:
        self._app = app
        self._backend = backend
        self._in_tests = in_tests
        self._memory = Counters()
        self._lock = threading.Lock()
        self._failed_at: float | None = None
        self._logged_at = 0.0

    @property
    def name(self) -> str:
        """What kind of storage it is: ``"redis"``, say, or ``"memory"``."""
        shared = self._shared
        return shared.name if shared else "memory"

    def hit(self, scope: str, name: str, limit: Limit) -> float | None:
        """Count one more; None if the limit allows it, else in how many seconds it will."""
        key, shared = self._key(scope, name), self._shared
        if shared and self._is_due():
            try:
                wait = shared.hit(key, limit)
            except Exception as error:  # each storage has its own
                self._note_failure(error)
            else:
                self._note_success()
                return wait
        return self._memory.hit(_in_memory(key, limit), limit)

    def clear(self, scope: str, name: str, limit: Limit) -> None:
        """Begin anew."""
        key, shared = self._key(scope, name), self._shared
        self._memory.clear(_in_memory(key, limit))
        if shared and self._is_due():
            try:
                shared.clear(key, limit)
            except Exception as error:
                self._note_failure(error)
            else:
                self._note_success()

    @property
    def _shared(self) -> Backend | None:
        return self._backend if self._in_tests or not self._app.testing else None

    def _key(self, scope: str, name: str) -> str:
        secret = self._app.secret_key or ""
        key = secret.encode() if isinstance(secret, str) else secret
        return f"{scope}/{hmac.digest(key, name.encode('utf-8', 'surrogatepass'), 'sha256').hex()[:32]}"

    def _is_due(self) -> bool:
        """Whether to ask the storage: it is up, or it is time to try it again, by one request."""
        with self._lock:
            now = time.time()
            if self._failed_at is not None and 0 <= now - self._failed_at < PAUSE:
                return False
            if self._failed_at is not None:
                self._failed_at = now
            return True

    def _note_failure(self, error: Exception) -> None:
        with self._lock:
            self._failed_at = now = time.time()
            is_news = not 0 <= now - self._logged_at < LOG_PAUSE
            if is_news:
                self._logged_at = now
        if is_news:
            text = "The storage of throttles (%s) does not answer; each process counts for itself."
            self._app.logger.error(text, self.name, exc_info=error)
            record(THROTTLE_STORE_DOWN, error=type(error).__name__)

    def _note_success(self) -> None:
        with self._lock:
            was_down, self._failed_at = self._failed_at is not None, None
        if was_down:
            self._app.logger.warning("The storage of throttles (%s) answers again.", self.name)


def _in_memory(key: str, limit: Limit) -> str:
    return f"{key}/{limit.amount}/{limit.seconds}"


def is_installed() -> bool:
    """Whether Flask-Limiter is there."""
    return find_spec("flask_limiter") is not None


def find_backend(app: Flask, reader: SettingsReader) -> Backend | None:
    """The storage that the application has configured for Flask-Limiter; None for the process's own memory.

    That of ``RATELIMIT_STORAGE_URI``, else that of the application's own ``Limiter``.
    """
    limiters = app.extensions.get("limiter", ())
    if not is_installed() or not (app.config.get("RATELIMIT_STORAGE_URI") or limiters):
        return None
    from limits.errors import ConfigurationError
    from limits.storage import Storage, storage_from_string
    from limits.strategies import STRATEGIES

    uri, strategy = app.config.get("RATELIMIT_STORAGE_URI"), app.config.get("RATELIMIT_STRATEGY") or "fixed-window"
    namespace = "/".join(filter(None, [app.config.get("RATELIMIT_KEY_PREFIX"), "registration"]))
    if not uri:
        return _backend_of_limiter(limiters, namespace)
    scheme = urlsplit(uri).scheme
    if strategy not in STRATEGIES:
        reader.problem("RATELIMIT_STRATEGY", f"is {strategy!r}: give one of {', '.join(STRATEGIES)}.")
        return None
    if scheme == "memory":
        return None
    options = {**default_options(scheme), **(app.config.get("RATELIMIT_STORAGE_OPTIONS") or {})}

    def make() -> RateLimiter:
        storage = storage_from_string(uri, **options)
        if not isinstance(storage, Storage):
            raise ConfigurationError(f"{scheme} is for asyncio")
        return STRATEGIES[strategy](storage)

    backend = Backend(make, scheme, namespace)
    try:
        backend.limiter  # noqa: B018 -- made now, so that what is wrong with it is told now
    except (ConfigurationError, NotImplementedError, ValueError, TypeError) as error:
        reader.problem("RATELIMIT_STORAGE_URI", f"cannot be used: {error}.")
    except Exception as error:  # it is down, and may be up when it is needed
        app.logger.debug("The storage of throttles is not there yet: %s", error)
    return backend


def _backend_of_limiter(limiters: Iterable[Any], namespace: str) -> Backend | None:
    from limits.storage import MemoryStorage

    shared = (limiter for limiter in limiters if not isinstance(limiter.storage, MemoryStorage))
    limiter = next(shared, None)
    if limiter is None:
        return None
    strategy: Callable[[Any], RateLimiter] = type(limiter.limiter)
    return Backend(partial(strategy, limiter.storage), limiter.storage.STORAGE_SCHEME[0], namespace)


def default_options(scheme: str) -> dict[str, float]:
    """Time-outs, without which a Redis that hangs would make every request hang."""
    if not scheme.startswith(("redis", "valkey")):
        return {}
    connecting = {} if scheme.endswith("+unix") else {"socket_connect_timeout": TIMEOUT}
    return {"socket_timeout": TIMEOUT, **connecting}
