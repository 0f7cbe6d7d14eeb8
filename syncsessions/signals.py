"""Signals, all sent with `send_robust` by `emit`; durations are seconds.

`stash_written` (owner, view, tab, vsn, life, revision) after the commit, revision 0 where the slice was removed;
`stash_recovered` (view, status, duration); `doorbell_rung` (group, message); `doorbell_heard` (message);
`rate_limited` (retry_after).

`sync_session_opened` (session), `sync_session_joined` (session), `sync_session_closed` (session, status, reason): once
each per session, in the process where it happened or was found out.
"""

from __future__ import annotations

import logging
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger("syncsessions")

stash_written = Signal()
stash_recovered = Signal()
doorbell_rung = Signal()
doorbell_heard = Signal()
rate_limited = Signal()
sync_session_opened = Signal()
sync_session_joined = Signal()
sync_session_closed = Signal()


def emit(signal: Signal, sender: object, **named: Any) -> None:
    """Send robustly and log what receivers raise. Callers look at `signal.receivers` first: no receiver, no cost."""
    for receiver, response in signal.send_robust(sender, **named):
        if isinstance(response, Exception):
            logger.error("Signal receiver %r failed", receiver, exc_info=response)
