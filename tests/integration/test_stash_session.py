"""`StashSession`, sentence by sentence of its contract, on every database."""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from django.test import override_settings

from syncsessions.exceptions import InvalidSessionId, InvalidValue
from syncsessions.json_values import MAX_DEPTH
from syncsessions.stash import Slice, StashSession
from syncsessions.stash.models import StashSlice
from tests import workers

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def stash(session_id: str) -> StashSession:
    return StashSession(session_id)


def test_merge_makes_a_slice_and_counts_its_revisions(stash: StashSession) -> None:
    assert stash.merge("shop", {"a": 1}) == 1
    assert stash.merge("shop", {"b": 2}) == 2
    assert stash.get_view("shop") == {"a": 1, "b": 2}


def test_deep_values_are_replaced_and_none_is_a_value(stash: StashSession) -> None:
    stash.merge("shop", {"a": {"x": 1, "y": 2}, "b": 1})
    stash.merge("shop", {"a": {"x": 9}, "b": None})
    assert stash.get_view("shop") == {"a": {"x": 9}, "b": None}


@pytest.mark.parametrize("key", ['q"uote', "it's", "dot.ted", "$", "$.a", "", "ünï", "a[0]", "%s", "{}", "\\", "\n"])
def test_keys_may_hold_any_character(stash: StashSession, key: str) -> None:
    stash.merge("shop", {key: 1, "other": 2})
    stash.merge("shop", {key: [key]})
    assert stash.get_view("shop") == {key: [key], "other": 2}
    stash.drop("shop", [key])
    assert stash.get_view("shop") == {"other": 2}


def test_versions_never_mix(stash: StashSession) -> None:
    stash.merge("shop", {"old": 1}, vsn=1)
    assert stash.merge("shop", {"new": 1}, vsn=2) == 1
    found = stash.fetch_view("shop")
    assert found is not None
    assert (found.vsn, found.data) == (2, {"new": 1})
    assert stash.get_view("shop", vsn=1) == {"old": 1}
    stash.merge("shop", {"older": 2}, vsn=1)
    assert stash.get_view("shop") == {"old": 1, "older": 2}


def test_drop_is_quiet_about_what_is_not_there(stash: StashSession) -> None:
    stash.drop("nowhere", ["a"])
    stash.merge("shop", {"a": 1, "b": 2})
    stash.drop("shop", ["zz"])
    assert stash.fetch_view("shop").revision == 1  # type: ignore[union-attr]
    stash.drop("shop", ["a", "zz"])
    assert stash.fetch_view("shop").revision == 2  # type: ignore[union-attr]
    stash.drop("shop", ["b"])
    found = stash.fetch_view("shop")
    assert isinstance(found, Slice)
    assert found.data == {}


def test_never_stashed(stash: StashSession) -> None:
    assert stash.get_view("shop") == {}
    assert stash.fetch_view("shop") is None
    assert stash.views() == []


def test_reset_views_and_destroy_cover_tabs_and_versions(stash: StashSession) -> None:
    stash.merge("a", {"k": 1})
    stash.merge("a", {"k": 1}, vsn=2)
    stash.merge("a", {"k": 1}, tab="t")
    stash.merge("b", {"k": 1})
    assert stash.views() == ["a", "b"]
    stash.reset_view("a")
    assert stash.views() == ["b"]
    assert stash.get_view("a", tab="t") == {}
    stash.destroy()
    assert stash.views() == []


def test_a_slice_is_bounded_after_the_merge(stash: StashSession) -> None:
    stash.merge("shop", {"a": "x" * 40_000})
    with pytest.raises(InvalidValue):
        stash.merge("shop", {"b": "x" * 40_000})
    assert list(stash.get_view("shop")) == ["a"]
    stash.merge("shop", {"a": "x"})
    stash.merge("shop", {"b": "x" * 40_000})


def test_what_is_not_json_is_refused_whole(stash: StashSession) -> None:
    with pytest.raises(InvalidValue) as caught:
        stash.merge("shop", {"good": 1, "bad": {"list": [1, {2}]}})
    assert caught.value.as_dict()["key"] == "bad"
    assert "list[1]" in str(caught.value)
    assert stash.fetch_view("shop") is None


def test_names_are_compared_to_the_letter(stash: StashSession) -> None:
    for number, view in enumerate(["shop", "Shop", "shop ", "shöp", "shop\t"]):
        stash.merge(view, {"n": number})
    assert stash.get_view("Shop") == {"n": 1}
    assert stash.get_view("shop ") == {"n": 2}
    assert len(stash.views()) == 5


@pytest.mark.parametrize("bad", ["", None, 7, "\ud800"])
def test_bad_session_ids(bad: object) -> None:
    with pytest.raises(InvalidSessionId):
        StashSession(bad)  # type: ignore[arg-type]


def test_repr_hides_the_id(stash: StashSession, session_id: str) -> None:
    stash.merge("shop", {"a": 1})
    assert session_id not in repr(stash)


async def test_async_twins(stash: StashSession) -> None:
    assert await stash.amerge("shop", {"a": 1, "b": 2}) == 1
    await stash.adrop("shop", ["b"])
    assert await stash.aget_view("shop") == {"a": 1}
    assert (await stash.afetch_view("shop")).revision == 2  # type: ignore[union-attr]
    assert await stash.aviews() == ["shop"]
    await stash.areset_view("shop")
    await stash.adestroy()
    assert await stash.aviews() == []


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        "a\x00b",
        "\ud800",
        {"a": {"\x00": 1}},
        {"a": {7: 1}},
        datetime(2026, 1, 1, tzinfo=UTC),
        Decimal(1),
        {1},
        10**5000,
        [[[object()]]],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_json_is_refused_or_skipped(
    stash: StashSession, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidValue) as caught:
        stash.merge("shop", {"good": 1, "bad": value})
    assert caught.value.details["key"] == "bad"
    assert stash.fetch_view("shop") is None
    with override_settings(SYNCSESSIONS={"STASH_INVALID_VALUE": "skip"}), caplog.at_level(logging.ERROR):
        stash.merge("shop", {"good": 1, "bad": value})
    assert "bad" in caplog.text
    assert stash.get_view("shop") == {"good": 1}


@pytest.mark.parametrize("key", ["a\x00", "\udfff", 7, None, (1,)])
def test_keys_that_cannot_be_stored(stash: StashSession, key: Any) -> None:
    with pytest.raises(InvalidValue):
        stash.merge("shop", {"good": 1, key: 2})
    assert stash.fetch_view("shop") is None
    stash.merge("shop", {"good": 1})
    stash.drop("shop", [key])
    assert stash.fetch_view("shop").revision == 1  # type: ignore[union-attr]


VALUES = {
    "tuple": (1, (2, {"three": (4,)})),
    "text": "ünï 😀 \\u0000 ' \" \n\r\t\x1f\x7f \u2028",
    "empty": ["", [], {}, 0, False, None],
    "numbers": [0.1, -1.5, 1e15, -1e-7, 1.0, 0, -0, 2**53 + 1],
    "types": [1, 1.0, True, "1", None],
    "keys": {"": 1, "a.b": {"$": 2}, "ключ": 3, "😀": 4},
}


def test_what_comes_back_is_what_a_json_round_trip_gives(stash: StashSession) -> None:
    stash.merge("shop", VALUES)
    assert_same(stash.get_view("shop"), json.loads(json.dumps(VALUES)))


def assert_same(found: Any, wanted: Any) -> None:
    """Equal, and of the same types; the order of an object's keys is the database's own."""
    assert json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


@pytest.mark.parametrize("database", ["default", "postgresql"], indirect=True, ids=["sqlite", "postgresql"])
def test_big_integers_are_exact(stash: StashSession) -> None:
    values = {"n": [2**53 + 1, 2**64, -(2**200), 10**4000 + 1]}
    stash.merge("shop", values)
    assert_same(stash.get_view("shop"), values)
    stash.merge("shop", {"other": 1})
    assert stash.get_view("shop")["n"] == values["n"]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [30, MAX_DEPTH - 1])
def test_deep_values(database: str, stash: StashSession, depth: int) -> None:
    if database == "mysql" and depth > 30:  # which has a bound of its own
        with pytest.raises(InvalidValue) as caught:
            stash.merge("shop", {"good": 1, "deep": nested(depth)})
        assert caught.value.details["key"] == "deep"
        assert stash.fetch_view("shop") is None
        return
    stash.merge("shop", {"deep": nested(depth)})
    assert stash.merge("shop", {"other": 1}) == 2
    assert stash.get_view("shop") == {"deep": nested(depth), "other": 1}


@pytest.mark.parametrize("depth", [MAX_DEPTH, 10_000])
def test_too_deep_values(stash: StashSession, depth: int) -> None:
    with pytest.raises(InvalidValue) as caught:
        stash.merge("shop", {"good": 1, "deep": nested(depth)})
    assert caught.value.details["key"] == "deep"
    assert stash.fetch_view("shop") is None


def text_of(size: int, taken: int = 0) -> str:
    """Fills a slice `{"k": text}` (with what is taken already) up to `size` bytes."""
    return "x" * (size - taken - len('{"k": ""}'))


def test_the_size_bound_is_exact(stash: StashSession) -> None:
    limit = StashSession.slice_limit
    for too_large in (text_of(limit + 1), "é" + text_of(limit - 1)):
        with pytest.raises(InvalidValue) as caught:
            stash.merge("shop", {"k": too_large})
        assert caught.value.as_dict()["limit"] == limit
        assert stash.fetch_view("shop") is None
    assert stash.merge("shop", {"k": text_of(limit)}) == 1
    assert stash.merge("shop", {"k": "é" + text_of(limit - 2)}) == 2


def test_the_size_bound_is_exact_for_the_merged_slice(stash: StashSession) -> None:
    limit = StashSession.slice_limit
    other = {"ö": [1, "two", None, 3.5, {"a": "\n"}]}
    stash.merge("shop", other)
    taken = len(json.dumps(other, ensure_ascii=False).encode())
    fits = text_of(limit, taken)
    with pytest.raises(InvalidValue):
        stash.merge("shop", {"k": fits + "x"})
    assert stash.get_view("shop") == other
    assert stash.fetch_view("shop").revision == 1  # type: ignore[union-attr]
    assert stash.merge("shop", {"k": fits}) == 2
    assert stash.get_view("shop") == {"k": fits, **other}


class Name(StrEnum):
    SHOP = "shop"


def test_names_and_keys_may_be_enums(stash: StashSession) -> None:
    stash.merge(Name.SHOP, {Name.SHOP: Name.SHOP}, tab=Name.SHOP)
    assert stash.get_view("shop", tab="shop") == {"shop": "shop"}
    assert stash.views() == ["shop"]
    stash.drop(Name.SHOP, [Name.SHOP], tab=Name.SHOP)
    assert stash.get_view(Name.SHOP, tab=Name.SHOP) == {}
    stash.reset_view(Name.SHOP)
    assert stash.views() == []


@pytest.mark.parametrize("view", ["a" * 201, "a\x00", "\ud800", None, 7])
def test_bad_names(stash: StashSession, view: Any) -> None:
    for call in (
        lambda: stash.merge(view, {"a": 1}),
        lambda: stash.drop(view, ["a"]),
        lambda: stash.get_view(view),
        lambda: stash.fetch_view(view),
        lambda: stash.reset_view(view),
        lambda: stash.merge("shop", {"a": 1}, tab=view or 0),
        lambda: stash.get_view("shop", tab=view or 0),
    ):
        with pytest.raises(InvalidValue):
            call()


@pytest.mark.parametrize("vsn", [-1, 2**31, True, "1", 1.0])
def test_bad_versions(stash: StashSession, vsn: Any) -> None:
    with pytest.raises(InvalidValue):
        stash.merge("shop", {"a": 1}, vsn=vsn)
    with pytest.raises(InvalidValue):
        stash.fetch_view("shop", vsn)


@pytest.mark.parametrize("changes", [None, [("a", 1)], "a", 7])
def test_changes_are_a_mapping(stash: StashSession, changes: Any) -> None:
    with pytest.raises(InvalidValue):
        stash.merge("shop", changes)


def test_an_empty_merge_counts_too(stash: StashSession) -> None:
    assert [stash.merge("shop", {}), stash.merge("shop", {})] == [1, 2]
    assert stash.fetch_view("shop").data == {}  # type: ignore[union-attr]


def test_drop_without_a_version_acts_on_the_slice_written_last(stash: StashSession) -> None:
    stash.merge("shop", {"a": 1, "b": 1}, vsn=2)
    stash.merge("shop", {"a": 1, "b": 1}, vsn=1)
    stash.drop("shop", ["a"])
    assert stash.get_view("shop", vsn=1) == {"b": 1}
    stash.drop("shop", ["b"], vsn=2)
    assert stash.get_view("shop") == {"a": 1}
    assert stash.fetch_view("shop").vsn == 2  # type: ignore[union-attr]


def test_written_at_the_same_moment_the_higher_version_counts(database: str, stash: StashSession) -> None:
    for vsn in (2, 3, 1):
        stash.merge("shop", {"a": vsn}, vsn=vsn)
    rows = StashSlice.objects.using(database).filter(view="shop")
    rows.update(written_at=rows.first().written_at)  # type: ignore[union-attr]
    assert stash.get_view("shop") == {"a": 3}
    stash.drop("shop", ["a"])
    assert stash.get_view("shop", vsn=3) == {}
    assert stash.get_view("shop", vsn=2) == {"a": 2}


def test_reading_changes_nothing(database: str, stash: StashSession) -> None:
    stash.merge("shop", {"a": 1})
    before = list(StashSlice.objects.using(database).values())
    stash.get_view("shop")
    stash.fetch_view("shop")
    stash.views()
    stash.drop("shop", ["b"])
    assert list(StashSlice.objects.using(database).values()) == before


def test_a_new_life_for_each_new_row(database: str, stash: StashSession) -> None:
    lives = set()
    for _ in range(3):
        assert stash.merge("shop", {"a": 1}) == 1
        stash.merge("shop", {"b": 1})
        lives.add(StashSlice.objects.using(database).get(view="shop").life)
        stash.reset_view("shop")
    assert len(lives) == 3


def test_sessions_do_not_see_each_other(session_id: str) -> None:
    one, other = StashSession(session_id), StashSession(session_id.swapcase())
    one.merge("shop", {"a": 1})
    assert other.get_view("shop") == {}
    other.destroy()
    assert StashSession(session_id).get_view("shop") == {"a": 1}


def test_the_session_id_is_nowhere_in_the_table(database: str, stash: StashSession, session_id: str) -> None:
    stash.merge("shop", {"a": 1})
    row = StashSlice.objects.using(database).filter(view="shop").values().get()
    assert session_id not in repr(row)
    assert hashlib.sha256(session_id.encode()).hexdigest() not in repr(row)


def test_data_can_be_queried(database: str, stash: StashSession) -> None:
    stash.merge("shop", {"theme": "dark", "deep": {"er": 1}})
    slices = StashSlice.objects.using(database).filter(view="shop")
    assert slices.filter(data__theme="dark", data__deep__er=1).count() == 1
    assert slices.filter(data__theme="light").count() == 0


def test_another_process_reads_what_was_acknowledged(database: str, stash: StashSession, session_id: str) -> None:
    stash.merge("shop", {"a": 1})
    assert workers.run("merge", database, session_id, "shop", '{"b": 2}').split() == ["2"]
    assert stash.get_view("shop") == {"a": 1, "b": 2}
