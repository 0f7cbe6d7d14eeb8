"""The tokens that peers may present: of each the hash, and the moment it was issued by the database's clock."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, Exists, OuterRef, QuerySet
from django.views.decorators.debug import sensitive_variables

from syncsessions.connections import clock, tokens
from syncsessions.connections.models import Connection, ConnectionToken

MOST_UNUSED = 8
"""Tokens of one connection that nobody has used yet: as issued, and as offered by rotations whose answers were lost."""

BATCH = 500  # rows


@sensitive_variables()
def issue(alias: str, connection: Connection) -> str:
    """A new token; of those that the peer never used, the oldest go."""
    token = tokens.draw()
    keep(alias, connection, token)
    unused = _rows(alias).filter(connection=connection, used_at=None, offered=False).order_by("-pk")
    _rows(alias).filter(pk__in=list(unused.values_list("pk", flat=True)[MOST_UNUSED:])).delete()
    return token


@sensitive_variables()
def keep(alias: str, connection: Connection, token: str, *, offered: bool = False) -> ConnectionToken:
    """Recognise this token from now on."""
    now, digest = clock.now(alias), tokens.digest(token)
    return _rows(alias).create(connection=connection, token_hash=digest, offered=offered, created_at=now)


def is_offering(alias: str, connection: Connection) -> bool:
    """Whether a call by which this side offers a token may still be under way."""
    young = clock.now(alias) - tokens.UNDER_WAY
    offers = _rows(alias).filter(connection=connection, offered=True, used_at=None)
    return offers.filter(created_at__gt=young).exists()


def drop_lost_offers(alias: str, connection_pk: UUID | None = None) -> None:
    """Of a connection, or of all: forget offers whose answer was lost long ago, where the peer has used a younger token
    or where there are many younger ones."""
    lost = _rows(alias).filter(offered=True, created_at__lt=clock.now(alias) - tokens.UNDER_WAY)
    if connection_pk is not None:
        lost = lost.filter(connection_id=connection_pk)
    younger = _rows(alias).filter(connection_id=OuterRef("connection_id"), pk__gt=OuterRef("pk"))
    _delete(alias, lost.filter(Exists(younger.filter(used_at__isnull=False))))
    unused = lost.filter(used_at=None)
    crowded = unused.values("connection_id").annotate(count=Count("pk")).filter(count__gt=MOST_UNUSED)
    for pk in list(crowded.order_by("connection_id").values_list("connection_id", flat=True)):
        newest = list(unused.filter(connection_id=pk).order_by("-pk").values_list("pk", flat=True)[:MOST_UNUSED])
        _delete(alias, unused.filter(connection_id=pk, pk__lt=newest[-1]))


def _delete(alias: str, rows: QuerySet[ConnectionToken]) -> None:
    # Looked up first: MySQL deletes from no table that the condition reads.
    while pks := list(rows.values_list("pk", flat=True)[:BATCH]):
        _rows(alias).filter(pk__in=pks).delete()


def _rows(alias: str) -> QuerySet[ConnectionToken]:
    return ConnectionToken.objects.using(alias)
