"""What is no more use: links past their time, notices that nobody took, invitations and tokens long done with."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from django.db import router
from django.db.models import Q

from syncsessions import database
from syncsessions.connections import clock, issuing, outbox, steps
from syncsessions.connections.models import Connection, ConnectionInvitation
from syncsessions.database import InThread

KEPT_FOR = timedelta(days=30)


class Pruned(NamedTuple):
    """Connections that turned expired; notices and invitations that were removed."""

    expired: int
    notices: int
    invitations: int


def prune(*, dry_run: bool = False) -> Pruned:
    """Expire active connections past `expires_at`, remove notices that could not be delivered for 30 days and
    invitations that are redeemed or over for as long; what there was, or would be. Raises `StoreUnavailable`."""
    alias = router.db_for_write(Connection)
    if not dry_run:
        database.run(alias, lambda _: issuing.drop_lost_offers(alias))
    return Pruned(
        database.run(alias, lambda _: steps.expire(dry_run=dry_run)),
        outbox.prune(dry_run=dry_run),
        database.run(alias, lambda _: _invitations(alias, dry_run)),
    )


aprune = InThread(prune)


def _invitations(alias: str, dry_run: bool) -> int:
    over = clock.now(alias) - KEPT_FOR
    rows = ConnectionInvitation.objects.using(alias).filter(Q(expires_at__lt=over) | Q(used_at__lt=over))
    return rows.count() if dry_run else rows.delete()[0]
