"""How session processes lie in their store: one record for each, in one namespace for the whole site."""

from __future__ import annotations

import re

from syncsessions.digests import text_hash
from syncsessions.stores.record import Record

NAMESPACE = "processes"
ENDINGS = "processes.endings"
"""Lives that were terminated, for watchers that missed the ring."""
EXPIRED, TERMINATED = "expired", "terminated"  # why a session has stopped
NAMESPACES = (NAMESPACE, ENDINGS)
ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
MAX_PATH = 130  # characters; longer dotted paths stand as a hash in a record's id, and in full in its data
PATH = "path"


def is_id(session_id: object) -> bool:
    return isinstance(session_id, str) and ID.fullmatch(session_id) is not None


def record_prefix(path: str) -> str:
    """What stands before a session's id in its record's."""
    return f"{path if len(path) <= MAX_PATH else text_hash(path)}:"


def split(record_id: str) -> tuple[str, str]:
    """The process class's path (or its hash) and the session's id."""
    path, _colon, session_id = record_id.rpartition(":")
    return path, session_id


def path_of(record: Record) -> str:
    """The dotted path of a record's process class."""
    path = record.data.get(PATH)
    return path if isinstance(path, str) else split(record.id)[0]


def group_of(record_id: str, life: str) -> str:
    """The channel layer's group for one life: its names are short and plain."""
    return f"syncsessions.process.{text_hash(f'{record_id} {life}')[:40]}"
