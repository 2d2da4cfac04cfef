"""What is done when the reply has gone, so that nobody waits for it, and its time tells nothing."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from flask import after_this_request, has_request_context


def after_reply(work: Callable[[], object]) -> None:
    """Do it when the server has sent the reply to this request, or dropped it; at once outside of a request.

    There is no application context then.
    """
    if not has_request_context():
        work()
        return

    @after_this_request
    def arrange(response: Any) -> Any:
        # Done once: when the response is closed, or else when it is let go of, since nobody need ever close it.
        response.call_on_close(weakref.finalize(response, work))
        return response
