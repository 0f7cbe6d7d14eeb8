"""After SECRET_KEY was rotated: a session's rows move from their hashes under older keys to the present one."""

from __future__ import annotations

import json
import logging

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions import session_id
from syncsessions.exceptions import SyncSessionsError
from syncsessions.stash.models import StashSlice
from syncsessions.stash.owners import owner_of_session
from syncsessions.stash.rows import SLICE_LIMIT, Owner, Place, Write
from syncsessions.stash.sql import new_life, run, spare_the_transaction
from syncsessions.stash.sql.base import Statements, TooLarge

logger = logging.getLogger("syncsessions.stash")


def watch() -> None:
    session_id.on_first_kept(_adopt_derived)


def adopt(owner: Owner, limit: int) -> None:
    """Move what stands under `owner.former` to `owner.hash`: one look while there are fallback keys, few writes."""

    def work(connection: BaseDatabaseWrapper, statements: Statements) -> None:
        slices = StashSlice.objects.using(connection.alias)
        for row in slices.filter(owner__in=owner.former).order_by("written_at"):
            try:
                with transaction.atomic(using=connection.alias):
                    slices.filter(pk=row.pk).update(owner=owner.hash)
            except IntegrityError:
                _join(connection, statements, owner, row, limit)

    run(work, limit)


def _join(connection: BaseDatabaseWrapper, statements: Statements, owner: Owner, row: StashSlice, limit: int) -> None:
    """Merge a row that a worker with the older key wrote beside the one that had moved: its keys are the later ones."""
    with transaction.atomic(using=connection.alias):
        if not StashSlice.objects.using(connection.alias).filter(pk=row.pk).delete()[0]:
            return
        write = Write(row.tab, json.dumps(row.data), new_life())
        try:
            statements.merge(connection, Place(owner, row.view, row.vsn), [write], limit)
        except TooLarge:
            return


def _adopt_derived(text: str, former_ids: list[str | None]) -> None:
    """An id that derived from the session's key so far: what stands under what older keys made of it moves now."""
    try:
        with spare_the_transaction():
            adopt(owner_of_session(text, former_ids), SLICE_LIMIT)
    except SyncSessionsError:
        logger.exception("A stash could not be moved to the present secret key")
