"""After a write's commit: this process remembers it, the signal is sent, the open pages are rung."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from syncsessions import doorbell
from syncsessions.commit import after_commit
from syncsessions.signals import emit, stash_written
from syncsessions.stash import latest
from syncsessions.stash.rows import Owner, Place, Removed, Written

RUNG = "stash.rung"


def group(owner: Owner) -> str:
    """The channel layer's group of an owner's open pages."""
    return f"syncsessions.stash.{owner.hash}"


def written(alias: str, place: Place, done: Iterable[Written]) -> None:
    for each in done:
        after_commit(alias, partial(_tell_written, place, each))


def removed(alias: str, owner: Owner, gone: Iterable[Removed]) -> None:
    for each in gone:
        after_commit(alias, partial(_tell_removed, owner, each))


def _tell_written(place: Place, each: Written) -> None:
    owner = place.owner
    key = latest.SliceKey(owner.hash, place.view, place.vsn, each.tab)
    latest.note(key, each.life, each.revision)
    if stash_written.receivers:
        _emit(owner, place.view, place.vsn, each.tab, each.life, each.revision)
    _ring(owner, key, each.life, each.revision)


def _tell_removed(owner: Owner, gone: Removed) -> None:
    key = latest.SliceKey(owner.hash, gone.view, gone.vsn, gone.tab)
    latest.note(key, "", 0)
    if stash_written.receivers:
        _emit(owner, gone.view, gone.vsn, gone.tab, gone.life, 0)
    _ring(owner, key, gone.life, 0)


def _ring(owner: Owner, key: latest.SliceKey, life: str, revision: int) -> None:
    message = {
        "type": RUNG,
        "owner": owner.hash,
        "view": key.view,
        "vsn": key.vsn,
        "tab": key.tab,
        "life": life,
        "revision": revision,
    }
    doorbell.ring(group(owner), message, bell=(key, life, revision == 0))


def _emit(owner: Owner, view: str, vsn: int, tab: str, life: str, revision: int) -> None:
    emit(stash_written, Place, owner=owner, view=view, tab=tab, vsn=vsn, life=life, revision=revision)
