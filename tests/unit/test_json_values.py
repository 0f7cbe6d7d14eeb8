"""What `judge` takes, what it gives back, and what it says of the rest."""

from __future__ import annotations

import json
import math
import uuid
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import MAX_DEPTH, check_text, depth, encode, fingerprint, judge, size


class Text(str):
    """Equal to no other text, so that a dict takes it beside its double."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def circular() -> Any:
    value: list[Any] = []
    value.append({"again": value})
    return value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_json_comes_back_as_a_round_trip_gives_it(value: Any) -> None:
    plain, text = judge({"k": value})
    assert repr(plain) == repr(json.loads(json.dumps({"k": value})))
    assert json.loads(text) == plain


def test_tuples_become_lists_and_subclasses_plain() -> None:
    given_values = {"t": (1, (2, [3])), "e": Colour.RED, "n": Number.ONE, "d": OrderedDict(a=(1,)), "b": True}
    plain, text = judge(given_values)
    assert plain == {"t": [1, [2, [3]]], "e": "red", "n": 1, "d": {"a": [1]}, "b": True}
    assert [type(each) for each in plain.values()] == [list, str, int, dict, bool]
    assert json.loads(text) == plain


def test_the_copy_is_the_callers_no_more() -> None:
    mine: dict[str, Any] = {"list": [1]}
    plain, _text = judge(mine)
    mine["list"].append(2)
    assert plain == {"list": [1]}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "at[0].there"),
        (math.inf, "at[0].there"),
        (-math.inf, "at[0].there"),
        ("a\x00b", "at[0].there"),
        ("\ud800", "at[0].there"),
        ("\ud83d\ude00", "at[0].there"),  # two halves of a pair are no character either
        (datetime(2026, 1, 1, tzinfo=UTC), "at[0].there"),
        (date(2026, 1, 1), "at[0].there"),
        (Decimal("1.5"), "at[0].there"),
        (uuid.UUID(int=1), "at[0].there"),
        ({1, 2}, "at[0].there"),
        (frozenset(), "at[0].there"),
        (b"bytes", "at[0].there"),
        (1j, "at[0].there"),
        (object(), "at[0].there"),
        (range(3), "at[0].there"),
        (10**5000, "at[0].there"),
        (-(10**5000), "at[0].there"),
        ({1: 2}, "at[0].there"),
        ({None: 2}, "at[0].there"),
        ({True: 2}, "at[0].there"),
        ({(1, 2): 2}, "at[0].there"),
        ({10**5000: 2}, "at[0].there"),
        ({"a\x00": 2}, "at[0].there"),
        ({"\udfff": 2}, "at[0].there"),
        ({"a": 1, Text("a"): 2}, "at[0].there"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_is_named_by_key_and_path(value: Any, path: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        judge({"fine": 1, "bad": {"at": [{"there": value}]}})
    told = caught.value.as_dict()
    assert (told["code"], told["key"], told["path"]) == ("invalid_value", "bad", path)
    assert "bad" in told["message"] and path in told["message"]
    json.dumps(told).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {1: 1},
        {None: 1},
        {True: 1},
        {1.5: 1},
        {("a",): 1},
        {10**5000: 1},
        {"a\x00": 1},
        {"\ud800": 1},
        {"a": 1, Text("a"): 2},
    ],
)
def test_keys_are_judged_too(changes: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        judge(changes)
    json.dumps(caught.value.as_dict()).encode()
    assert judge({**changes, "fine": 1}, skip=lambda error: None)[0].get("fine") == 1


@pytest.mark.parametrize("value", [nested(1000), nested(100_000), circular(), {"a": nested(MAX_DEPTH + 1)}])
def test_too_deep_is_no_recursion_error(value: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        judge({"deep": value})
    assert caught.value.details["key"] == "deep"
    assert len(str(caught.value)) < 1000


def test_the_deepest_that_is_taken() -> None:
    value = nested(MAX_DEPTH - 1)
    assert judge({"deep": value})[0] == {"deep": value}
    with pytest.raises(InvalidValue):
        judge({"deep": nested(MAX_DEPTH)})
    wide = [[] for _ in range(5 * MAX_DEPTH)]
    assert judge({"wide": wide})[0] == {"wide": wide}


def test_depth() -> None:
    found = [depth(value) for value in (1, "[", [], {}, [1], [[], [[1]]], {"a": [{"b": 1}], "c": 1})]
    assert found == [0, 0, 1, 1, 1, 3, 3]


def test_skip_leaves_out_what_is_wrong_and_hands_it_on() -> None:
    errors: list[InvalidValue] = []
    plain, text = judge({"a": 1, "b": {2}, "c": (3,), 4: 4}, skip=errors.append)  # type: ignore[dict-item]
    assert plain == json.loads(text) == {"a": 1, "c": [3]}
    assert [error.details["key"] for error in errors] == ["b", "4"]


def test_the_letters_backslash_u0000_are_no_nul() -> None:
    assert judge({"k": "\\u0000"})[0] == {"k": "\\u0000"}


def test_size_counts_bytes_of_utf8() -> None:
    assert size(encode("aé€😀")) == 2 + 1 + 2 + 3 + 4


def test_fingerprints_tell_types_apart_but_not_the_order_of_keys() -> None:
    values = [1, 1.0, True, "1", None, [1], {"a": 1}, {"a": 1.0}, 0, False, "", [], {}]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize("bad", [7, None, b"x", "a" * 11, "a\x00", "\ud800"], ids=ascii)
def test_names_that_cannot_be_stored(bad: object) -> None:
    with pytest.raises(InvalidValue):
        check_text(bad, "A name", 10)
    assert check_text("ä" * 10, "A name", 10) == "ä" * 10
