"""The notices as those who deliver see them: which are due, whose each is for a while, and what became of it.

Of a connection the oldest goes first, under a lease: who is killed while it delivers leaves it to the others when the
lease ends, and what then arrives twice is known to the peer by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from django.db import router, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from syncsessions import database
from syncsessions.connections import announce, clock
from syncsessions.connections.models import Connection, ConnectionNotice

KEPT_FOR = 30 * 24 * 3600  # seconds
LEASE = 12.0  # seconds
_SECOND = 1_000_000


@dataclass(frozen=True)
class Held:
    """A notice under this one's lease, and with what it is told; `refused_before` where the row shows a refusal."""

    notice: ConnectionNotice
    leased_until: int
    site_url: str
    token: str | None = field(repr=False)
    refused_before: bool = False


def due(alias: str, most: int, *, begun: int | None = None) -> list[ConnectionNotice]:
    """The oldest notice of each connection, where it is time for it; those that wait longest first.

    With `begun`, without those that were tried in vain since then (microseconds).
    """
    rows, now = _rows(alias), clock.micros(alias)
    older = rows.filter(connection_pk=OuterRef("connection_pk"), pk__lt=OuterRef("pk"))
    found = rows.filter(~Exists(older), due__lte=now, leased_until__lte=now)
    if begun is not None:
        found = found.filter(Q(due__lte=begun) | Q(due=F("created")))
    return list(found.order_by("due", "pk")[:most])


def following(alias: str, connection_pk: UUID) -> ConnectionNotice | None:
    return _rows(alias).filter(connection_pk=connection_pk).order_by("pk").first()


def claim(alias: str, notices: Iterable[ConnectionNotice]) -> list[Held]:
    """Those of the notices that are this one's now: none that is another one's, not due, or gone."""
    now = clock.micros(alias)
    until = now + int(LEASE * _SECOND)
    mine = []
    with transaction.atomic(using=alias):
        for notice in notices:
            if max(notice.due, notice.leased_until) <= now:
                as_seen = _rows(alias).filter(pk=notice.pk, due=notice.due, leased_until=notice.leased_until)
                if as_seen.update(leased_until=until, attempts=F("attempts") + 1):
                    mine.append(notice)
    rows = Connection.objects.using(alias).in_bulk([notice.connection_pk for notice in mine])
    return [_held(notice, until, rows) for notice in mine]


def _held(notice: ConnectionNotice, until: int, rows: Mapping[UUID, Connection]) -> Held:
    """Site and token are the connection's, as long as there is one, which may have changed them since."""
    row = rows.get(notice.connection_pk)
    refused = row is not None and row.delivery_error != ""
    if row is not None and row.is_reachable:
        return Held(notice, until, str(row.site_url), row.peer_token, refused)
    return Held(notice, until, notice.site_url, notice.token, refused)


def is_out_of_date(alias: str, held: Held) -> bool:
    """Whether it would be told with another token, or elsewhere, by now."""
    rows = Connection.objects.using(alias).in_bulk([held.notice.connection_pk])
    now = _held(held.notice, held.leased_until, rows)
    return (now.site_url, now.token) != (held.site_url, held.token)


def finish(alias: str, held: Held, refusal: str | None = None) -> bool:
    """Done with: arrived, or refused for good. False where another one has told it, too, whose lease had ended."""
    with transaction.atomic(using=alias):
        gone = _rows(alias).filter(pk=held.notice.pk).delete()[0]
        if refusal is not None or held.refused_before:
            Connection.objects.using(alias).filter(pk=held.notice.connection_pk).update(delivery_error=refusal or "")
            announce.rung(alias)
    return bool(gone)


def postpone(alias: str, held: Held, seconds: float, error: str) -> None:
    """Leave it to anybody, not before so many seconds have passed."""
    _mine(alias, held).update(leased_until=0, due=clock.micros(alias) + int(seconds * _SECOND), last_error=error)


def release(alias: str, held: Held) -> None:
    """Leave it to anybody, at once."""
    _mine(alias, held).update(leased_until=0)


def left(alias: str) -> tuple[int, int]:
    """How many notices there are, and for how many of them it is another process' turn."""
    rows = _rows(alias)
    leased = rows.filter(connection_pk=OuterRef("connection_pk"), leased_until__gt=clock.micros(alias))
    return rows.count(), rows.filter(Exists(leased)).count()


def prune(*, dry_run: bool = False) -> int:
    """Remove the notices that could not be delivered for 30 days; how many those are."""
    alias = router.db_for_write(ConnectionNotice)

    def work(_connection: object) -> int:
        old = _rows(alias).filter(created__lt=clock.micros(alias) - KEPT_FOR * _SECOND)
        return old.count() if dry_run else old.delete()[0]

    return database.run(alias, work)


def _rows(alias: str) -> QuerySet[ConnectionNotice]:
    return ConnectionNotice.objects.using(alias)


def _mine(alias: str, held: Held) -> QuerySet[ConnectionNotice]:
    return _rows(alias).filter(pk=held.notice.pk, leased_until=held.leased_until)
