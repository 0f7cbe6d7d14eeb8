"""Slices move from one stash to another: copied first, dropped when the copy is known to be there."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.urls import get_resolver
from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON, encode, fingerprint, size
from syncsessions.stash import announce
from syncsessions.stash.rows import Place, Row, Which, Write
from syncsessions.stash.session import StashSession
from syncsessions.stash.sql import new_life, run
from syncsessions.stash.sql.base import Statements, TooLarge
from syncsessions.stash.view import NotCarriedOver, ViewStash, declared

logger = logging.getLogger("syncsessions.stash")


class Copy(NamedTuple):
    """A slice as it was when it was copied."""

    view: str
    row: Row


def movable(source: StashSession, views: Collection[str] | None) -> list[str]:
    """The views (of these, or of all) that have something to move: what is a tab's alone stays with its tab."""
    named = [view for view in source.views() if views is None or view in views]
    return [view for view in named if any(row.data for row in source.rows(view, [""]))]


def copy_slices(source: StashSession, target: StashSession, views: Collection[str] | None) -> list[Copy]:
    """Copy the slices of these views over the target's equal keys, each at its version; all or nothing.

    Raises `InvalidValue` where a merged slice would be past its bound, `StoreUnavailable`.
    """
    copies = []
    for view in movable(source, views):
        for stash in (source, target):
            _carry_over(view, stash)
        # In the order of writing, for what was written last is what a view recovers.
        rows = sorted(source.rows(view, [""]), key=lambda row: row.written)
        copies += [Copy(view, row) for row in rows if row.data]

    def work(connection: BaseDatabaseWrapper, statements: Statements) -> None:
        with transaction.atomic(using=connection.alias):
            for copy in copies:
                _copy(connection, statements, target, copy)

    if copies:
        run(work)
    return copies


def drop_copied(source: StashSession, copies: Sequence[Copy]) -> int:
    """Drop what still is as it was copied. What was written since stays: how many keys."""
    kept = 0
    for copy in copies:
        left = _drop(source, copy)
        while left is None:  # somebody wrote between the look and the drop
            left = _drop(source, copy)
        kept += left
    return kept


def _copy(connection: BaseDatabaseWrapper, statements: Statements, target: StashSession, copy: Copy) -> None:
    text = encode(copy.row.data)
    # What the source was allowed fits at least where nothing stands yet.
    limit = max((_declared(copy.view) or target).slice_limit, size(text))
    place = Place(target.ensure(), copy.view, copy.row.vsn)
    try:
        done = statements.merge(connection, place, [Write("", text, new_life())], limit)
    except TooLarge:
        message = _("“%(view)s” would be larger than %(limit)d bytes on the other device; nothing was moved.")
        raise InvalidValue(message % {"view": copy.view, "limit": limit}, limit=limit) from None
    announce.written(connection.alias, place, done)


def _drop(source: StashSession, copy: Copy) -> int | None:
    """How many keys stay; None where the slice was written to meanwhile."""
    rows = source.rows(copy.view, [""], copy.row.vsn)
    if not rows or rows[0].life != copy.row.life:
        return 0  # cleared since, and perhaps begun anew
    row = rows[0]
    left = {key: value for key, value in row.data.items() if not _was_copied(copy.row.data, key, value)}
    if len(left) == len(row.data):
        return len(left)
    place = Place(source.ensure(), copy.view, copy.row.vsn)

    def work(connection: BaseDatabaseWrapper, statements: Statements) -> bool:
        with transaction.atomic(using=connection.alias):
            which = Which(copy.view, [""], row.vsn, row.life, row.revision)
            gone = statements.remove(connection, place.owner, which)
            announce.removed(connection.alias, place.owner, gone)
            if gone and left:
                write, limit = Write("", encode(left), new_life()), size(encode(row.data))
                announce.written(connection.alias, place, statements.merge(connection, place, [write], limit))
        return bool(gone)

    return len(left) if run(work) else None


def _was_copied(copied: Mapping[str, JSON], key: str, value: JSON) -> bool:
    return key in copied and fingerprint(copied[key]) == fingerprint(value)


def _carry_over(view: str, stash: StashSession) -> None:
    """Bring an older version's values to the declared one: else the moved and the present would hide each other."""
    stash_class = _declared(view)
    if stash_class is None or stash_class.owner != "session":
        return
    try:
        stash_class(stash).find(reconnected=True)
    except NotCarriedOver:
        logger.exception("An older version of the stash of %s is moved as it is", view)


def _declared(view: str) -> type[ViewStash] | None:
    # Declarations mostly stand in views.py, which a worker that has only served sockets has not imported yet.
    list(get_resolver().url_patterns)
    return declared.get(view)
