"""A process that knows of a slice updates it instead of upserting; what it knows may be out of date."""

from __future__ import annotations

import pytest

from syncsessions.exceptions import InvalidValue
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice


@pytest.fixture
def stash(database: str, session_id: str) -> StashSession:
    stash = StashSession(session_id)
    stash.merge("shop", {"a": 1})
    return stash


def test_a_slice_that_another_process_removed_is_made_anew(stash: StashSession, database: str) -> None:
    StashSlice.objects.using(database).filter(view="shop").delete()
    assert stash.merge("shop", {"b": 2}) == 1
    assert stash.get_view("shop") == {"b": 2}


def test_a_slice_that_another_process_made_anew_is_merged_into(stash: StashSession, database: str) -> None:
    StashSlice.objects.using(database).filter(view="shop").update(life="another", revision=1, data={"theirs": 1})
    assert stash.merge("shop", {"b": 2}) == 2
    assert stash.get_view("shop") == {"theirs": 1, "b": 2}


def test_the_bound_holds_for_a_known_slice(stash: StashSession) -> None:
    stash.merge("shop", {"a": "x" * 40_000})
    with pytest.raises(InvalidValue):
        stash.merge("shop", {"b": "x" * 40_000})
    assert list(stash.get_view("shop")) == ["a"]
