"""The log of a record: entries numbered without gaps, written by who has the record's row locked."""
# ruff: noqa: S608 - nothing but the tables' names and the clock is put into SQL

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.exceptions import NotFound
from syncsessions.json_values import JSON, decode
from syncsessions.stores.database.dialects import dialect, fresh
from syncsessions.stores.database.rows import LOG, RECORDS, lookup_of, marks
from syncsessions.stores.operations import MAX_WHOLE, ReadLog, Replace

RENUMBERED = "logged = CASE WHEN logged > %s THEN logged - %s ELSE 0 END + %s"
"""What an update of the record says of its newest entry's number."""


def concerns(operation: Replace) -> bool:
    return operation.entry is not None or operation.drop > 0


def renumbering(operation: Replace) -> list[int]:
    """The parameters of RENUMBERED."""
    return [operation.drop, operation.drop, int(operation.entry is not None)]


def write(cursor: Any, operation: Replace, record: int, newest: int) -> None:
    """Remove the entries that are dropped or no longer kept, and write the new one as number `newest`."""
    if operation.drop:
        last = newest if operation.entry is None else newest - 1
        cursor.execute(f"DELETE FROM {LOG} WHERE record_id = %s AND number > %s", [record, last])
    if operation.entry is None:
        return
    if newest > operation.keep:
        cursor.execute(f"DELETE FROM {LOG} WHERE record_id = %s AND number <= %s", [record, newest - operation.keep])
    if operation.keep:
        cursor.execute(
            f"INSERT INTO {LOG} (record_id, number, entry) VALUES (%s, %s, %s)", [record, newest, operation.entry]
        )


def remove(cursor: Any, records: list[int]) -> None:
    if records:
        cursor.execute(f"DELETE FROM {LOG} WHERE record_id IN ({marks(records)})", records)


def read_log(connection: BaseDatabaseWrapper, operation: ReadLog) -> list[JSON]:
    limit = MAX_WHOLE if operation.limit is None else operation.limit
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {LOG}.entry FROM {RECORDS} LEFT JOIN {LOG} ON {LOG}.record_id = {RECORDS}.id "
            f"WHERE {RECORDS}.lookup = %s AND {RECORDS}.expires > {dialect(connection).clock} "
            f"ORDER BY {LOG}.number DESC LIMIT %s {fresh(connection)}",
            [lookup_of(operation.namespace, operation.id), max(limit, 1)],
        )
        rows = cursor.fetchall()
    if not rows:
        raise NotFound
    return [decode(entry) for (entry,) in rows[:limit] if entry is not None]
