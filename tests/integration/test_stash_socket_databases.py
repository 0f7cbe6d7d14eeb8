"""`ws/stash/` where the database matters: on SQLite and on PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.utils import timezone

from syncsessions.stash import StashSession
from syncsessions.stash.browser import Browser
from syncsessions.stash.models import StashSlice
from tests.sockets import MIXED, MOVED, NOTE, Frame, Page, in_thread, new_session, slices, stash_of

pytestmark = [
    pytest.mark.parametrize("database", ["default", "postgresql"], indirect=True),
    pytest.mark.usefixtures("database", "clean"),
]


@pytest.fixture
def clean(database: str) -> Iterator[None]:
    yield
    SessionStore.get_model_class().objects.all().delete()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "nonsense"}, "unknown_type"),
        ({"type": ""}, "unknown_type"),
        ({"type": "websocket.disconnect"}, "unknown_type"),
        ({"type": "stash.subscribe"}, "bad_frame"),
        ({"type": "stash.subscribe", "views": {"view": NOTE}}, "bad_frame"),
        ({"type": "stash.subscribe", "views": [{"view": NOTE}] * 51}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": 1}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": 1, "changes": [1]}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": "1", "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": 1.0, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": True, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": -1, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "vsn": 2**31, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "tab": 5, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "tab": [], "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "tab": False, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "tab": "t" * 201, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": "v\x00", "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": None, "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "changes": {}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "base": 1}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "base": {"life": 1}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "base": {"life": "\x00"}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "base": {"life": "\ud800"}}, "bad_frame"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "base": {"life": "gone"}}, "conflict"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": "\x00"}}, "invalid_value"),
        ({"type": "stash.save", "view": NOTE, "changes": {"\ud800": 1}}, "invalid_value"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": "x" * 65_536}}, "invalid_value"),
        ({"type": "stash.clear", "view": NOTE, "base": {"life": "\ud800"}}, "bad_frame"),
        ({"type": "stash.clear"}, "bad_frame"),
    ],
)
async def test_bad_frames_are_answered_with_code_and_ref_and_write_nothing(
    frame: Frame, code: str, caplog: Any
) -> None:
    async with Page(await new_session()) as page:
        answer = await page.ask(**frame, ref="r")
        assert (answer["type"], answer["code"], answer["ref"]) == ("error", code, "r")
        assert answer["message"]
        assert await page.heard_nothing()
    assert not await in_thread(StashSlice.objects.exists)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_late_save_does_not_raise_a_draft_from_the_dead() -> None:
    key = await new_session()
    async with Page(key) as page:
        saved = await page.save(NOTE, {"text": "draft"}, tab="t")
        base = {"life": saved["life"], "revision": saved["revision"]}
        await page.ask(type="stash.clear", view=NOTE, vsn=1, tab="t")
        late = await page.save(NOTE, {"text": "late"}, tab="t", base=base)
        assert (late["type"], late["code"]) == ("error", "conflict")
        assert await in_thread(lambda: slices(key, NOTE)) == {}
        new = await page.save(NOTE, {"text": "new"}, tab="t")
        assert (new["type"], new["revision"]) == ("stash.saved", 1)
        late = await page.save(NOTE, {"text": "late"}, tab="t", base=base)
        assert late["code"] == "conflict"
        old = await page.ask(type="stash.clear", view=NOTE, vsn=1, tab="t", base=base)
        assert old["type"] == "stash.cleared"
        assert await in_thread(lambda: slices(key, NOTE)) == {("t", 1): {"text": "new"}}


async def test_a_clear_keeps_what_the_server_writes_at_the_same_moment(monkeypatch: Any) -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).merge(MIXED, {"secret": 1, "theme": "a"}, vsn=2))
    look, writes = Browser.look, iter([{"secret": 2}, {"secret": 3}])

    def look_and_be_overtaken(self: Browser, name: Any) -> Any:
        found = look(self, name)
        for changes in writes:
            stash_of(key).merge(MIXED, changes, vsn=2)
            break
        return found

    monkeypatch.setattr(Browser, "look", look_and_be_overtaken)
    async with Page(key) as page:
        assert (await page.ask(type="stash.clear", view=MIXED, vsn=2))["type"] == "stash.cleared"
    assert await in_thread(lambda: slices(key, MIXED)) == {("", 2): {"secret": 3}}


async def test_the_hundred_and_first_slice_is_refused(database: str) -> None:
    key = await new_session()
    await in_thread(lambda: [stash_of(key).merge(NOTE, {"a": 1}, tab=f"t{number}") for number in range(99)])
    async with Page(key) as page:
        assert (await page.save(NOTE, {"a": 1}, tab="last"))["type"] == "stash.saved"
        refused = await page.save(NOTE, {"a": 1}, tab="one too many")
        assert (refused["code"], refused["limit"]) == ("not_allowed", 100)
        assert (await page.save(NOTE, {"a": 2}, tab="t5"))["revision"] == 2
        await page.ask(type="stash.clear", view=NOTE, tab="t5")
        assert (await page.save(NOTE, {"a": 1}, tab="one too many"))["type"] == "stash.saved"
    assert await in_thread(StashSlice.objects.count) == 100


async def test_at_the_bound_a_tab_that_was_closed_long_ago_makes_room(database: str) -> None:
    key = await new_session()
    await in_thread(lambda: [stash_of(key).merge(NOTE, {"a": 1}, tab=f"t{number}") for number in range(100)])
    old = StashSlice.objects.using(database).filter(tab__in=["t3", "t7"])
    await in_thread(lambda: old.update(last_seen_at=timezone.now() - timedelta(days=2)))
    await in_thread(lambda: old.filter(tab="t7").update(last_seen_at=timezone.now() - timedelta(days=3)))
    async with Page(key) as page:
        assert (await page.save(NOTE, {"a": 1}, tab="new"))["type"] == "stash.saved"
    stored = await in_thread(lambda: slices(key, NOTE))
    assert (len(stored), ("t7", 1) in stored, ("t3", 1) in stored) == (100, False, True)


async def test_a_slice_that_is_asked_for_often_is_told_once() -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).merge(NOTE, {"a": "x" * 60_000}))
    async with Page(key) as page:
        answers = await page.subscribe(*[{"view": NOTE, "vsn": 1}] * 50)
        assert [answer["type"] for answer in answers] == ["stash.changed", "stash.subscribed"]


async def test_a_subscribe_carries_an_older_version_over() -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).merge(MOVED, {"first": "Ada", "last": "L."}, vsn=1))
    async with Page(key) as page:
        changed, _subscribed = await page.subscribe({"view": MOVED, "vsn": 2})
        assert (changed["vsn"], changed["data"]) == (2, {"name": "Ada L."})
    stored = await in_thread(lambda: slices(key, MOVED))
    assert stored == {("", 1): {"first": "Ada", "last": "L."}, ("", 2): {"name": "Ada L."}}


async def test_a_broken_database_is_an_answer_and_passes(database: str) -> None:
    table, away = StashSlice._meta.db_table, "stash_away"

    def rename(old: str, new: str) -> None:
        with connections[database].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    async with Page(await new_session()) as page:
        await in_thread(lambda: rename(table, away))
        try:
            for _ in range(2):
                answer = await page.save(NOTE, {"a": 1})
                assert (answer["type"], answer["code"]) == ("error", "store_unavailable")
            refused, _subscribed = await page.subscribe({"view": NOTE})
            assert refused["code"] == "store_unavailable"
            assert (await page.ask(type="ping"))["type"] == "pong"
        finally:
            await in_thread(lambda: rename(away, table))
        assert (await page.save(NOTE, {"a": 1}))["type"] == "stash.saved"


def test_the_bound_on_slices_holds_under_concurrency(database: str, session_id: str) -> None:
    stash = StashSession(session_id)
    for number in range(80):
        stash.merge(NOTE, {"a": 1}, tab=f"made {number}")
    ready, answers = threading.Barrier(40), []

    def create(number: int) -> None:
        browser = Browser.of_scope({"session_id": session_id})
        ready.wait()
        [answer] = browser.answer({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "tab": f"new {number}"})
        answers.append(answer.get("code", answer["type"]))
        connections.close_all()

    threads = [threading.Thread(target=create, args=[number]) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["not_allowed"] * 20 + ["stash.saved"] * 20
    assert StashSlice.objects.using(database).count() == 100
