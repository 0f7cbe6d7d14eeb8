"""Read-only JSON: what it refuses, what it shares, how it is copied."""

from __future__ import annotations

import copy
import json
import pickle
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import MAX_DEPTH, depth
from syncsessions.processes.frozen import FrozenDict, FrozenList, frozen, frozen_dict, merged, thawed

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


class Colour(StrEnum):
    RED = "red"


class Text(str):
    pass


@settings(deadline=None)
@given(VALUES)
def test_what_is_frozen_is_the_same_json(value: Any) -> None:
    made = frozen(value, "value")
    assert json.dumps(made) == json.dumps(value)
    assert made == value
    plain = thawed(made)
    assert json.dumps(plain) == json.dumps(value)
    for inner in (plain, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert not isinstance(inner, FrozenDict | FrozenList)
        assert inner == value
    if isinstance(made, FrozenDict | FrozenList):
        assert made.depth == depth(value)
    assert frozen(made, "value") is made


WAYS: list[Any] = [
    lambda d: d["d"].__setitem__("a", 1),
    lambda d: d["d"].__delitem__("a"),
    lambda d: d["d"].__ior__({}),
    lambda d: d["d"].clear(),
    lambda d: d["d"].pop("a"),
    lambda d: d["d"].popitem(),
    lambda d: d["d"].setdefault("b", 1),
    lambda d: d["d"].update(a=1),
    lambda d: d["l"].__setitem__(0, 1),
    lambda d: d["l"].__delitem__(0),
    lambda d: d["l"].__iadd__([1]),
    lambda d: d["l"].__imul__(2),
    lambda d: d["l"].append(1),
    lambda d: d["l"].clear(),
    lambda d: d["l"].extend([1]),
    lambda d: d["l"].insert(0, 1),
    lambda d: d["l"].pop(),
    lambda d: d["l"].remove(1),
    lambda d: d["l"].reverse(),
    lambda d: d["l"].sort(),
]


@pytest.mark.parametrize("change", WAYS)
def test_changing_it_is_a_type_error(change: Any) -> None:
    made = frozen({"d": {"a": 1}, "l": [2, 1]}, "value")
    with pytest.raises(TypeError):
        change(made)
    assert made == {"d": {"a": 1}, "l": [2, 1]}


def test_copies_may_be_changed() -> None:
    made = frozen({"d": {"a": 1}, "l": [1]}, "value")
    for each in (dict(made), {**made}, made | {}, copy.copy(made), copy.deepcopy(made)):
        each["new"] = 1
    for each in ([*made["l"]], made["l"] + [2], made["l"][:], list(made["l"]), copy.copy(made["l"])):
        each.append(3)
    assert made == {"d": {"a": 1}, "l": [1]}


def test_old_subtrees_are_shared_and_new_ones_copied() -> None:
    old = frozen({"deep": [1, {"a": 2}]}, "old")
    new: dict[str, Any] = {"old": old, "new": [1]}
    made = frozen(new, "new")
    assert made["old"] is old
    new["new"].append(2)
    assert made == {"old": {"deep": [1, {"a": 2}]}, "new": [1]}


UNFIT: list[Any] = [
    {1},
    object(),
    b"bytes",
    float("nan"),
    float("inf"),
    "\x00",
    "\ud800",
    {1: 2},
    {None: 1},
    {"a\x00": 1},
    {"\ud800": 1},
    10**5000,
    {"deep": [{"er": {1}}]},
    1j,
    len,
]


@pytest.mark.parametrize("value", UNFIT, ids=lambda each: type(each).__name__)
def test_what_is_no_json_is_refused_by_name(value: Any) -> None:
    for given_ in (value, [value], {"in": value}, {"in": [1, {"side": value}]}):
        with pytest.raises(InvalidValue) as caught:
            frozen(given_, "payload")
        assert caught.value.details["key"] == "payload"


def test_the_path_is_told() -> None:
    with pytest.raises(InvalidValue) as caught:
        frozen({"a": [0, {"b": {1}}]}, "payload")
    assert caught.value.details["path"] == "a[1].b"


def test_how_deep_it_may_be() -> None:
    value: Any = []
    for _ in range(MAX_DEPTH - 3):
        value = [value]
    made = frozen(value, "value")
    for _ in range(50):
        try:
            made = frozen({"in": made}, "value")
        except InvalidValue:
            break
    else:
        pytest.fail("frozen subtrees grew without a bound")
    assert made.depth <= MAX_DEPTH
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidValue):
        frozen(endless, "value")


def test_what_a_json_round_trip_makes_plain() -> None:
    made = frozen({"tuple": (1, (2,)), "enum": Colour.RED, "text": Text("a"), "big": 2**70}, "value")
    assert made == {"tuple": [1, [2]], "enum": "red", "text": "a", "big": 2**70}
    assert [type(each) for each in made.values()] == [FrozenList, str, str, int]


@pytest.mark.parametrize("value", [[1], None, "text", 1])
def test_a_state_is_a_dict(value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        frozen_dict(value, "state")
    assert caught.value.details["key"] == "state"


def test_merged() -> None:
    state = frozen_dict({"a": {"x": 1}, "b": 2}, "state")
    made = merged(state, {"b": frozen([3], "b")})
    assert (made, state) == ({"a": {"x": 1}, "b": [3]}, {"a": {"x": 1}, "b": 2})
    assert made["a"] is state["a"]
    with pytest.raises(TypeError):
        made["a"] = 1
