"""Count hits in the storage of Flask-Limiter's configuration, or in memory."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask

from ..mail.limits import Limit, LimitStore
from ..security_log import THROTTLE_STORE_DOWN, record
from ..settings import SettingsReader

if TYPE_CHECKING:
    from limits.strategies import RateLimiter

#: The timeout of Redis in seconds, unless ``RATELIMIT_STORAGE_OPTIONS`` sets another.
TIMEOUT = 0.5

#: How long a failed storage is not used before one request tries it again, in seconds.
PAUSE = 5

#: The minimum time between two log entries about a failed storage, in seconds.
LOG_PAUSE = 60


class Backend:
    """A storage that several processes share, by the library ``limits``.

    :param make: makes the strategy with its storage; called at the first hit.
    :param name: the kind of storage.
    """

    def __init__(self, make: Callable[[], RateLimiter], name: str, namespace: str) -> None:
        self.name = name
        self._make = make
        self._namespace = namespace

    @cached_property
    def limiter(self) -> RateLimiter:
        """Return the strategy, which cannot be made while a cluster is down."""
        return self._make()

    def hit(self, key: str, limit: Limit) -> float | None:
        """Count a hit in one round trip. Return the seconds to wait; None if it is allowed."""
        item = self._item(limit)
        if self.limiter.hit(item, key):
            return None
        return self.limiter.get_window_stats(item, key).reset_time - time.time()

    def clear(self, key: str, limit: Limit) -> None:
        """Reset a counter."""
        self.limiter.clear(self._item(limit), key)

    def _item(self, limit: Limit) -> Any:
        from limits import RateLimitItemPerSecond

        return RateLimitItemPerSecond(limit.amount, limit.seconds, namespace=self._namespace)


class SharedLimitStore(LimitStore):
    """Counts hits in a shared storage.

    Without one, or while it is down, each process counts for itself. Names are stored as keyed
    digests: an e-mail address can neither be read from the storage nor found in it.

    :param in_tests: whether the storage is used with ``app.testing`` too.
    """

    def __init__(self, app: Flask, backend: Backend | None, *, in_tests: bool) -> None:
        super().__init__()
        self._app = app
        self._backend = backend
        self._in_tests = in_tests
        self._state = threading.Lock()
        self._failed_at: float | None = None
        self._logged_at = 0.0

    @property
    def name(self) -> str:
        """Return the kind of storage, for example ``"redis"`` or ``"memory"``."""
        shared = self._shared
        return shared.name if shared else "memory"

    def hit(self, scope: str, name: str, limit: Limit) -> float | None:
        """Count a hit in the shared storage, or in memory if it fails."""
        digest, shared = self._digest(name), self._shared
        if shared and self._is_due():
            try:
                wait = shared.hit(f"{scope}/{digest}", limit)
            except Exception as error:  # each storage has its own
                self._note_failure(error)
            else:
                self._note_success()
                return wait
        return super().hit(scope, digest, limit)

    def clear(self, scope: str, name: str, limit: Limit) -> None:
        """Clear a counter, in memory and in the shared storage."""
        digest, shared = self._digest(name), self._shared
        super().clear(scope, digest, limit)
        if shared and self._is_due():
            try:
                shared.clear(f"{scope}/{digest}", limit)
            except Exception as error:
                self._note_failure(error)
            else:
                self._note_success()

    @property
    def _shared(self) -> Backend | None:
        return self._backend if self._in_tests or not self._app.testing else None

    def _digest(self, name: str) -> str:
        secret = self._app.secret_key or ""
        key = secret.encode() if isinstance(secret, str) else secret
        return hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]

    def _is_due(self) -> bool:
        """Return whether to use the storage: it is up, or one request tries it again now."""
        with self._state:
            now = time.time()
            if self._failed_at is not None and 0 <= now - self._failed_at < PAUSE:
                return False
            if self._failed_at is not None:
                self._failed_at = now
            return True

    def _note_failure(self, error: Exception) -> None:
        with self._state:
            self._failed_at = now = time.time()
            is_news = not 0 <= now - self._logged_at < LOG_PAUSE
            if is_news:
                self._logged_at = now
        if is_news:
            text = "The storage of rate limits (%s) is unavailable; each process counts for itself."
            self._app.logger.error(text, self.name, exc_info=error)
            record(THROTTLE_STORE_DOWN, error=type(error).__name__)

    def _note_success(self) -> None:
        with self._state:
            was_down, self._failed_at = self._failed_at is not None, None
        if was_down:
            text = "The storage of rate limits (%s) is available again."
            self._app.logger.warning(text, self.name)


def is_installed() -> bool:
    """Return whether Flask-Limiter is installed."""
    return find_spec("flask_limiter") is not None


def find_backend(app: Flask, reader: SettingsReader) -> Backend | None:
    """Return the storage that the application configured for Flask-Limiter; None for memory.

    It is the one of ``RATELIMIT_STORAGE_URI``, else the one of the application's own ``Limiter``.
    """
    uri, limiters = app.config.get("RATELIMIT_STORAGE_URI"), app.extensions.get("limiter", ())
    if not is_installed() or not (uri or limiters):
        return None
    from limits.errors import ConfigurationError
    from limits.storage import Storage, storage_from_string
    from limits.strategies import STRATEGIES

    strategy = app.config.get("RATELIMIT_STRATEGY") or "fixed-window"
    namespace = "/".join(filter(None, [app.config.get("RATELIMIT_KEY_PREFIX"), "registration"]))
    if not uri:
        return _backend_of_limiter(limiters, namespace)
    scheme = urlsplit(uri).scheme
    if strategy not in STRATEGIES:
        hint = f"is {strategy!r}. Use one of {', '.join(STRATEGIES)}."
        reader.problem("RATELIMIT_STRATEGY", hint)
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
        backend.limiter  # noqa: B018 -- made now, so that an error is found now
    except (ConfigurationError, NotImplementedError, ValueError, TypeError) as error:
        reader.problem("RATELIMIT_STORAGE_URI", f"cannot be used: {error}.")
    except Exception as error:  # it is down, and may be up when it is needed
        app.logger.debug("The storage of rate limits is not available yet: %s", error)
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
    """Return timeouts; without them every request would hang with a Redis that hangs."""
    if not scheme.startswith(("redis", "valkey")):
        return {}
    connecting = {} if scheme.endswith("+unix") else {"socket_connect_timeout": TIMEOUT}
    return {"socket_timeout": TIMEOUT, **connecting}
