"""The store in the project's database: one truth for many workers, without Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions import database
from syncsessions.commit import after_commit
from syncsessions.exceptions import SyncSessionsError
from syncsessions.stores import operations
from syncsessions.stores.base import BaseStore
from syncsessions.stores.database import checks, log, namespaces, rates, records
from syncsessions.stores.database.dialects import dialect

__all__ = ["DatabaseStore"]


class DatabaseStore(BaseStore):
    """Records in the tables of `syncsessions.stores.models`: PostgreSQL, SQLite from 3.35, MySQL and MariaDB.

    `OPTIONS["using"]` names the database, "default" if not given, whatever the routers say. Inside the caller's
    `atomic` an operation belongs to that transaction: it counts when that is committed, and others that count in the
    same namespace wait until then. Outside one, what only lost a race for a lock is tried again for up to 20 seconds.
    """

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.using: str = self.options.get("using", "default")

    def execute(self, operation: operations.Operation) -> Any:
        return self._execute(operation, None)

    async def aexecute(self, operation: operations.Operation) -> Any:
        return await database.InThread(self._execute)(operation, time.monotonic())

    def _execute(self, operation: operations.Operation, asked: float | None) -> Any:
        work = _WORK[type(operation)]
        with database.spare_the_transaction(self.using):
            found = database.run(self.using, lambda connection: work(connection, operation), asked)
        if isinstance(found, SyncSessionsError):
            raise found
        return found

    def in_transaction(self) -> bool:
        return connections[self.using].in_atomic_block

    def after_commit(self, tell: Callable[[], None]) -> None:
        after_commit(self.using, tell)

    def check(self) -> Sequence[CheckMessage]:
        return checks.check(self.alias, self.using)


def _ping(connection: BaseDatabaseWrapper, _operation: operations.Ping) -> float:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {dialect(connection).clock}")
        return cursor.fetchone()[0] / 1_000_000  # type: ignore[no-any-return]


_WORK: dict[type[operations.Operation], Callable[[BaseDatabaseWrapper, Any], Any]] = {
    operations.Create: records.create,
    operations.Get: records.get,
    operations.Replace: records.replace,
    operations.Delete: records.delete,
    operations.Touch: records.touch,
    operations.Count: namespaces.count,
    operations.List: namespaces.list_,
    operations.Expire: namespaces.expire,
    operations.ReadLog: log.read_log,
    operations.Hit: rates.hit,
    operations.Unhit: rates.unhit,
    operations.Ping: _ping,
}
