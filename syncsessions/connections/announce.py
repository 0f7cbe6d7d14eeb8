"""After a change's commit: the signals, and the doorbell of the open pages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from syncsessions import doorbell
from syncsessions.commit import after_commit
from syncsessions.signals import connection_severed, connection_status_changed, emit

if TYPE_CHECKING:
    from syncsessions.connections.models import Connection

LIST = "syncsessions.connections"
"""The layer's group of those who watch the list."""
CHANGED = "connections.changed"


def changed(alias: str, connection: Connection, *, severed: bool = False, **named: Any) -> None:
    """`named` goes with the signal: previous, status, by, by_peer, reason."""
    after_commit(alias, partial(_tell, connection, severed, named))


def rung(alias: str) -> None:
    """Something else than a status has changed."""
    after_commit(alias, _ring)


def _tell(connection: Connection, severed: bool, named: dict[str, Any]) -> None:
    if connection_status_changed.receivers:
        emit(connection_status_changed, type(connection), connection=connection, **named)
    if severed and connection_severed.receivers:
        emit(connection_severed, type(connection), connection=connection)
    _ring()


def _ring() -> None:
    doorbell.ring(LIST, {"type": CHANGED}, bell=CHANGED)
