"""Records as rows, and what a caller gives as SQL may compare it."""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Any

from syncsessions.digests import text_hash
from syncsessions.json_values import JSON, decode
from syncsessions.stores.models import StoreLogEntry, StoreRecord
from syncsessions.stores.record import Record, moment

RECORDS, LOG = StoreRecord._meta.db_table, StoreLogEntry._meta.db_table
READ = "name, life, data, revision, created, expires"
_OURS = re.compile("[0-9a-f]{16}")


def lookup_of(namespace: str, name: str) -> str:
    return text_hash(f"{namespace}\x00{name}")


def read(namespace: str, row: Any) -> Record:
    """A row of READ as a record."""
    name, life, text, revision, created, expires = row
    return made(namespace, name, life, decode(text), revision, created, expires)


def made(
    namespace: str, name: str, life: str, data: dict[str, JSON], revision: int, created: int, expires: int
) -> Record:
    return Record(namespace, name, life, data, revision, moment(created / 1e6), moment(abs(expires) / 1e6))


def microseconds(seconds: float) -> int:
    return max(round(seconds * 1e6), 1)


def ours(text: str) -> str:
    """A life or a token if it can be one that was drawn here; else what no row has, whatever the collation folds."""
    return text if isinstance(text, str) and _OURS.fullmatch(text) else ""


def marks(params: Sized) -> str:
    """As many places for parameters."""
    return ", ".join(["%s"] * len(params))
