"""What this process knows of slices that others wrote: the last life and revision that it wrote itself or heard of."""

from __future__ import annotations

import os
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

MOST = 10_000


class SliceKey(NamedTuple):
    owner: str
    view: str
    vsn: int
    tab: str


class Mark(NamedTuple):
    life: str
    revision: int


_marks: OrderedDict[SliceKey, Mark] = OrderedDict()
_lock = Lock()


def note(key: SliceKey, life: str, revision: int) -> None:
    """Remember that the slice stands at `revision` of `life`, or at a later one known already."""
    with _lock:
        known = _marks.pop(key, None)
        _marks[key] = known if known and known.life == life and known.revision > revision else Mark(life, revision)
        if len(_marks) > MOST:
            _marks.popitem(last=False)


def mark(key: SliceKey) -> Mark | None:
    return _marks.get(key)


def _start_anew() -> None:
    """In a forked child: whoever may have held the lock stayed behind."""
    global _lock
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
