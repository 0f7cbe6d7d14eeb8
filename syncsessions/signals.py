"""Signals, all sent with `send_robust` by `emit`; durations are seconds.

`stash_written` (owner, view, tab, vsn, life, revision) after the commit, revision 0 where the slice was removed;
`stash_recovered` (view, status, duration); `doorbell_rung` (group, message); `doorbell_heard` (message);
`rate_limited` (retry_after).

`sync_session_opened` (session), `sync_session_joined` (session), `sync_session_closed` (session, status, reason): once
each per session, in the process where it happened or was found out.

Of session processes, each with the process class as sender and `session_id`: `process_started`; `process_stopped`
(reason), once per life; `process_start_failed` (error); `message_handled` (kind, name, duration, revision);
`message_failed` (kind, name, error); `processes_expired` (count, duration) and `expiry_failed` (error) of a sweep;
`subscription_added`, `subscription_removed` (subscription), `subscription_notified` (subscription, duration);
`selector_computed` (selector, hit, duration).

Of connections, after the commit: `connection_status_changed` (connection, previous, status, by, by_peer, reason), `by`
being the user, if one did it; `connection_severed` (connection) where the other site knows of no such link.
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
process_started = Signal()
process_stopped = Signal()
process_start_failed = Signal()
message_handled = Signal()
message_failed = Signal()
processes_expired = Signal()
expiry_failed = Signal()
subscription_added = Signal()
subscription_removed = Signal()
subscription_notified = Signal()
selector_computed = Signal()
connection_status_changed = Signal()
connection_severed = Signal()


def emit(signal: Signal, sender: object, **named: Any) -> None:
    """Send robustly and log what receivers raise. Callers look at `signal.receivers` first: no receiver, no cost."""
    for receiver, response in signal.send_robust(sender, **named):
        if isinstance(response, Exception):
            logger.error("Signal receiver %r failed", receiver, exc_info=response)
