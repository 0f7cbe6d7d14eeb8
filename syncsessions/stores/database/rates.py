"""Rates: a row for each hit, counted back from now under the lock of the key's counter."""
# ruff: noqa: S608 - nothing but the tables' names is put into SQL

from __future__ import annotations

import random
from contextlib import nullcontext
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.digests import text_hash
from syncsessions.exceptions import RateLimited
from syncsessions.stores.database import counters
from syncsessions.stores.database.dialects import dialect, skipping
from syncsessions.stores.database.rows import marks, ours
from syncsessions.stores.models import StoreHit
from syncsessions.stores.operations import Hit, Unhit
from syncsessions.stores.record import Rate

TABLE = StoreHit._meta.db_table
BATCH = 1000
SWEPT_EVERY = 100  # hits
SECOND = 1_000_000  # microseconds


def hit(connection: BaseDatabaseWrapper, operation: Hit) -> str:
    counter = _counter(operation.key)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        _total, now = counters.bump(connection, cursor, counter, 0)
        wait = wait_for(cursor, counter, operation.rate, now)
        if wait is not None:
            raise RateLimited(retry_after=wait)
        count(cursor, counter, operation.rate, operation.token, now)
    if not connection.in_atomic_block and random.randrange(SWEPT_EVERY) == 0:  # noqa: S311 - any hit will do
        sweep(connection)
    return operation.token


def unhit(connection: BaseDatabaseWrapper, operation: Unhit) -> None:
    with connection.cursor() as cursor:
        # The row stays for the sweep, which finds idle keys by it.
        cursor.execute(
            f"UPDATE {TABLE} SET hit_at = 0 WHERE counter = %s AND token = %s",
            [_counter(operation.key), ours(operation.token)],
        )


def wait_for(cursor: Any, counter: str, rate: Rate, now: int) -> float | None:
    """Seconds until the rate has room again; None where it has. The counter must be locked."""
    window = int(rate.window * SECOND)
    cursor.execute(
        f"SELECT hit_at FROM {TABLE} WHERE counter = %s AND hit_at > %s ORDER BY hit_at DESC LIMIT 1 OFFSET %s",
        [counter, now - window, rate.most - 1],
    )
    row = cursor.fetchone()
    return None if row is None else (row[0] + window - now) / SECOND


def count(cursor: Any, counter: str, rate: Rate, token: str, now: int) -> None:
    cursor.execute(
        f"INSERT INTO {TABLE} (counter, token, hit_at, forget_at) VALUES (%s, %s, %s, %s)",
        [counter, token, now, now + int(rate.window * SECOND)],
    )


def sweep(connection: BaseDatabaseWrapper) -> None:
    """Forget hits that have left their windows, of whichever key, and counters that nothing counts on."""
    counter_table = counters.TABLE
    # SQLite's transactions must begin with a write; there each statement is its own.
    step = transaction.atomic(using=connection.alias) if connection.features.has_select_for_update else nullcontext()
    with step, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, counter FROM {TABLE} WHERE forget_at <= {dialect(connection).steady_clock} "
            f"ORDER BY forget_at LIMIT {BATCH} {skipping(connection)}"
        )
        rows = cursor.fetchall()
        if not rows:
            return
        cursor.execute(f"DELETE FROM {TABLE} WHERE id IN ({marks(rows)})", [row[0] for row in rows])
        keys = sorted({row[1] for row in rows})
        idle = f"total = 0 AND NOT EXISTS (SELECT 1 FROM {TABLE} WHERE counter = {counter_table}.lookup)"
        cursor.execute(
            f"SELECT lookup FROM {counter_table} WHERE lookup IN ({marks(keys)}) AND {idle} {skipping(connection)}",
            keys,
        )
        lookups = [row[0] for row in cursor.fetchall()]
        if lookups:
            cursor.execute(f"DELETE FROM {counter_table} WHERE lookup IN ({marks(lookups)}) AND total = 0", lookups)


def _counter(key: str) -> str:
    return text_hash(f"\x00{key}")  # no namespace has this hash: none has a NUL
