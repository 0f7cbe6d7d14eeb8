"""Databases that merge in one upsert and tell what came of it by RETURNING: PostgreSQL and SQLite."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.digests import text_hash
from syncsessions.stash.models import StashSlice
from syncsessions.stash.rows import Owner, Place, Removed, Which, Write, Written
from syncsessions.stash.sql.base import COLUMNS, KEY, Statements, TooLarge, clauses, key_params, row_params

TABLE = f'"{StashSlice._meta.db_table}"'
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)
WHERE_KEY = " AND ".join(f"{name} = %s" for name in KEY)
WHERE_SLICES = "owner = %s AND view_hash = %s AND tab_hash = %s"
LAST_WRITTEN = f"(SELECT vsn FROM {TABLE} WHERE {WHERE_SLICES} ORDER BY written_at DESC, vsn DESC LIMIT 1)"


class Dialect(NamedTuple):
    """What differs between the vendors, as SQL around `%s` parameters.

    Where a merged slice is too large, a merge either writes no row or writes NULL, which the column refuses: then
    the whole statement fails, which is what a merge of two rows needs to be all or nothing.
    """

    now: str
    """The real time, not the transaction's start."""
    json: str
    """A JSON parameter."""
    merge: str
    """What follows `data = ` when the slice is there: `{under}` with `{over}` merged over it, takes the limit last."""
    merge_or_fail: str
    """The same, failing where `merge` would pass a row over."""
    update: str
    """What follows `data = ` in an update, up to its WHERE and a first condition: takes the changes, then the limit."""
    changes_in_update: int
    """How often it takes the changes."""
    without: str
    """`data` without the keys of a parameter."""
    has_any: str
    """Whether `data` has any key of a parameter."""


class Upserting(Statements):
    def __init__(self, dialect: Dialect) -> None:
        touched = f"revision = {TABLE}.revision + 1, written_at = {dialect.now}, last_seen_at = {dialect.now}"
        values = f"%s, %s, %s, %s, %s, %s, %s, {dialect.json}, 1, %s, {dialect.now}, {dialect.now}, {dialect.now}"
        into = f"INSERT INTO {TABLE} ({NAMES})"
        conflict = f"ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {touched}, data ="
        told = "RETURNING tab, revision, life"
        changes_over = {"under": f"{TABLE}.data", "over": "excluded.data"}
        changes_under = {"under": "excluded.data", "over": f"{TABLE}.data"}
        merge = dialect.merge.format(**changes_over)
        self._merge = f"{into} VALUES ({values}) {conflict} {merge} {told}"
        has_room = f"(SELECT COUNT(*) FROM {TABLE} WHERE owner = %s) < %s"
        self._create = f"{into} SELECT {values} WHERE {has_room} {conflict} {merge} {told}"
        self._merge_all = {
            (count, order is changes_under): (
                f"{into} VALUES {', '.join([f'({values})'] * count)} "
                f"{conflict} {dialect.merge_or_fail.format(**order)} {told}"
            )
            for count in (1, 2)
            for order in (changes_over, changes_under)
        }
        self._update = f"UPDATE {TABLE} SET {touched}, data = {dialect.update} AND {WHERE_KEY}"
        self._changes_in_update = dialect.changes_in_update
        self._told = told
        self._drop = (
            f"UPDATE {TABLE} SET {touched}, data = {dialect.without} WHERE {WHERE_SLICES} AND {dialect.has_any} "
            "AND vsn = {vsn} RETURNING vsn, tab, revision, life"
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
        # One order for every writer: two rows locked in turn cannot wait for each other.
        params = [param for write in sorted(writes) for param in row_params(place, write)] + [limit]
        if len(writes) == 1 and not under:
            rows = _rows(connection, self._merge, params)
            if not rows:
                raise TooLarge
        else:
            rows = self._all_or_nothing(connection, self._merge_all[len(writes), under], params)
        return [Written(*row) for row in rows]

    def _all_or_nothing(self, connection: BaseDatabaseWrapper, sql: str, params: Sequence[object]) -> list[Any]:
        try:
            if not connection.in_atomic_block:
                return _rows(connection, sql, params)
            with transaction.atomic(using=connection.alias):  # the failure must not spoil the caller's transaction
                return _rows(connection, sql, params)
        except IntegrityError as error:
            raise TooLarge from error

    def create(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, most_slices: int
    ) -> Written | None:
        params = [*row_params(place, write), place.owner.hash, most_slices, limit]
        with transaction.atomic(using=connection.alias):
            self.lock_owner(connection, place.owner)
            rows = _rows(connection, self._create, params)
        return Written(*rows[0]) if rows else None

    @abstractmethod
    def lock_owner(self, connection: BaseDatabaseWrapper, owner: Owner) -> None:
        """Until the transaction ends, let no other one count and add slices of this owner."""

    def update(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, life: str | None
    ) -> Written | None:
        which = key_params(place, write.tab)
        at_life = ""
        if life is not None:
            at_life = "AND life = %s"
            which.append(life)
        params = [*[write.text] * self._changes_in_update, limit, *which]
        rows = _rows(connection, f"{self._update} {at_life} {self._told}", params)
        if rows:
            return Written(*rows[0])
        if _rows(connection, f"SELECT 1 FROM {TABLE} WHERE {WHERE_KEY} {at_life}", which):
            raise TooLarge
        return None

    def drop(
        self, connection: BaseDatabaseWrapper, owner: Owner, view: str, tab: str, vsn: int | None, keys: Sequence[str]
    ) -> tuple[int, Written] | None:
        slices = [owner.hash, text_hash(view), text_hash(tab)]
        gone = self.keys_param(keys)
        sql = self._drop.format(vsn=LAST_WRITTEN if vsn is None else "%s")
        params = [gone, *slices, gone, *(slices if vsn is None else [vsn])]
        for found_vsn, *written in _rows(connection, sql, params):
            return found_vsn, Written(*written)
        return None

    @abstractmethod
    def keys_param(self, keys: Sequence[str]) -> object:
        """The keys as the dialect's `without` and `has_any` take them."""

    def remove(self, connection: BaseDatabaseWrapper, owner: Owner, which: Which) -> list[Removed]:
        condition, params = clauses(owner, which)
        sql = f'DELETE FROM {TABLE} WHERE {condition} RETURNING "view", tab, vsn, life'
        return [Removed(*row) for row in _rows(connection, sql, params)]


def _rows(connection: BaseDatabaseWrapper, sql: str, params: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[Any] = cursor.fetchall()
    return rows
