"""After SECRET_KEY was rotated: a session's rows move from their hashes under older keys to the present one."""

from __future__ import annotations

import logging

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions import session_id
from syncsessions.exceptions import SyncSessionsError
from syncsessions.json_values import encode
from syncsessions.stash.models import StashSlice
from syncsessions.stash.owners import owner_of_session
from syncsessions.stash.rows import Owner, Place, Which, Write
from syncsessions.stash.sql import new_life, run, spare_the_transaction
from syncsessions.stash.sql.base import Statements

logger = logging.getLogger("syncsessions.stash")
UNBOUNDED = 2**31 - 1  # bytes


def watch() -> None:
    session_id.on_first_kept(_adopt_derived)


def adopt(owner: Owner) -> None:
    """Move what stands under `owner.former` to `owner.hash`: one look while there are fallback keys, few writes."""

    def work(connection: BaseDatabaseWrapper, statements: Statements) -> None:
        slices = StashSlice.objects.using(connection.alias)
        for row in slices.filter(owner__in=owner.former).order_by("written_at"):
            try:
                with transaction.atomic(using=connection.alias):
                    slices.filter(pk=row.pk).update(owner=owner.hash)
            except IntegrityError:
                _join(connection, statements, owner, row)

    run(work)


def _join(connection: BaseDatabaseWrapper, statements: Statements, owner: Owner, row: StashSlice) -> None:
    """Merge a row that a worker with the older key wrote beside the one that had moved: its keys are the later ones."""
    there = Which(row.view, [row.tab], row.vsn, row.life, row.revision)
    with transaction.atomic(using=connection.alias):
        if statements.remove(connection, Owner(row.owner), there):
            write = Write(row.tab, encode(row.data), new_life())
            # Both were acknowledged within their bounds: together they may pass them rather than be lost.
            statements.merge(connection, Place(owner, row.view, row.vsn), [write], UNBOUNDED)


def _adopt_derived(text: str, former_ids: list[str | None]) -> None:
    """An id that derived from the session's key so far: what stands under what older keys made of it moves now."""
    try:
        with spare_the_transaction():
            adopt(owner_of_session(text, former_ids))
    except SyncSessionsError:
        logger.exception("A stash could not be moved to the present secret key")
