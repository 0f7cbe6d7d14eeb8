"""Counters: a row that is locked before anything that it counts, in one order for all."""
# ruff: noqa: S608 - nothing but the tables' names is put into SQL

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.stores.database.dialects import dialect
from syncsessions.stores.models import StoreCounter

TABLE = StoreCounter._meta.db_table


def bump(connection: BaseDatabaseWrapper, cursor: Any, lookup: str, by: int) -> tuple[int, int]:
    """Lock the counter, made if need be, and add to it: its total and, with the lock held, the time."""
    clock = dialect(connection).clock
    insert = f"INSERT INTO {TABLE} (lookup, total) VALUES (%s, %s)"
    if dialect(connection).returning:
        cursor.execute(
            f"{insert} ON CONFLICT (lookup) DO UPDATE SET total = {TABLE}.total + excluded.total "
            f"RETURNING total, {clock}",
            [lookup, by],
        )
    else:
        cursor.execute(f"{insert} ON DUPLICATE KEY UPDATE total = total + %s", [lookup, by, by])
        cursor.execute(f"SELECT total, {clock} FROM {TABLE} WHERE lookup = %s FOR UPDATE", [lookup])
    ((total, now),) = cursor.fetchall()
    return total, now


def add(cursor: Any, lookup: str, by: int) -> bool:
    """Lock the counter and add to it; whether there is one."""
    cursor.execute(f"UPDATE {TABLE} SET total = total + %s WHERE lookup = %s", [by, lookup])
    return bool(cursor.rowcount)
