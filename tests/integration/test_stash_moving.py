"""Copying slices over and dropping what was copied, on every database, while somebody goes on writing."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import pytest

from syncsessions.exceptions import InvalidValue
from syncsessions.stash import StashSession
from syncsessions.stash.moving import copy_slices, drop_copied, movable

VIEWS = ["shop.first", "shop.second"]


@pytest.fixture
def source(database: str, session_id: str) -> StashSession:
    return StashSession(session_id)


@pytest.fixture
def target(database: str) -> StashSession:
    return StashSession(secrets.token_urlsafe(24))


def test_slices_move(source: StashSession, target: StashSession) -> None:
    for view in VIEWS:
        source.merge(view, {"a": 1, 'quote"d': [None, {"é": 1.5}], "": ""})
    source.merge("shop.empty", {"a": 1})
    source.drop("shop.empty", ["a"])
    target.merge(VIEWS[0], {"a": 2, "b": 3})
    assert movable(source, None) == VIEWS
    assert movable(source, VIEWS[1:]) == VIEWS[1:]
    copies = copy_slices(source, target, None)
    assert source.get_view(VIEWS[0]) == source.get_view(VIEWS[1]) == target.get_view(VIEWS[1])
    assert target.get_view(VIEWS[0]) == {**source.get_view(VIEWS[0]), "b": 3}
    assert drop_copied(source, copies) == 0
    assert source.views() == ["shop.empty"]
    assert drop_copied(source, copies) == 0
    assert movable(source, None) == []


def test_what_differs_since_stays(source: StashSession, target: StashSession) -> None:
    source.merge(VIEWS[0], {"same": 1, "number": 1, "gone": 1, "deep": {"a": [1, 2]}})
    copies = copy_slices(source, target, VIEWS)
    source.merge(VIEWS[0], {"number": True, "new": None, "deep": {"a": [2, 1]}, "same": 1})
    source.drop(VIEWS[0], ["gone"])
    assert drop_copied(source, copies) == 3
    assert source.get_view(VIEWS[0]) == {"number": True, "new": None, "deep": {"a": [2, 1]}}
    assert drop_copied(source, copies) == 0


def test_one_that_does_not_fit_keeps_all_where_they_are(source: StashSession, target: StashSession) -> None:
    source.merge(VIEWS[0], {"a": 1})
    source.merge(VIEWS[1], {"a": "x" * 40_000})
    target.merge(VIEWS[1], {"b": "x" * 40_000})
    with pytest.raises(InvalidValue, match=VIEWS[1]):
        copy_slices(source, target, None)
    assert target.views() == [VIEWS[1]]
    assert target.get_view(VIEWS[1]).keys() == {"b"}


def test_what_is_larger_than_usual_fits_where_nothing_stands(source: StashSession, target: StashSession) -> None:
    class Roomy(StashSession):
        slice_limit = 200_000

    owner = source.peek()
    assert owner is not None
    Roomy.for_owner(owner).merge(VIEWS[0], {"a": "x" * 100_000})
    copy_slices(source, target, None)
    assert len(target.get_view(VIEWS[0])["a"]) == 100_000


def test_no_write_is_lost_while_slices_move(source: StashSession, target: StashSession) -> None:
    """A writer numbers its writes; whatever is at neither side in the end was overwritten by a later one."""
    owner = source.peek()
    assert owner is not None
    acknowledged = threading.Event()
    done = threading.Event()
    errors: list[Any] = []

    def write() -> None:
        from django.db import connections

        try:
            writer = StashSession.for_owner(owner)
            for number in range(60):
                writer.merge(VIEWS[0], {"n": number, f"key{number}": number})
                acknowledged.set()
        except Exception as error:
            errors.append(error)
        finally:
            done.set()
            connections.close_all()

    thread = threading.Thread(target=write)
    thread.start()
    acknowledged.wait(30)
    while not done.is_set():
        drop_copied(source, copy_slices(source, target, None))
    thread.join()
    assert not errors
    drop_copied(source, copy_slices(source, target, None))
    assert source.get_view(VIEWS[0]) == {}
    assert target.get_view(VIEWS[0]) == {"n": 59, **{f"key{number}": number for number in range(60)}}
