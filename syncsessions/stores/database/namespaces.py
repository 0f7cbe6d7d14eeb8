"""All records of a namespace: counted, listed, swept."""
# ruff: noqa: S608 - nothing but the tables' names and the clocks is put into SQL

from __future__ import annotations

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.digests import text_hash
from syncsessions.stores.database import counters, log, rates
from syncsessions.stores.database.dialects import dialect, fresh, skipping
from syncsessions.stores.database.rows import READ, RECORDS, marks, read
from syncsessions.stores.operations import MAX_WHOLE, Count, Expire, List
from syncsessions.stores.record import Record

AT_ONCE = 1000  # parameters of a statement


def count(connection: BaseDatabaseWrapper, operation: Count) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT COUNT(*) FROM {RECORDS} WHERE namespace_hash = %s "
            f"AND expires > {dialect(connection).steady_clock} {fresh(connection)}",
            [text_hash(operation.namespace)],
        )
        ((found,),) = cursor.fetchall()
    return found  # type: ignore[no-any-return]


def list_(connection: BaseDatabaseWrapper, operation: List) -> list[Record]:
    limit = MAX_WHOLE if operation.limit is None else operation.limit
    with connection.cursor() as cursor:
        cursor.execute(
            # The sum keeps SQLite from searching by the deadline and then sorting all that is live.
            f"SELECT {READ} FROM {RECORDS} WHERE namespace_hash = %s "
            f"AND expires + 0 > {dialect(connection).steady_clock} "
            f"ORDER BY id DESC LIMIT %s OFFSET %s {fresh(connection)}",
            [text_hash(operation.namespace), limit, operation.offset],
        )
        return [read(operation.namespace, row) for row in cursor.fetchall()]


def expire(connection: BaseDatabaseWrapper, operation: Expire) -> list[Record]:
    scope = text_hash(operation.namespace)
    # In a caller's transaction a look first would be a lock to upgrade on SQLite.
    if not connection.in_atomic_block and not _anything_due(connection, scope):
        return []
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        _total, now = counters.bump(connection, cursor, scope, 0)
        cursor.execute(
            f"SELECT id, logged, lookup, {READ} FROM {RECORDS} WHERE namespace_hash = %s AND expires <= %s "
            f"ORDER BY expires LIMIT %s {skipping(connection)}",
            [scope, now, operation.limit],
        )
        rows = cursor.fetchall()
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            cursor.execute(f"DELETE FROM {RECORDS} WHERE id IN ({marks(some)})", [row[0] for row in some])
            log.remove(cursor, [row[0] for row in some if row[1]])
        counted = sum(row[2] is not None for row in rows)
        if counted:
            counters.add(cursor, scope, -counted)
    return [read(operation.namespace, row[3:]) for row in rows]


def _anything_due(connection: BaseDatabaseWrapper, scope: str) -> bool:
    """Whether a record is past its deadline. Hits that are so are swept, whatever their keys."""
    clock = dialect(connection).steady_clock
    with connection.cursor() as cursor:
        # The least of an index, not EXISTS: PostgreSQL may look for that one through the whole table.
        cursor.execute(
            f"SELECT (SELECT MIN(expires) FROM {RECORDS} WHERE namespace_hash = %s) <= {clock}, "
            f"(SELECT MIN(forget_at) FROM {rates.TABLE}) <= {clock}",
            [scope],
        )
        ((records, hits),) = cursor.fetchall()
    if hits:
        rates.sweep(connection)
    return bool(records)
