"""What each database must do for the stash, and the columns that the statements share."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from syncsessions.digests import text_hash
from syncsessions.json_values import decode
from syncsessions.stash.models import StashSlice
from syncsessions.stash.rows import Owner, Place, Removed, Row, Which, Write, Written

COLUMNS = (
    "owner",
    "user_pk",
    "view",
    "view_hash",
    "tab",
    "tab_hash",
    "vsn",
    "data",
    "revision",
    "life",
    "created_at",
    "written_at",
    "last_seen_at",
)
READ = ", ".join(Row._fields)
KEY = ("owner", "view_hash", "tab_hash", "vsn")


def new_life() -> str:
    return secrets.token_hex(8)


class TooLarge(Exception):
    """The merged slice would be past its bound; nothing was written."""


class Statements(ABC):
    """The stash's writes in one vendor's SQL, each atomic, each run on the connection it is given."""

    @abstractmethod
    def merge(
        self,
        connection: BaseDatabaseWrapper,
        place: Place,
        writes: Sequence[Write],
        limit: int,
        *,
        under: bool = False,
    ) -> list[Written]:
        """Merge one or two writes into their tabs' slices, making what is missing; all or nothing.

        With `under`, keys that the slice has keep their values. Raises `TooLarge` past `limit` bytes.
        """

    @abstractmethod
    def create(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, most_slices: int
    ) -> Written | None:
        """`merge` of one write, but None where its owner has `most_slices`, however many race for the last one."""

    @abstractmethod
    def update(
        self, connection: BaseDatabaseWrapper, place: Place, write: Write, limit: int, life: str | None
    ) -> Written | None:
        """Merge into a slice that exists (and, with `life` given, has that life); None where there is none."""

    @abstractmethod
    def drop(
        self, connection: BaseDatabaseWrapper, owner: Owner, view: str, tab: str, vsn: int | None, keys: Sequence[str]
    ) -> tuple[int, Written] | None:
        """Remove keys from the slice at `vsn`, else from the one written last: its vsn and revision, if any went."""

    @abstractmethod
    def remove(self, connection: BaseDatabaseWrapper, owner: Owner, which: Which) -> list[Removed]:
        """Remove these slices of the owner."""

    def read(self, connection: BaseDatabaseWrapper, owner: Owner, which: Which) -> list[Row]:
        """These slices of the owner, as they are now."""
        condition, params = clauses(owner, which)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {READ} FROM {StashSlice._meta.db_table} WHERE {condition}", params)
            found = cursor.fetchall()
        return [
            Row(tab, vsn, decode(data), revision, life, _moment(connection, written), _moment(connection, seen))
            for tab, vsn, data, revision, life, written, seen in found
        ]


def key_params(place: Place, tab: str) -> list[object]:
    return [place.owner.hash, place.view_hash, text_hash(tab), place.vsn]


def row_params(place: Place, write: Write) -> list[object]:
    """One row's values in the order of COLUMNS, up to `data`, and its life."""
    owner = place.owner
    tab_hash = text_hash(write.tab)
    return [
        owner.hash,
        owner.user_pk,
        place.view,
        place.view_hash,
        write.tab,
        tab_hash,
        place.vsn,
        write.text,
        write.life,
    ]


def clauses(owner: Owner, which: Which) -> tuple[str, list[Any]]:
    """The condition for these slices and its parameters; the columns' names need no quotes on any vendor."""
    found = ["owner = %s"]
    params: list[Any] = [owner.hash]
    if which.view is not None:
        found.append("view_hash = %s")
        params.append(text_hash(which.view))
    if which.tabs is not None:
        found.append(f"tab_hash IN ({', '.join(['%s'] * len(which.tabs))})")
        params.extend(text_hash(tab) for tab in which.tabs)
    if which.vsn is not None:
        found.append("vsn = %s")
        params.append(which.vsn)
    if which.life is not None:
        found.append("life = %s")
        params.append(which.life)
    if which.revision is not None:
        found.append("revision = %s")
        params.append(which.revision)
    return " AND ".join(found), params


def _moment(connection: BaseDatabaseWrapper, stored: datetime) -> datetime:
    """A stored time as Django's fields give it: drivers without time zones leave that to Django."""
    if connection.timezone is not None and stored.tzinfo is None:
        return timezone.make_aware(stored, connection.timezone)
    return stored
