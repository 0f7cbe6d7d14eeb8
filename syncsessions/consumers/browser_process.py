"""The session process of a browser: found by its session's id alone, started under a rate, seen through selectors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from syncsessions import session_id
from syncsessions.client import limit_key_of
from syncsessions.exceptions import (
    AccessRefused,
    AlreadyExists,
    RateLimited,
    SessionNotFound,
    SyncSessionsError,
    UnknownAction,
)
from syncsessions.json_values import JSON
from syncsessions.processes import Session, SessionProcess, telling
from syncsessions.processes.frozen import FrozenDict, frozen
from syncsessions.processes.process import ALIAS
from syncsessions.processes.running import run
from syncsessions.processes.sweeping import sweep
from syncsessions.signals import emit, rate_limited
from syncsessions.stores import stores

logger = logging.getLogger("syncsessions.consumers")

SWEEP_EVERY = 60.0  # seconds between two sweeps by the sockets of one process
SWEEP_MOST = 100  # sessions in one
_swept_at = float("-inf")

Selectors = Mapping[str, Callable[[Any], Any]]


async def id_of(scope: Mapping[str, Any]) -> str:
    """The id of the browser session behind a socket. Raises `AccessRefused` where there is none."""
    found = scope.get("session_id")
    if not found and scope.get("session") is not None:
        found = await database_sync_to_async(session_id.peek)(scope["session"])
    if not found:
        raise AccessRefused("not_allowed", _("Session processes need a browser session."))
    return str(found)


async def get_or_start(process: type[SessionProcess], scope: Mapping[str, Any], rate: str | None, args: Any) -> Session:
    """The running session of this socket's browser, else a new one. Only starts count against the client's rate."""
    found_id = await id_of(scope)
    while True:
        try:
            return await process.aget(found_id)
        except SessionNotFound:
            pass
        key, store = f"process-start:{limit_key_of(scope)}", stores[ALIAS]
        try:
            token = None if rate is None else await store.ahit(key, rate)
        except RateLimited as error:
            if rate_limited.receivers:
                emit(rate_limited, process, retry_after=error.retry_after)
            raise
        try:
            return await process.astart(found_id, args)
        except SyncSessionsError as error:
            if token is not None:
                await store.aunhit(key, token)
            if not isinstance(error, AlreadyExists):  # another tab was faster
                raise


def allow(process: type[SessionProcess], action: str) -> None:
    """Raises `UnknownAction`, and `AccessRefused` for one that is not in the process's `client_actions`."""
    allowed = process.client_actions
    if action in ((allowed,) if isinstance(allowed, str) else allowed):
        return
    if process.table.plan(action) is None:
        raise UnknownAction
    raise AccessRefused("not_allowed", _("Pages may not dispatch this action."))


def select(session: Session, selectors: Selectors, state: FrozenDict) -> dict[str, JSON]:
    """What each selector makes of the state; one that raises, or gives what is no JSON, is reported and left out."""
    values = {}
    for name, selector in selectors.items():
        try:
            values[name] = frozen(selector(state), name)
        except Exception as error:
            telling.harmless(session.process, session.id, "selector", error)
    return values


async def sweep_now_and_then() -> None:
    """Sweep some expired sessions, if no socket of this process has done so a while ago."""
    global _swept_at
    now = time.monotonic()
    if now - _swept_at < SWEEP_EVERY:
        return
    _swept_at = now
    # In a thread: `on_stop` and the signals' receivers are the project's own, and may use the database.
    await database_sync_to_async(_sweep)()


def _sweep() -> None:
    try:
        run(stores[ALIAS], sweep(SWEEP_MOST))
    except SyncSessionsError as error:
        logger.warning("Expired sessions were not swept: %s", error)
