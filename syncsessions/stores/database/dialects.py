"""What differs between the databases: the clock, and what a write can tell of what it did."""

from __future__ import annotations

from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

# The drivers' own clocks stop at the start of the transaction (PostgreSQL) or of the statement (MySQL): what has
# waited for a lock needs the time after it.
_POSTGRESQL = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
_SQLITE = "(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000)"
_MYSQL_START = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
_MYSQL = f"({_MYSQL_START} + TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)))"


class Dialect(NamedTuple):
    clock: str
    """Microseconds since 1970, at the moment when they are asked for."""
    steady_clock: str
    """The same, once for a statement: what an index can be searched by."""
    returning: bool
    """Whether updates and deletes give rows back."""


DIALECTS = {
    "postgresql": Dialect(_POSTGRESQL, f"(SELECT {_POSTGRESQL})", returning=True),
    "sqlite": Dialect(_SQLITE, f"(SELECT {_SQLITE})", returning=True),
    "mysql": Dialect(_MYSQL, f"({_MYSQL_START})", returning=False),
}


def dialect(connection: BaseDatabaseWrapper) -> Dialect:
    return DIALECTS[connection.vendor]


def locking(connection: BaseDatabaseWrapper) -> str:
    """Ends a SELECT that locks its rows; SQLite's transactions hold the one write lock already."""
    return "FOR UPDATE" if connection.features.has_select_for_update else ""


def skipping(connection: BaseDatabaseWrapper) -> str:
    """The same, without those that somebody else has locked."""
    return "FOR UPDATE SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else locking(connection)


def fresh(connection: BaseDatabaseWrapper) -> str:
    """Ends a SELECT that must not read an old snapshot: MySQL's transactions keep theirs, unless they read committed.

    The snapshot's reader would otherwise run into the same conflict for ever.
    """
    keeps_snapshots = getattr(connection, "isolation_level", None) != "read committed"
    return "FOR UPDATE" if connection.vendor == "mysql" and connection.in_atomic_block and keeps_snapshots else ""
