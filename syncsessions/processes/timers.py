"""Timers of debounced actions: one per session and process at a time. Whoever comes next would apply them too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from syncsessions.exceptions import NotFound
from syncsessions.processes import background, telling
from syncsessions.processes.running import arun

if TYPE_CHECKING:
    from syncsessions.processes.steps import SessionSteps

GRAIN = 0.002  # seconds that a timer waits longer, so that it does not wake too early by the store's clock


def set(session: SessionSteps, delay: float) -> None:  # noqa: A001 - timers.set
    """Have what is due in so many seconds applied then, unless a timer of this session comes before and sees to it."""
    now = time.monotonic()
    at = now + delay
    # One that is past has rung, or was left behind by a fork.
    if session._timer is not None and now < session._timer <= at:
        return
    session._timer = at
    background.later(delay + GRAIN, lambda: _ring(session, at))


async def _ring(session: SessionSteps, at: float) -> None:
    if session._timer == at:
        session._timer = None
    try:
        await arun(session.store, session._current())
    except NotFound:
        pass  # it died with its session
    except Exception as error:
        # It stays in the record, for whoever comes next.
        telling.harmless(session.process, session.id, "debounce", error)
