"""After SECRET_KEY was rotated: a session's rows move from their hashes under older keys to the present one."""

from __future__ import annotations

import json

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.stash.models import StashSlice
from syncsessions.stash.rows import Owner, Place, Write
from syncsessions.stash.sql import new_life, run
from syncsessions.stash.sql.base import Statements, TooLarge


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
