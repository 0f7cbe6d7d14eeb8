"""One record: made, read, replaced, renewed, removed."""
# ruff: noqa: S608 - nothing but the tables' names and the clocks is put into SQL

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.digests import text_hash
from syncsessions.exceptions import (
    AlreadyExists,
    Conflict,
    NotFound,
    RateLimited,
    SessionLimitReached,
    SyncSessionsError,
)
from syncsessions.stores.database import counters, log, rates
from syncsessions.stores.database.dialects import dialect, fresh, locking, skipping
from syncsessions.stores.database.rows import READ, RECORDS, lookup_of, made, marks, microseconds, ours, read
from syncsessions.stores.operations import Create, Delete, Get, Replace, Touch
from syncsessions.stores.record import Record

SET_ASIDE_AT_ONCE = 1000
TRIES = 10


def create(connection: BaseDatabaseWrapper, operation: Create) -> Record | SyncSessionsError:
    """The record, or why there is none: returned, so that what was set aside on the way stays so."""
    namespace, name, life, data, text, ttl = operation[:6]
    scope = text_hash(namespace)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        total, now = counters.bump(connection, cursor, scope, 1)
        freed, refusal = _make_room(connection, cursor, operation, total, now)
        if freed or refusal is not None:
            counters.add(cursor, scope, -freed - (refusal is not None))
        if refusal is not None:
            return refusal
        expires = now + microseconds(ttl)
        cursor.execute(
            f"INSERT INTO {RECORDS} (namespace, namespace_hash, name, lookup, life, data, revision, logged, "
            "created, expires) VALUES (%s, %s, %s, %s, %s, %s, 1, 0, %s, %s)",
            [namespace, scope, name, lookup_of(namespace, name), life, text, now, expires],
        )
        if operation.rate is not None:
            rates.count(cursor, scope, operation.rate, life, now)
    return made(namespace, name, life, data, 1, now, expires)


def _make_room(
    connection: BaseDatabaseWrapper, cursor: Any, operation: Create, total: int, now: int
) -> tuple[int, SyncSessionsError | None]:
    """How many records were set aside for this one, which `total` counts already, and what stands against it."""
    freed = 0
    scope = text_hash(operation.namespace)
    cursor.execute(
        f"SELECT id, expires FROM {RECORDS} WHERE lookup = %s {fresh(connection)}",
        [lookup_of(operation.namespace, operation.id)],
    )
    for pk, expires in cursor.fetchall():
        if expires > now or not _set_aside(cursor, [pk], now):
            return 0, AlreadyExists()
        freed = 1
    while operation.limit is not None and total - freed > operation.limit:
        cursor.execute(
            f"SELECT id FROM {RECORDS} WHERE namespace_hash = %s AND expires > 0 AND expires <= %s "
            f"ORDER BY expires LIMIT {SET_ASIDE_AT_ONCE} {skipping(connection)}",
            [scope, now],
        )
        pks = [pk for (pk,) in cursor.fetchall()]
        more = _set_aside(cursor, pks, now) if pks else 0
        if not more:
            return freed, SessionLimitReached()
        freed += more
    wait = None if operation.rate is None else rates.wait_for(cursor, scope, operation.rate, now)
    return freed, None if wait is None else RateLimited(retry_after=wait)


def _set_aside(cursor: Any, pks: list[int], now: int) -> int:
    cursor.execute(
        # The sum keeps PostgreSQL from searching by the deadline, of any namespace, instead of the primary key.
        f"UPDATE {RECORDS} SET lookup = NULL, expires = -expires WHERE id IN ({marks(pks)}) AND expires + 0 <= %s",
        [*pks, now],
    )
    return cursor.rowcount  # type: ignore[no-any-return]


def get(connection: BaseDatabaseWrapper, operation: Get) -> Record:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {READ} FROM {RECORDS} WHERE lookup = %s AND expires > {dialect(connection).clock} "
            f"{fresh(connection)}",
            [lookup_of(operation.namespace, operation.id)],
        )
        for row in cursor.fetchall():
            return read(operation.namespace, row)
    raise NotFound


def replace(connection: BaseDatabaseWrapper, operation: Replace) -> Record:
    for _try in range(TRIES):
        record = _replace(connection, operation)
        if record is not None:
            return record
        _explain(connection, operation.namespace, operation.id, operation.life, operation.revision)
    raise Conflict


def _replace(connection: BaseDatabaseWrapper, operation: Replace) -> Record | None:
    clock, returning = dialect(connection).clock, dialect(connection).returning
    changes = ["data = %s", "revision = revision + 1"]
    params: list[Any] = [operation.text]
    if operation.ttl is not None:
        changes.append(f"expires = {clock} + %s")
        params.append(microseconds(operation.ttl))
    if log.concerns(operation):
        changes.append(log.RENUMBERED)
        params.extend(log.renumbering(operation))
    which, names = _which(clock, lookup_of(operation.namespace, operation.id), operation.life)
    several = log.concerns(operation) or not returning
    with transaction.atomic(using=connection.alias) if several else nullcontext(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {RECORDS} SET {', '.join(changes)} WHERE {which} AND revision = %s"
            + (f" RETURNING id, logged, {READ}" if returning else ""),
            [*params, *names, operation.revision],
        )
        if not returning and cursor.rowcount:
            # By its name alone: the deadline may have come since the update.
            cursor.execute(f"SELECT id, logged, {READ} FROM {RECORDS} WHERE lookup = %s FOR UPDATE", names[:1])
        elif not returning:
            return None
        rows = cursor.fetchall()
        if not rows:
            return None
        ((pk, newest, *row),) = rows
        log.write(cursor, operation, pk, newest)
    _name, life, _text, revision, created, expires = row
    return made(operation.namespace, operation.id, life, operation.data, revision, created, expires)


def touch(connection: BaseDatabaseWrapper, operation: Touch) -> None:
    clock = dialect(connection).clock
    which, names = _which(clock, lookup_of(operation.namespace, operation.id), operation.life)
    for _try in range(TRIES):
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {RECORDS} SET expires = {clock} + %s WHERE {which}", [microseconds(operation.ttl), *names]
            )
            if cursor.rowcount:
                return
        _explain(connection, operation.namespace, operation.id, operation.life)
    raise Conflict


def delete(connection: BaseDatabaseWrapper, operation: Delete) -> bool:
    clock, returning = dialect(connection).clock, dialect(connection).returning
    which, names = _which(clock, lookup_of(operation.namespace, operation.id), operation.life)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if not counters.add(cursor, text_hash(operation.namespace), -1):
            return False
        if returning:
            cursor.execute(f"DELETE FROM {RECORDS} WHERE {which} RETURNING id, logged", names)
            rows = cursor.fetchall()
        else:
            cursor.execute(f"SELECT id, logged FROM {RECORDS} WHERE {which} {locking(connection)}", names)
            rows = cursor.fetchall()
            for pk, _logged in rows:
                cursor.execute(f"DELETE FROM {RECORDS} WHERE id = %s", [pk])
        if not rows:
            transaction.set_rollback(True, using=connection.alias)
        log.remove(cursor, [pk for pk, logged in rows if logged])
    return bool(rows)


def _which(clock: str, lookup: str, life: str | None) -> tuple[str, list[Any]]:
    """The condition for the live record, of this life where given, and its parameters."""
    if life is None:
        return f"lookup = %s AND expires > {clock}", [lookup]
    return f"lookup = %s AND expires > {clock} AND life = %s", [lookup, ours(life)]


def _explain(
    connection: BaseDatabaseWrapper, namespace: str, name: str, life: str | None, revision: int | None = None
) -> None:
    """Raise why a write has found nothing to write on; nothing where it would find it now."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT life, revision FROM {RECORDS} WHERE lookup = %s AND expires > {dialect(connection).clock} "
            f"{fresh(connection)}",
            [lookup_of(namespace, name)],
        )
        rows = cursor.fetchall()
    if not rows:
        raise NotFound
    if life not in (None, rows[0][0]) or revision not in (None, rows[0][1]):
        raise Conflict
