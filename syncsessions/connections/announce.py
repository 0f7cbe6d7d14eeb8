"""After a change's commit: the signal, the doorbell of the open pages, and the outbox where the peer is to be told."""

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


def changed(alias: str, connection: Connection, *, severed: bool = False, told: bool = False, **named: Any) -> None:
    """`named` goes with the signal: previous, status, by, by_peer, reason."""
    after_commit(alias, partial(_tell, connection, severed, told, named))


def rung(alias: str) -> None:
    """Something else than a status has changed."""
    after_commit(alias, partial(doorbell.ring, LIST, {"type": CHANGED}, bell=CHANGED))


def _tell(connection: Connection, severed: bool, told: bool, named: dict[str, Any]) -> None:
    from syncsessions.connections import outbox

    if connection_status_changed.receivers:
        emit(connection_status_changed, type(connection), connection=connection, **named)
    if severed and connection_severed.receivers:
        emit(connection_severed, type(connection), connection=connection)
    doorbell.ring(LIST, {"type": CHANGED}, bell=CHANGED)
    if told:
        outbox.deliver_soon()
