"""Any sequence of writes does what a plain-Python model says, on every database."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncsessions.stash import StashSession

LONGEST = 1e15  # beyond 1e22 PostgreSQL may give a float back as an integer
letters = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
words = st.text(letters, max_size=6)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-LONGEST, LONGEST, allow_subnormal=False).map(lambda number: round(number, 6) + 0.0)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
views = st.sampled_from(["a", "A", "a ", "b", "é", "'\"%s"])
tabs = st.sampled_from(["", "", "t", "T"])
vsns = st.sampled_from([1, 2, 0])
keys = st.sampled_from(["k", "K", "k ", "", "a.b", '"', "$", "é"]) | words
operations = st.one_of(
    st.tuples(st.just("merge"), views, vsns, tabs, st.dictionaries(keys, json_values, max_size=4)),
    st.tuples(st.just("merge"), views, vsns, tabs, st.dictionaries(keys, json_values, max_size=4)),
    st.tuples(st.just("drop"), views, st.none() | vsns, tabs, st.lists(keys, max_size=4)),
    st.tuples(st.just("reset_view"), views),
)


class Model:
    """The slices as the contract tells of them: data, revision, and when each was written."""

    def __init__(self) -> None:
        self.slices: dict[tuple[str, str, int], tuple[dict[str, Any], int, int]] = {}
        self.clock = 0

    def merge(self, view: str, vsn: int, tab: str, changes: Mapping[str, Any]) -> int:
        data, revision, _ = self.slices.get((view, tab, vsn), ({}, 0, 0))
        self._write((view, tab, vsn), {**data, **changes}, revision)
        return revision + 1

    def drop(self, view: str, vsn: int | None, tab: str, gone: list[str]) -> None:
        vsn = self.last_written(view, tab) if vsn is None else vsn
        if vsn is None or (view, tab, vsn) not in self.slices:
            return
        data, revision, _ = self.slices[view, tab, vsn]
        if not data.keys().isdisjoint(gone):
            self._write((view, tab, vsn), {key: data[key] for key in data if key not in gone}, revision)

    def reset_view(self, view: str) -> None:
        self.slices = {place: each for place, each in self.slices.items() if place[0] != view}

    def last_written(self, view: str, tab: str) -> int | None:
        vsns = [place[2] for place in self.slices if place[:2] == (view, tab)]
        return max(vsns, key=lambda vsn: self.slices[view, tab, vsn][2], default=None)

    def _write(self, place: tuple[str, str, int], data: dict[str, Any], revision: int) -> None:
        self.clock += 1
        self.slices[place] = (data, revision + 1, self.clock)


def same(found: Any, wanted: Any) -> bool:
    """Equal with types, whatever the order of keys and the sign of nought, which PostgreSQL does not keep."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


def check(stash: StashSession, model: Model) -> None:
    assert stash.views() == sorted({view for view, _tab, _vsn in model.slices})
    for view, tab, vsn in model.slices:
        for asked in (vsn, None):
            found = stash.fetch_view(view, asked, tab)
            wanted = vsn if asked is not None else model.last_written(view, tab)
            assert wanted is not None
            data, revision, _ = model.slices[view, tab, wanted]
            assert found is not None
            assert (found.view, found.vsn, found.revision) == (view, wanted, revision)
            assert same(found.data, data), (found.data, data)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(operations, min_size=3, max_size=15))
def test_any_sequence_of_writes(database: str, steps: list[tuple[Any, ...]]) -> None:
    stash, model = StashSession(secrets.token_urlsafe(24)), Model()
    for name, view, *rest in steps:
        if name == "merge":
            vsn, tab, changes = rest
            assert stash.merge(view, changes, vsn, tab) == model.merge(view, vsn, tab, changes)
        elif name == "drop":
            vsn, tab, gone = rest
            stash.drop(view, gone, vsn, tab)
            model.drop(view, vsn, tab, gone)
        else:
            stash.reset_view(view)
            model.reset_view(view)
    check(stash, model)
    stash.destroy()
    assert stash.views() == []
