"""Inside a caller's transaction: what is rolled back leaves nothing, rings nobody and is not believed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import connections, transaction

from syncsessions import doorbell
from syncsessions.exceptions import InvalidValue
from syncsessions.signals import stash_written
from syncsessions.stash import RECONNECT, SESSION, StashSession, ViewStash, announce, knowledge
from syncsessions.stash.models import StashSlice

pytestmark = pytest.mark.usefixtures("database")


class RolledBack(Exception):
    """What ends the transactions of these tests."""


class DraftStash(ViewStash):
    view = "tests.transactions"
    keys = {"theme": SESSION, "draft": RECONNECT}


@pytest.fixture(autouse=True)
def known_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge, "KNOWN_FOR", 600.0)


@pytest.fixture
def told() -> Iterator[list[tuple[str, int]]]:
    """View and revision of each write that was told."""
    heard: list[tuple[str, int]] = []

    def hear(sender: object, view: str, revision: int, **kwargs: object) -> None:
        heard.append((view, revision))

    stash_written.connect(hear)
    yield heard
    stash_written.disconnect(hear)


def test_what_is_rolled_back_leaves_nothing_and_is_not_told(
    database: str, session_id: str, told: list[tuple[str, int]]
) -> None:
    stash = StashSession(session_id)
    stash.merge("kept", {"a": 1})
    stash.merge("left", {"a": 1})
    told.clear()
    with pytest.raises(RolledBack), transaction.atomic(using=database):
        assert stash.merge("new", {"a": 1}) == 1
        assert stash.merge("kept", {"b": 1}) == 2
        stash.drop("kept", ["a"])
        stash.reset_view("left")
        assert stash.views() == ["kept", "new"]
        raise RolledBack
    assert stash.views() == ["kept", "left"]
    assert stash.get_view("kept") == {"a": 1}
    assert told == []


def test_what_is_committed_is_told_after_the_commit(
    database: str, session_id: str, told: list[tuple[str, int]]
) -> None:
    stash = StashSession(session_id)
    with transaction.atomic(using=database):
        stash.merge("a", {"x": 1})
        stash.merge("a", {"y": 1})
        stash.drop("a", ["x"])
        stash.reset_view("a")
        stash.merge("b", {"x": 1})
        assert told == []
    assert told == [("a", 1), ("a", 2), ("a", 3), ("a", 0), ("b", 1)]


def test_outside_a_transaction_it_is_told_at_once_with_all_names(session_id: str) -> None:
    heard: list[dict[str, Any]] = []

    def hear(**named: Any) -> None:
        heard.append(named)

    stash_written.connect(hear)
    try:
        stash = StashSession(session_id)
        stash.merge("a", {"x": 1}, vsn=3, tab="t")
        stash.reset_view("a")
        stash.drop("a", ["x"])
    finally:
        stash_written.disconnect(hear)
    owner = stash.peek()
    written, removed = heard
    assert (written["owner"], written["view"], written["tab"], written["vsn"]) == (owner, "a", "t", 3)
    assert written["revision"] == 1
    assert (removed["life"], removed["revision"]) == (written["life"], 0)


def test_a_receiver_that_raises_harms_nobody(session_id: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(**named: Any) -> None:
        raise RuntimeError("not mine")

    stash_written.connect(fail)
    try:
        assert StashSession(session_id).merge("a", {"x": 1}) == 1
    finally:
        stash_written.disconnect(fail)
    assert "not mine" in caplog.text


def test_a_savepoint_that_is_rolled_back(database: str, session_id: str, told: list[tuple[str, int]]) -> None:
    stash = StashSession(session_id)
    with transaction.atomic(using=database):
        stash.merge("outer", {"a": 1})
        with pytest.raises(RolledBack), transaction.atomic(using=database):
            stash.merge("outer", {"b": 1})
            stash.merge("inner", {"a": 1})
            raise RolledBack
        assert stash.merge("outer", {"c": 1}) == 2
    assert stash.get_view("outer") == {"a": 1, "c": 1}
    assert stash.views() == ["outer"]
    assert told == [("outer", 1), ("outer", 2)]


def test_a_save_that_was_rolled_back_is_not_believed(database: str, session_id: str) -> None:
    page = DraftStash(StashSession(session_id), "tab-1")
    values = {"theme": "dark", "draft": "Dear"}
    with pytest.raises(RolledBack), transaction.atomic(using=database):
        page.save(values)
        raise RolledBack
    page.save(values)
    assert DraftStash(StashSession(session_id), "tab-1").recover(reconnected=True).values == values


def test_nor_is_one_over_what_was_there_before(database: str, session_id: str) -> None:
    page = DraftStash(StashSession(session_id))
    page.save({"theme": "light"})
    with pytest.raises(RolledBack), transaction.atomic(using=database):
        page.save({"theme": "dark"})
        raise RolledBack
    page.save({"theme": "dark"})
    assert StashSession(session_id).get_view(DraftStash.view) == {"theme": "dark"}


@pytest.mark.parametrize("act", ["save", "recover"])
def test_nor_is_what_a_savepoint_held(database: str, session_id: str, act: str) -> None:
    page = DraftStash(StashSession(session_id))
    with transaction.atomic(using=database):
        with pytest.raises(RolledBack), transaction.atomic(using=database):
            if act == "save":
                page.save({"theme": "dark"})
            else:
                StashSession(session_id).merge(DraftStash.view, {"theme": "dark"})
                assert page.recover().values == {"theme": "dark"}
            raise RolledBack
        page.save({"theme": "dark"})
    assert StashSession(session_id).get_view(DraftStash.view) == {"theme": "dark"}


def test_what_was_committed_is_believed(database: str, session_id: str) -> None:
    page = DraftStash(StashSession(session_id))
    with transaction.atomic(using=database):
        page.save({"theme": "dark"})
        page.save({"theme": "dark"})
        with transaction.atomic(using=database):
            page.save({"theme": "dark"})
    page.save({"theme": "dark"})
    assert StashSession(session_id).fetch_view(DraftStash.view).revision == 1  # type: ignore[union-attr]


def test_a_reset_that_was_rolled_back(database: str, session_id: str) -> None:
    page = DraftStash(StashSession(session_id))
    page.save({"theme": "dark"})
    with pytest.raises(RolledBack), transaction.atomic(using=database):
        page.reset()
        raise RolledBack
    assert page.recover().values == {"theme": "dark"}


def test_what_is_refused_leaves_the_transaction_usable(database: str, session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge("full", {"a": "x" * 40_000})
    with transaction.atomic(using=database):
        stash.merge("a", {"x": 1})
        for changes in ({"b": "x" * 40_000}, {"b": "x" * 70_000}, {"b": {1}}):
            with pytest.raises(InvalidValue):
                stash.merge("full", changes)
        stash.merge("a", {"y": 1})
    assert stash.get_view("a") == {"x": 1, "y": 1}
    assert list(stash.get_view("full")) == ["a"]


def test_a_recover_that_fails_leaves_the_transaction_usable(
    database: str, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refuses everything after an error, until a savepoint is rolled back."""
    page = DraftStash(StashSession(session_id))
    with transaction.atomic(using=database):
        with monkeypatch.context() as patch:
            patch.setattr(StashSlice._meta, "db_table", "nowhere")
            assert page.recover() == ("error", {})
        StashSession(session_id).merge("a", {"x": 1})
    assert StashSession(session_id).get_view("a") == {"x": 1}


async def test_the_layer_is_rung_after_the_commit_only(database: str, session_id: str) -> None:
    layer = get_channel_layer()
    doorbell.listen()
    channel = await layer.new_channel()
    stash = StashSession(session_id)
    owner = await stash.apeek()
    assert owner is not None
    await layer.group_add(announce.group(owner), channel)

    def write(view: str, *, roll_back: bool) -> None:
        try:
            with transaction.atomic(using=database):
                stash.merge(view, {"a": 1}, tab="t")
                if roll_back:
                    raise RolledBack
        except RolledBack:
            pass
        finally:
            connections[database].close()

    await sync_to_async(write)("lost", roll_back=True)
    await sync_to_async(write)("kept", roll_back=False)
    async with asyncio.timeout(10):
        message = await layer.receive(channel)
    row = await sync_to_async(StashSlice.objects.using(database).get)(view="kept")
    assert message == {
        "type": "stash.rung",
        "owner": owner.hash,
        "view": "kept",
        "vsn": 1,
        "tab": "t",
        "life": row.life,
        "revision": 1,
    }
    await stash.areset_view("kept")
    async with asyncio.timeout(10):
        message = await layer.receive(channel)
    assert (message["view"], message["life"], message["revision"]) == ("kept", row.life, 0)


def test_in_a_transaction_too_a_save_that_another_has_overwritten_is_made_again(database: str, session_id: str) -> None:
    one, other = DraftStash(StashSession(session_id)), DraftStash(StashSession(session_id))
    with transaction.atomic(using=database):
        one.save({"theme": "dark"})
        other.save({"theme": "light"})
        one.save({"theme": "dark"})
        assert one.session.get_view(one.view) == {"theme": "dark"}
        one.session.reset_view(one.view)
        one.save({"theme": "dark"})
    assert StashSession(session_id).get_view(one.view) == {"theme": "dark"}
