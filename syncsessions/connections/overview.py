"""What the staff's pages follow: some connections, read again and again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import router

from syncsessions import database
from syncsessions.connections import clock, steps
from syncsessions.connections.models import Connection
from syncsessions.frames import Frame
from syncsessions.json_values import JSON

MOST = 100
"""Connections that one page follows."""


class Found(NamedTuple):
    """Those that there are at a moment of the connections asked for, and how many there are in all."""

    connections: list[Connection]
    total: int
    now: datetime

    def as_frame(self, ids: Iterable[UUID]) -> Frame:
        """What may be shown of each: nothing secret. `ids` are those that were asked for."""
        there = {connection.pk for connection in self.connections}
        rows: list[JSON] = [row_of(connection, self.now) for connection in self.connections]
        gone: list[JSON] = [str(pk) for pk in ids if pk not in there]
        return {"type": "connections.rows", "rows": rows, "gone": gone, "total": self.total}


def row_of(connection: Connection, now: datetime) -> Frame:
    return {
        "id": str(connection.pk),
        "status": connection.status,
        "by_peer": connection.set_by_peer,
        "over": steps.is_over(connection, now),
    }


def ids_of(text: str) -> list[UUID]:
    """The ids in a page's address, without what is none, and no more than a page may follow."""
    found: dict[UUID, None] = {}
    for part in text[: MOST * 40].split(","):
        try:
            found[UUID(part)] = None
        except ValueError:
            continue
    return list(found)[:MOST]


def look(ids: Iterable[UUID]) -> Found:
    """Read these connections. Raises `StoreUnavailable`."""
    alias = router.db_for_read(Connection)
    rows = Connection.objects.using(alias)
    wanted = list(ids)
    return database.run(alias, lambda _: Found(list(rows.filter(pk__in=wanted)), rows.count(), clock.now(alias)))
