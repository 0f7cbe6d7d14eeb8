"""The links to other sites: how many there are, what waits to be told, and how the other sites see them."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import router
from django.db.models import Count, Min

from syncsessions import conf
from syncsessions.connections import clock
from syncsessions.connections.models import Connection, ConnectionInvitation, ConnectionNotice
from syncsessions.connections.status import fetch_peer_statuses

NOT_REACHABLE = "not_reachable"


@dataclass(frozen=True)
class RemoteStatus:
    """A link as both sites see it: `remote` is one of the five statuses, not_found, offline, error, or not_reachable
    where the other site cannot be called from here."""

    id: str
    name: str
    direction: str
    site_url: str | None
    status: str
    remote: str


@dataclass(frozen=True)
class ConnectionsStatus:
    """`counts` by direction and status; `waiting` notices, the oldest for so many seconds; what peers `refused`;
    requests that are `unanswered`; open `invitations`; `remote` where it was asked for. None: not known."""

    database: str
    site_url: str | None = None
    incoming_mode: str | None = None
    counts: dict[str, dict[str, int]] | None = None
    waiting: int | None = None
    waiting_since: float | None = None
    refused: int | None = None
    unanswered: int | None = None
    invitations: int | None = None
    remote: list[RemoteStatus] | None = field(default=None)
    error: str | None = None


def known() -> ConnectionsStatus:
    """What the settings say."""
    current = conf.current()
    alias = router.db_for_write(Connection)
    return ConnectionsStatus(alias, current.SITE_URL, current.INCOMING_MODE)


def ask_connections() -> ConnectionsStatus:
    """Raises Django's database errors."""
    settings = known()
    alias = settings.database
    rows = Connection.objects.using(alias)
    counts = {direction: dict.fromkeys(Connection.Status.values, 0) for direction in Connection.Direction.values}
    for direction, status, count in rows.values_list("direction", "status").annotate(count=Count("pk")).order_by():
        counts[direction][status] = count
    notices = ConnectionNotice.objects.using(alias).aggregate(count=Count("pk"), oldest=Min("created"))
    oldest = notices["oldest"]
    open_ones = ConnectionInvitation.objects.using(alias).filter(used_at=None, expires_at__gt=clock.now(alias))
    return ConnectionsStatus(
        alias,
        settings.site_url,
        settings.incoming_mode,
        counts,
        notices["count"],
        None if oldest is None else round((clock.micros(alias) - oldest) / 1_000_000, 1),
        rows.exclude(delivery_error="").count(),
        rows.exclude(offered_token="").count(),
        open_ones.count(),
    )


def ask_other_sites() -> list[RemoteStatus]:
    """How every other site sees its link, by name; takes as long as the slowest. Raises Django's database errors."""
    rows = list(Connection.objects.using(known().database).order_by("name", "pk"))
    told = dict(fetch_peer_statuses(row for row in rows if row.is_reachable))
    return [
        RemoteStatus(str(row.pk), row.name, row.direction, row.site_url, row.status, told.get(row.pk, NOT_REACHABLE))
        for row in rows
    ]
