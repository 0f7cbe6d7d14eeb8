"""A session's history: what each action replaced is kept with it, so that the last ones can be undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON
from syncsessions.processes.frozen import FrozenDict, frozen_dict

SHOWN = ("revision", "type", "payload", "at")


def entry(
    before: FrozenDict, after: FrozenDict, revision: int, type_: str, payload: JSON, at: float
) -> dict[str, JSON]:
    """What is kept of an action: with `undo`, the top-level keys that it changed as they were, and `added`, the new."""
    changed = changes(before, after)
    return {
        "revision": revision,
        "type": type_,
        "payload": payload,
        "at": at,
        "undo": {key: before[key] for key in changed if key in before},
        "added": [key for key in changed if key not in before],
    }


def changes(before: FrozenDict, after: FrozenDict) -> list[str]:
    """The top-level keys in which two states differ: an unchanged value is the same object or equal."""
    if before is after:
        return []
    missing = object()
    changed = [
        key
        for key, value in after.items()
        if (old := before.get(key, missing)) is not value and (old is missing or not same(old, value))
    ]
    return changed + [key for key in before if key not in after]


def same(one: JSON, other: JSON) -> bool:
    """Whether two values are the same JSON; `1`, `1.0` and `true` are not."""
    if one is other:
        return True
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(value, other[key]) for key, value in one.items())
    return not isinstance(one, list) or all(map(same, one, other))


def undone(state: FrozenDict, entries: Iterable[Mapping[str, Any]]) -> FrozenDict:
    """`state` without what these actions did, the newest first. What else changed other keys stays."""
    values = dict(state)
    for each in entries:
        values.update(each["undo"])
        for key in each["added"]:
            values.pop(key, None)
    return frozen_dict(values, "state")


def shown(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, JSON]]:
    """Entries as `history()` gives them."""
    return [{name: each[name] for name in SHOWN} for each in entries]


def checked_count(n: object, length: int) -> int:
    """`n` if so many actions can be undone; `InvalidValue` otherwise."""
    if type(n) is not int or not 1 <= n <= length:
        raise InvalidValue(
            _("Time travel takes a whole number from 1 to the length of the history, which is %(length)d.")
            % {"length": length},
            key="n",
        )
    return n
