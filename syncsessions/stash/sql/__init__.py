"""The stash's SQL: `run` does one piece of work on the database of the stash, in its vendor's words."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import Error, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue, StoreUnavailable
from syncsessions.stash.models import StashSlice
from syncsessions.stash.sql.base import Statements, TooLarge, new_life
from syncsessions.stash.sql.mysql import MySQL
from syncsessions.stash.sql.postgresql import PostgreSQL
from syncsessions.stash.sql.sqlite import SQLite

__all__ = ["VENDORS", "database_alias", "new_life", "run", "spare_the_transaction"]

VENDORS: dict[str, Statements] = {"sqlite": SQLite(), "postgresql": PostgreSQL(), "mysql": MySQL()}
RETRY_FOR = 20.0  # seconds
_PASSING = ("database is locked", "database table is locked", "deadlock", "could not serialize", "lock wait timeout")

Result = TypeVar("Result")


def database_alias() -> str:
    """The database of the stash. Reads go where the writes go: a lagging replica would recover what was overwritten."""
    return router.db_for_write(StashSlice)


def run(work: Callable[[BaseDatabaseWrapper, Statements], Result], limit: int = 0) -> Result:
    """Do `work` on the stash's connection.

    Raises `InvalidValue` where a slice is past its bound of `limit` bytes, `StoreUnavailable` where the database does
    not do its part. What only lost a race for a lock is tried again, unless it stands in the caller's transaction.
    """
    connection = connections[database_alias()]
    until = 0.0
    while True:
        try:
            return work(connection, VENDORS[connection.vendor])
        except TooLarge:
            message = _("The slice would be larger than %(limit)d bytes; nothing was written.")
            raise InvalidValue(message % {"limit": limit}, limit=limit) from None
        except Error as error:
            now = time.monotonic()
            until = until or now + RETRY_FOR
            if connection.in_atomic_block or now > until or not _will_pass(error):
                if connection.autocommit:  # else Django would close it, and a caller's transaction with it
                    connection.close_if_unusable_or_obsolete()
                raise StoreUnavailable from error
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - spreads the rivals, decides nothing


@contextmanager
def spare_the_transaction() -> Iterator[None]:
    """Inside a caller's `atomic` a savepoint, so that PostgreSQL lets the page go on after a failure."""
    alias = database_alias()
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
