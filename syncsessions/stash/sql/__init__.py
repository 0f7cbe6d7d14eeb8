"""The stash's SQL: `run` does one piece of work on the database of the stash, in its vendor's words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from syncsessions import database
from syncsessions.exceptions import InvalidValue
from syncsessions.stash.models import StashSlice
from syncsessions.stash.sql.base import Statements, TooLarge, new_life
from syncsessions.stash.sql.mysql import MySQL
from syncsessions.stash.sql.postgresql import PostgreSQL
from syncsessions.stash.sql.sqlite import SQLite

__all__ = ["VENDORS", "database_alias", "new_life", "run", "spare_the_transaction"]

VENDORS: dict[str, Statements] = {"sqlite": SQLite(), "postgresql": PostgreSQL(), "mysql": MySQL()}

Result = TypeVar("Result")


def database_alias() -> str:
    """The database of the stash. Reads go where the writes go: a lagging replica would recover what was overwritten."""
    return router.db_for_write(StashSlice)


def run(work: Callable[[BaseDatabaseWrapper, Statements], Result], limit: int = 0) -> Result:
    """Do `work` on the stash's connection, as `database.run` does.

    Raises `InvalidValue` where a slice is past its bound of `limit` bytes, `StoreUnavailable` where the database does
    not do its part.
    """
    try:
        return database.run(database_alias(), lambda connection: work(connection, VENDORS[connection.vendor]))
    except TooLarge:
        message = _("The slice would be larger than %(limit)d bytes; nothing was written.")
        raise InvalidValue(message % {"limit": limit}, limit=limit) from None


def spare_the_transaction() -> AbstractContextManager[None]:
    """Inside a caller's `atomic` a savepoint on the stash's database."""
    return database.spare_the_transaction(database_alias())
