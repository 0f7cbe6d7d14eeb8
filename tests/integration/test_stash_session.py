"""`StashSession`, sentence by sentence of its contract, on every database."""

from __future__ import annotations

import pytest

from syncsessions.exceptions import InvalidSessionId, InvalidValue
from syncsessions.stash import Slice, StashSession

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
