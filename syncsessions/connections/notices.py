"""What peers are yet to be told: written with the change itself, so that what is rolled back is never told."""

from __future__ import annotations

from django.db import router
from django.db.models import F
from django.dispatch import Signal

from syncsessions.commit import after_commit
from syncsessions.connections import clock
from syncsessions.connections.models import Connection, ConnectionNotice

left = Signal()
"""After the commit of a notice: whoever delivers may begin."""


def put(connection: Connection, *, status: str = "", reason: str = "") -> bool:
    """Leave a notice for the peer of this locked row: of a status or, where it has none, that the row is gone here.

    False where the peer cannot be called, and will ask by itself.
    """
    if not connection.is_reachable:
        return False
    alias = router.db_for_write(Connection)
    Connection.objects.using(alias).filter(pk=connection.pk).update(told_seq=F("told_seq") + 1)
    connection.refresh_from_db(using=alias, fields=["told_seq"])
    _write(alias, connection, status=status, reason=reason, seq=connection.told_seq)
    return True


def put_removal(alias: str, connection: Connection) -> None:
    """Leave a notice that a row is gone which is gone already; this object holds the token to tell it with."""
    _write(alias, connection, seq=connection.told_seq + 1)


def _write(alias: str, connection: Connection, *, seq: int, status: str = "", reason: str = "") -> None:
    now = clock.micros(alias)
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
    after_commit(alias, _tell)


def _tell() -> None:
    left.send(sender=None)
