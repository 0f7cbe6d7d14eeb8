"""What is told of a write is told after its commit."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction


def after_commit(alias: str, tell: Callable[[], None]) -> None:
    """Call `tell` once what was written on this database is committed: now, or at the transaction's commit."""
    connection = connections[alias]
    if connection.in_atomic_block:
        transaction.on_commit(tell, using=alias, robust=True)
    elif connection.connection is None or connection.autocommit:
        tell()
    # Else the caller commits by hand, where nobody can say when: a doorbell may stay silent.
