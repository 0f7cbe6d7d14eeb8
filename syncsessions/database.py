"""One piece of work on a database: what passes is tried again, what does not is `StoreUnavailable`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.exceptions import StoreUnavailable

RETRY_FOR = 20.0  # seconds
_PASSING = (
    "database is locked",
    "database table is locked",
    "deadlock",
    "could not serialize",
    "lock wait timeout",
    "record has changed since last read",
)

_unreachable: dict[str, float] = {}  # aliases, and when a try to connect to each failed last, by the monotonic clock

Params = ParamSpec("Params")
Result = TypeVar("Result")


def run(alias: str, work: Callable[[BaseDatabaseWrapper], Result], asked: float | None = None) -> Result:
    """Do `work` on the connection `alias`.

    Raises `StoreUnavailable` where the database does not do its part. What only lost a race for a lock is tried again,
    unless it stands in the caller's transaction. `asked` is when the caller began to wait for this thread, by the
    monotonic clock: who has waited while others tried in vain to connect does not try once more.
    """
    connection = connections[alias]
    if asked is not None and connection.connection is None and asked < _unreachable.get(alias, asked):
        raise StoreUnavailable
    until = 0.0
    while True:
        try:
            return work(connection)
        except Error as error:
            now = time.monotonic()
            if connection.connection is None:
                _unreachable[alias] = now
            until = until or now + RETRY_FOR
            if connection.in_atomic_block or now > until or not _will_pass(error):
                if connection.autocommit:  # else Django would close it, and a caller's transaction with it
                    connection.close_if_unusable_or_obsolete()
                raise StoreUnavailable from error
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - spreads the rivals, decides nothing


class InThread(SyncToAsync[Params, Result]):
    """Sync work for async code, as Channels' `database_sync_to_async`; that one closes a caller's open transaction."""

    def thread_handler(self, loop: Any, *args: Any, **kwargs: Any) -> Any:
        _close_old_connections()
        try:
            return super().thread_handler(loop, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            _close_old_connections()


class InThreadOfItsOwn(InThread[Params, Result]):
    """The same for work that waits for other sites: not in the one thread that all async code shares."""

    def __init__(self, func: Callable[Params, Result]) -> None:
        super().__init__(func, thread_sensitive=False)

    def thread_handler(self, loop: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().thread_handler(loop, *args, **kwargs)
        finally:
            connections.close_all()  # nobody else would: it is a thread of a pool


def _close_old_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


@contextmanager
def spare_the_transaction(alias: str) -> Iterator[None]:
    """Inside a caller's `atomic` a savepoint, so that PostgreSQL lets the page go on after a failure."""
    if not connections[alias].in_atomic_block:
        yield
        return
    try:
        with transaction.atomic(using=alias):
            yield
    except Error as error:  # the savepoint's own
        raise StoreUnavailable from error


def _will_pass(error: Error) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in _PASSING)
