"""MySQL and MariaDB: no shallow merge without paths, no conditional upsert; a short transaction and Python do it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext as _

from syncsessions.digests import text_hash
from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import depth, encode, size
from syncsessions.stash.models import StashSlice
from syncsessions.stash.rows import Owner, Place, Removed, Which, Write, Written
from syncsessions.stash.sql.base import COLUMNS, KEY, Statements, TooLarge, clauses, key_params, new_life, row_params

TABLE = f"`{StashSlice._meta.db_table}`"
NAMES = ", ".join(f"`{name}`" for name in COLUMNS)
WHERE_KEY = " AND ".join(f"{name} = %s" for name in KEY)
LOCK_WAIT = 10  # seconds
MARIADB_DEPTH, MYSQL_DEPTH = 31, 99
"""Objects and lists inside each other that the server takes."""


class MySQL(Statements):
    def merge(
        self,
        connection: BaseDatabaseWrapper,
        place: Place,
        writes: Sequence[Write],
        limit: int,
        *,
        under: bool = False,
    ) -> list[Written]:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            return [self._merge_one(connection, cursor, place, write, limit, under) for write in sorted(writes)]

    def create(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, most_slices: int
    ) -> Written | None:
        with connection.cursor() as cursor, _lock(cursor, place.owner), transaction.atomic(using=connection.alias):
            cursor.execute(f"SELECT COUNT(*) FROM {TABLE} WHERE owner = %s", [place.owner.hash])
            if cursor.fetchone()[0] >= most_slices:
                return None
            return self._merge_one(connection, cursor, place, write, limit)

    def _merge_one(
        self,
        connection: BaseDatabaseWrapper,
        cursor: Any,
        place: Place,
        write: Write,
        limit: int,
        under: bool = False,
    ) -> Written:
        written = self._update(connection, cursor, place, write, limit, under=under)
        if written is None:
            now = _now(connection)
            cursor.execute(
                f"INSERT IGNORE INTO {TABLE} ({NAMES}) "
                f"VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 1, %s, {now}, {now}, {now})",
                row_params(place, write),
            )
            if cursor.rowcount == 1:
                return Written(write.tab, 1, write.life)
            written = self._update(connection, cursor, place, write, limit, under=under)
        if written is None:  # removed between the two
            return self._merge_one(connection, cursor, place, write._replace(life=new_life()), limit, under)
        return written

    def _update(
        self,
        connection: BaseDatabaseWrapper,
        cursor: Any,
        place: Place,
        write: Write,
        limit: int,
        life: str | None = None,
        under: bool = False,
    ) -> Written | None:
        _check_depth(connection, write)
        cursor.execute(
            f"SELECT id, data, revision, life FROM {TABLE} WHERE {WHERE_KEY} FOR UPDATE", key_params(place, write.tab)
        )
        row = cursor.fetchone()
        if row is None or (life is not None and row[3] != life):
            return None
        stored, changes = json.loads(row[1]), json.loads(write.text)
        merged = encode({**changes, **stored} if under else {**stored, **changes})
        if size(merged) > limit:
            raise TooLarge
        return self._store(connection, cursor, row, write.tab, merged)

    def _store(self, connection: BaseDatabaseWrapper, cursor: Any, row: Any, tab: str, text: str) -> Written:
        pk, _data, revision, life = row
        now = _now(connection)
        cursor.execute(
            f"UPDATE {TABLE} SET data = %s, revision = revision + 1, written_at = {now}, last_seen_at = {now} "
            "WHERE id = %s",
            [text, pk],
        )
        return Written(tab, revision + 1, life)

    def update(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, life: str | None
    ) -> Written | None:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            return self._update(connection, cursor, place, write, limit, life)

    def drop(
        self, connection: BaseDatabaseWrapper, owner: Owner, view: str, tab: str, vsn: int | None, keys: Sequence[str]
    ) -> tuple[int, Written] | None:
        at_vsn, vsns = ("", []) if vsn is None else (" AND vsn = %s", [vsn])
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, data, revision, life, vsn FROM {TABLE} "
                f"WHERE owner = %s AND view_hash = %s AND tab_hash = %s{at_vsn} "
                "ORDER BY written_at DESC, vsn DESC LIMIT 1 FOR UPDATE",
                [owner.hash, text_hash(view), text_hash(tab), *vsns],
            )
            row = cursor.fetchone()
            data = {} if row is None else json.loads(row[1])
            kept = {key: value for key, value in data.items() if key not in set(keys)}
            if len(kept) == len(data):
                return None
            return row[4], self._store(connection, cursor, row[:4], tab, encode(kept))

    def remove(self, connection: BaseDatabaseWrapper, owner: Owner, which: Which) -> list[Removed]:
        condition, params = clauses(owner, which)
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"SELECT id, `view`, tab, vsn, life FROM {TABLE} WHERE {condition} FOR UPDATE", params)
            rows = cursor.fetchall()
            if rows:
                marks = ", ".join(["%s"] * len(rows))
                cursor.execute(f"DELETE FROM {TABLE} WHERE id IN ({marks})", [row[0] for row in rows])
        return [Removed(*row[1:]) for row in rows]


def _check_depth(connection: BaseDatabaseWrapper, write: Write) -> None:
    most = MARIADB_DEPTH if getattr(connection, "mysql_is_mariadb", False) else MYSQL_DEPTH
    if write.text.count("[") + write.text.count("{") <= most:
        return
    for key, value in json.loads(write.text).items():
        if depth(value) >= most:
            message = _("“%(key)s” cannot be stored: this database takes %(most)d levels of nesting.")
            raise InvalidValue(message % {"key": key, "most": most}, key=key)


def _now(connection: BaseDatabaseWrapper) -> str:
    """The server's time as Django stores it: in the connection's time zone, without one."""
    offset = timezone.localtime(timezone.now(), connection.timezone).utcoffset() if connection.timezone else None
    if offset is None:
        offset = timezone.now().astimezone(timezone.get_default_timezone()).utcoffset() or timedelta()
    return f"(UTC_TIMESTAMP(6) + INTERVAL {int(offset.total_seconds())} SECOND)"


@contextmanager
def _lock(cursor: Any, owner: Owner) -> Iterator[None]:
    name = f"syncsessions.{owner.hash[:48]}"
    cursor.execute("SELECT GET_LOCK(%s, %s)", [name, LOCK_WAIT])
    if cursor.fetchone()[0] != 1:
        raise OperationalError("lock wait timeout")
    try:
        yield
    finally:
        cursor.execute("SELECT RELEASE_LOCK(%s)", [name])
