"""What is told of a write is told after its commit, and never inside a transaction."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction

from syncsessions import database


def after_commit(alias: str, tell: Callable[[], None]) -> None:
    """Call `tell` once what was written on this database is committed: now, or at the transaction's commit."""
    connection = connections[alias]
    if connection.in_atomic_block:
        transaction.on_commit(tell, using=alias, robust=True)
    elif connection.connection is None or connection.autocommit:
        tell()
    # Else the caller commits by hand, where nobody can say when: a doorbell may stay silent.


def outside_transactions(alias: str) -> None:
    """Raises RuntimeError inside a transaction of this database: whoever is called from there would not see what was
    written; `StoreUnavailable`."""

    def enter(_connection: object) -> None:
        with transaction.atomic(using=alias, durable=True):
            pass

    database.run(alias, enter)
