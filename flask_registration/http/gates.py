"""Ask a gate, such as a captcha, before an endpoint does its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import CaptchaRequired, GateRefused
from ..i18n.languages import current_request
from ..security_log import GATE_REFUSED, record
from ..settings import Settings, setting
from .bodies import is_safe


@dataclass(frozen=True, kw_only=True)
class GateSettings(Settings):
    """Captcha and proof of work."""

    gate: Callable[..., Any] | None = setting(
        None,
        "Asked before endpoints that cost e-mail or hashing: "
        "`gate(request, *, endpoint, **kwargs)` raises `GateRefused`.",
    )
    gate_when: Literal["always", "throttled"] = setting(
        "always",
        "When the gate is asked: `always`, or `throttled` in place of the response 429, when a "
        "client is over its limit.",
    )


def check_solution(captcha: Any) -> None:
    """Refuse what no gate receives, also where the gate was not asked.

    :raises GateRefused: it is neither a string nor None, or has unsupported characters.
    """
    if not _is_possible(captcha):
        record(GATE_REFUSED, code=GateRefused.code)
        raise GateRefused


def _is_possible(captcha: Any) -> bool:
    return isinstance(captcha, str | None) and is_safe(captcha)


def ask_gate(gate: Callable[..., Any], endpoint: str, body: Mapping[str, Any]) -> None:
    """Ask a gate. It receives ``captcha`` of the body or of the submitted form: a string or None.

    :raises GateRefused: the gate refuses the request.
    :raises CaptchaRequired: the gate refuses the request, and there is no solution.
    """
    request = current_request()
    captcha = body.get("captcha") or request.form.get("captcha")
    try:
        if not _is_possible(captcha):
            raise GateRefused
        gate(request, endpoint=endpoint, captcha=captcha)
    except GateRefused as error:
        refused = error if captcha else CaptchaRequired()
        record(GATE_REFUSED, code=refused.code)
        raise refused from None
