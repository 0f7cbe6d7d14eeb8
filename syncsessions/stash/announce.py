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
        key = latest.SliceKey(place.owner.hash, place.view, place.vsn, each.tab)
        _announce(alias, place.owner, key, each.life, each.revision)


def removed(alias: str, owner: Owner, gone: Iterable[Removed]) -> None:
    for each in gone:
        _announce(alias, owner, latest.SliceKey(owner.hash, each.view, each.vsn, each.tab), each.life, 0)


def _announce(alias: str, owner: Owner, key: latest.SliceKey, life: str, revision: int) -> None:
    # At once: before the commit, this process must not take what it has overwritten itself for what is there. A
    # rollback makes this one news too many, which costs a write.
    latest.note(key, life if revision else "", revision)
    after_commit(alias, partial(_tell, owner, key, life, revision))


def _tell(owner: Owner, key: latest.SliceKey, life: str, revision: int) -> None:
    said = {"view": key.view, "vsn": key.vsn, "tab": key.tab, "life": life, "revision": revision}
    if stash_written.receivers:
        emit(stash_written, Place, owner=owner, **said)
    doorbell.ring(group(owner), {"type": RUNG, "owner": owner.hash, **said}, bell=(key, life, revision == 0))
