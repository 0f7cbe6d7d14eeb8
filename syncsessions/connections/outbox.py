"""What peers are yet to be told: written with the change itself, so that what is rolled back is never told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import connections, router
from django.db.models import F

from syncsessions import database
from syncsessions.database import InThreadOfItsOwn
from syncsessions.stores.database.dialects import dialect

if TYPE_CHECKING:
    from syncsessions.connections.models import Connection

KEPT_FOR = 30 * 24 * 3600  # seconds


class Delivered(NamedTuple):
    """Of notices: those that arrived, those that are left for later, and those that a peer has refused for good."""

    done: int
    waiting: int
    refused: int


def put(connection: Connection, *, status: str = "", reason: str = "") -> bool:
    """Leave a notice for the peer of this locked row: of a status or, where it has none, that the row is gone here.

    False where the peer cannot be called, and will ask by itself.
    """
    from syncsessions.connections.models import Connection as Rows

    if not connection.is_reachable:
        return False
    alias = connection._state.db or "default"
    Rows.objects.using(alias).filter(pk=connection.pk).update(told_seq=F("told_seq") + 1)
    connection.refresh_from_db(using=alias, fields=["told_seq"])
    _write(alias, connection, status=status, reason=reason, seq=connection.told_seq)
    return True


def put_removal(alias: str, connection: Connection) -> None:
    """Leave a notice that a row is gone which is gone already; this object holds the token to tell it with."""
    _write(alias, connection, seq=connection.told_seq + 1)


def _write(alias: str, connection: Connection, *, seq: int, status: str = "", reason: str = "") -> None:
    from syncsessions.connections.models import ConnectionNotice

    now = micros(alias)
    ConnectionNotice.objects.using(alias).create(
        connection_pk=connection.pk,
        site_url=connection.site_url or "",
        token_at_rest=connection.peer_token_at_rest,
        status=status,
        reason=reason,
        seq=seq,
        created=now,
        due=now,
    )


def micros(alias: str) -> int:
    """Microseconds since 1970 by this database's clock."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {dialect(connection).clock}")
        return int(cursor.fetchone()[0])


def deliver() -> Delivered:
    """Tell peers what they are yet to be told, each in order and all at once, and ask how it stands with those links
    whose other side cannot call here. Ends when what is left has to wait: nobody is tried twice in vain.

    Raises `StoreUnavailable`; RuntimeError inside a transaction, which nobody else would see that this one delivers.
    """
    from syncsessions.connections import delivery

    return delivery.once()


adeliver = InThreadOfItsOwn(deliver)


def deliver_soon() -> None:
    """Begin to deliver what is due, in a thread of its own, of which a process has one at most."""
    from syncsessions.connections import delivery

    delivery.soon()


def prune(*, dry_run: bool = False) -> int:
    """Remove the notices that could not be delivered for 30 days; how many those are."""
    from syncsessions.connections.models import ConnectionNotice

    alias = router.db_for_write(ConnectionNotice)

    def work(_connection: object) -> int:
        old = ConnectionNotice.objects.using(alias).filter(created__lt=micros(alias) - KEPT_FOR * 1_000_000)
        return old.count() if dry_run else old.delete()[0]

    return database.run(alias, work)
