"""Plain data of the stash: where a slice stands, what is written to it, what is read from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from syncsessions.digests import text_hash
from syncsessions.json_values import JSON

SLICE_LIMIT = 64 * 1024
"""Bytes that a slice may have where nothing else is said."""


class Slice(NamedTuple):
    """One view's stash as a reader sees it. `revision` counts its writes from 1."""

    view: str
    vsn: int
    data: dict[str, JSON]
    revision: int
    last_seen_at: datetime


class Row(NamedTuple):
    """One stored slice. `life` is drawn when a slice is made, so that its revision 1 is not taken for an old one's."""

    tab: str
    vsn: int
    data: dict[str, JSON]
    revision: int
    life: str
    written_at: datetime
    last_seen_at: datetime

    @property
    def written(self) -> tuple[datetime, int]:
        """Sorts rows by when they were written; ties go to the higher version."""
        return self.written_at, self.vsn


@dataclass(frozen=True)
class Owner:
    """Whose slices: a browser session or a user. `former` are hashes under older secret keys."""

    hash: str = field(repr=False)
    user_pk: str = ""
    former: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Place:
    """Where the slices of one view at one version stand; each tab's is a row of its own."""

    owner: Owner
    view: str
    vsn: int

    @property
    def view_hash(self) -> str:
        return text_hash(self.view)


class Which(NamedTuple):
    """Which of an owner's slices are meant: all of them, but for what is said here."""

    view: str | None = None
    tabs: Sequence[str] | None = None
    vsn: int | None = None
    life: str | None = None
    revision: int | None = None


class Write(NamedTuple):
    """Changes for one tab's slice: JSON text of the keys to set, and the life to give a slice that is new."""

    tab: str
    text: str
    life: str


class Written(NamedTuple):
    """What a write left behind: the slice's new revision, in this life."""

    tab: str
    revision: int
    life: str


class Removed(NamedTuple):
    """A slice that is gone."""

    view: str
    tab: str
    vsn: int
    life: str
