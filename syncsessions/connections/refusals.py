"""As which error the refusal of another site is raised here, and in whose words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from syncsessions import exceptions
from syncsessions.exceptions import AccessRefused, FrameError, RateLimited, SiteUnavailable, SyncSessionsError

_SECRET = re.compile(r"[A-Za-z0-9_-]{32,}")
LONGEST = 200  # characters of what another site says
RETRY_AFTER = 60.0  # seconds, where it does not say
LONGEST_WAIT = 3600.0  # seconds

_PLAIN: tuple[type[SyncSessionsError], ...] = (
    exceptions.InvalidValue,
    exceptions.InvalidCode,
    exceptions.InvalidTransition,
    exceptions.AlreadyExists,
    exceptions.AlreadyUsed,
    exceptions.NotFound,
    exceptions.Conflict,
)
_KINDS: dict[str, Callable[..., SyncSessionsError]] = {kind.code: kind for kind in _PLAIN}
_BY_STATUS = {400: "invalid_value", 401: "invalid_token", 403: "denied", 409: "conflict", 413: "too_large"}


def is_refusal(status: int) -> bool:
    """Whether the other site has said so for certain that it did not do it; a proxy's 408 says nothing of it."""
    return 400 <= status < 500 and status != 408


def error_of(
    status: int, fields: Mapping[str, Any], sentences: Mapping[str, str | Promise] | None = None
) -> SyncSessionsError:
    """The error that an answer stands for. `sentences` are ours, by code, for what is known to be meant by it.

    The code is the other site's where it is one of ours; of its own words only a short plain line is shown.
    """
    code = fields.get("code")
    known = isinstance(code, str) and (code in _KINDS or code in AccessRefused.messages or code in FrameError.messages)
    if status == 429:
        return RateLimited(_("The other site asks to wait before the next try."), retry_after=_wait(fields))
    if not known:
        code = "disabled" if status == 503 and code == "disabled" else _BY_STATUS.get(status)
    if not isinstance(code, str) or not (is_refusal(status) or (status == 503 and code == "disabled")):
        return SiteUnavailable()
    return _made(code, (sentences or {}).get(code), one_line(fields.get("message")))


def one_line(text: object) -> str:
    """Another site's words as they may be shown: one short line without control characters, and without anything in it
    that might be a token, which it may well know; empty for anything else."""
    if not isinstance(text, str):
        return ""
    text = _SECRET.sub("…", text)
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST]).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _made(code: str, sentence: str | Promise | None, said: str) -> SyncSessionsError:
    if sentence is not None:
        message = str(sentence)
    elif code in AccessRefused.messages or code in FrameError.messages:
        message = _("The other site refuses: %(why)s") % {"why": (AccessRefused.messages | FrameError.messages)[code]}
    else:
        message = _("The other site refuses this.")
    if said and (sentence is None or code == "invalid_value"):
        message += " " + _("It says: “%(words)s”") % {"words": said}
    if code in AccessRefused.messages:
        return AccessRefused(code, message)
    return FrameError(code, message) if code in FrameError.messages else _KINDS[code](message)


def _wait(fields: Mapping[str, Any]) -> float:
    seconds = fields.get("retry_after")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        return RETRY_AFTER
    return float(min(seconds, LONGEST_WAIT))
