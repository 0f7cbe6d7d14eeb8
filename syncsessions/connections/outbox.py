"""What peers are yet to be told: written with the change itself, so that what is rolled back is never told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connections
from django.db.models import F

from syncsessions.stores.database.dialects import dialect

if TYPE_CHECKING:
    from syncsessions.connections.models import Connection


def put(connection: Connection, *, status: str = "", reason: str = "") -> bool:
    """Leave a notice for the peer of this locked row: of a status or, where it has none, that the row is gone here.

    False where the peer cannot be called, and will ask by itself.
    """
    from syncsessions.connections.models import Connection as Rows
    from syncsessions.connections.models import ConnectionNotice

    if not connection.is_reachable:
        return False
    alias = connection._state.db or "default"
    Rows.objects.using(alias).filter(pk=connection.pk).update(told_seq=F("told_seq") + 1)
    connection.refresh_from_db(using=alias, fields=["told_seq"])
    now = micros(alias)
    ConnectionNotice.objects.using(alias).create(
        connection_pk=connection.pk,
        site_url=connection.site_url or "",
        token_at_rest=connection.peer_token_at_rest,
        status=status,
        reason=reason,
        seq=connection.told_seq,
        created=now,
        due=now,
    )
    return True


def micros(alias: str) -> int:
    """Microseconds since 1970 by this database's clock."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {dialect(connection).clock}")
        return int(cursor.fetchone()[0])


def deliver_soon() -> None:
    """Begin to deliver what is due, in a thread of its own."""
