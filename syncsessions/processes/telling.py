"""Signals and log lines of this room; a signal that nobody receives costs one look."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from syncsessions.exceptions import RateLimited
from syncsessions.signals import (
    emit,
    message_failed,
    message_handled,
    process_start_failed,
    process_started,
    process_stopped,
    rate_limited,
)

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess

logger = logging.getLogger("syncsessions.processes")


def now() -> float:
    """When a message began, if anybody wants to know how long it took; else 0."""
    return perf_counter() if message_handled.receivers else 0.0


def handled(process: type[SessionProcess], session_id: str, kind: str, name: str, revision: int, began: float) -> None:
    if message_handled.receivers:
        duration = perf_counter() - began
        emit(
            message_handled,
            process,
            session_id=session_id,
            kind=kind,
            name=name,
            revision=revision,
            duration=duration,
        )


def failed(process: type[SessionProcess], session_id: str, kind: str, name: str, error: Exception) -> None:
    if message_failed.receivers:
        emit(message_failed, process, session_id=session_id, kind=kind, name=name, error=error)


def harmless(process: type[SessionProcess], session_id: str, what: str, error: BaseException) -> None:
    """Report what harmed nothing but itself: a subscriber, an effect, an `on_stop`."""
    logger.error("A %s of %s %s failed", what, process.__qualname__, session_id, exc_info=error)
    if message_failed.receivers:
        emit(message_failed, process, session_id=session_id, kind=what, name=what, error=error)


def started(process: type[SessionProcess], session_id: str) -> None:
    if process_started.receivers:
        emit(process_started, process, session_id=session_id)


def start_failed(process: type[SessionProcess], session_id: Any, error: Exception) -> None:
    if process_start_failed.receivers:
        emit(process_start_failed, process, session_id=session_id, error=error)
    if isinstance(error, RateLimited) and rate_limited.receivers:
        emit(rate_limited, process, retry_after=error.retry_after)


def stopped(process: type[SessionProcess] | None, session_id: str, reason: str) -> None:
    if process_stopped.receivers:
        emit(process_stopped, process, session_id=session_id, reason=reason)
