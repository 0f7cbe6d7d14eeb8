"""Removing from the stores what is past its deadline. Nobody needs it to be right; it makes room, and tells."""

from __future__ import annotations

from collections.abc import Callable

from syncsessions.client import NOTES
from syncsessions.pairing import sync_sessions
from syncsessions.processes import expire_sessions
from syncsessions.status.stores import is_private
from syncsessions.stores import stores

ROOMS: dict[str, Callable[[], int]] = {"pairing": sync_sessions.expire, "processes": expire_sessions}
"""By the alias of its store, what expires a batch of a room's own records and tells whom it concerns; its size."""
NAMESPACES: dict[str, tuple[str, ...]] = {"pairing": (NOTES,), "processes": ()}
"""By alias, the namespaces that belong to no room."""

BATCH = 1000


def expire(alias: str, stop: Callable[[], bool] = lambda: False) -> int | None:
    """Expire what is kept under this alias; how many records went. None where it is in the memory of other processes.

    Ends early when `stop()` says so. Raises `StoreUnavailable`; what was removed until then stays removed.
    """
    if is_private(alias):
        return None
    count = 0
    while some := ROOMS[alias]():
        count += some
        if stop():
            return count
    for namespace in NAMESPACES[alias]:
        while not stop() and (records := stores[alias].expire(namespace, limit=BATCH)):
            count += len(records)
    return count
