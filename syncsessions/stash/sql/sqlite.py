"""SQLite: merging and dropping keys are Python functions on the connection.

Its own `json_patch` merges deep and deletes nulls, and `json_set` writes nothing for a key with a quote in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

from syncsessions.json_values import decode, encode, size
from syncsessions.stash.rows import Owner, Place, Write, Written
from syncsessions.stash.sql.base import TooLarge
from syncsessions.stash.sql.upserting import Dialect, Upserting

MERGED = "syncsessions_merge({under}, {over}, %s)"


class SQLite(Upserting):
    def __init__(self) -> None:
        super().__init__(
            Dialect(
                now="syncsessions_now()",
                json="%s",
                merge=MERGED,
                merge_or_fail=MERGED,
                update="syncsessions_merge(data, %s, %s) WHERE TRUE",
                changes_in_update=1,
                without="syncsessions_without(data, %s)",
                has_any="syncsessions_has_any(data, %s)",
            )
        )

    def merge(
        self,
        connection: BaseDatabaseWrapper,
        place: Place,
        writes: Sequence[Write],
        limit: int,
        *,
        under: bool = False,
    ) -> list[Written]:
        try:
            return super().merge(connection, place, writes, limit, under=under)
        except IntegrityError as error:
            raise TooLarge from error

    def update(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, life: str | None
    ) -> Written | None:
        try:
            return super().update(connection, place, write, limit, life)
        except IntegrityError as error:
            raise TooLarge from error

    def create(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, most_slices: int
    ) -> Written | None:
        try:
            return super().create(connection, place, write, limit, most_slices)
        except IntegrityError as error:
            raise TooLarge from error

    def keys_param(self, keys: Sequence[str]) -> object:
        return json.dumps(list(keys))

    def lock_owner(self, connection: BaseDatabaseWrapper, owner: Owner) -> None:
        """Nothing to do: the one statement that follows counts and writes under SQLite's only write lock."""


def merge(stored: str, changes: str, limit: int) -> str | None:
    merged = encode({**decode(stored), **decode(changes)})
    return merged if size(merged) <= limit else None


def without(stored: str, keys: str) -> str:
    gone = set(json.loads(keys))
    return encode({key: value for key, value in json.loads(stored).items() if key not in gone})


def has_any(stored: str, keys: str) -> bool:
    return not json.loads(stored).keys().isdisjoint(json.loads(keys))


@receiver(connection_created)
def add_functions(*, connection: Any, **kwargs: object) -> None:
    """Give a new SQLite connection the functions that the statements call."""
    if connection.vendor != "sqlite":
        return

    def now() -> str:
        # SQLite's own clock ticks in milliseconds, too coarse to tell which of two slices was written last.
        return str(datetime.now(connection.timezone).replace(tzinfo=None))

    add = connection.connection.create_function
    add("syncsessions_merge", 3, merge, deterministic=True)
    add("syncsessions_without", 2, without, deterministic=True)
    add("syncsessions_has_any", 2, has_any, deterministic=True)
    add("syncsessions_now", 0, now)
