"""`ws/process/<name>/`: what a page sees of its browser's session process, what it may do, and what ends it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from syncsessions import session_id
from syncsessions.consumers import browser_process
from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.exceptions import SessionNotFound, StoreUnavailable
from syncsessions.processes import Reducer, Session, SessionProcess, action, call, cast
from syncsessions.processes import process as process_module
from syncsessions.processes import stored as stored_module
from syncsessions.routing import process_routes
from syncsessions.signals import message_failed, process_stopped, rate_limited
from syncsessions.stores import stores
from tests.sockets import Page, new_session, until
from tests.stores import configuration

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("error")]

LOST_AND_REPAIRED = 5.0  # seconds
EMPTY = {"items": [], "total": 0}
PEN, INK = {"name": "pen", "price": 3}, {"name": "ink", "price": 5}


class Cart(Reducer):
    name = "cart"
    initial_state = EMPTY

    @action
    def add_item(self, state: Any, item: Any) -> Any:
        return {"items": [*state["items"], item], "total": state["total"] + item["price"]}

    @action
    def discount(self, state: Any, payload: Any) -> Any:
        return {**state, "total": 0}

    @action
    def keep(self, state: Any, payload: Any) -> Any:
        return state

    @action(debounce=0.1)
    def search(self, state: Any, payload: Any) -> Any:
        return {**state, "total": payload}


class Shop(SessionProcess):
    reducers = [Cart]
    client_actions = {"cart.add_item", "cart.keep", "cart.search", "cart.unheard_of"}

    def init(self, args: Any) -> Any:
        return {"args": args, "note": ""}

    @call
    def whoami(self, state: Any) -> str:
        return self.session_id

    @cast
    def write(self, state: Any, note: str) -> Any:
        return {**state, "note": note}


class Fragile(SessionProcess):
    def init(self, args: Any) -> Any:
        raise RuntimeError("the password is sesame")


def cart_count(state: Any) -> int:
    return len(state["cart"]["items"])


class ShopConsumer(SessionProcessConsumer):
    process_class = Shop
    selectors: ClassVar[Any] = {
        "cart_count": cart_count,
        "total": lambda state: state["cart"]["total"],
        "note": lambda state: state["note"],
        "broken": lambda state: state["nowhere"],
        "unfit": lambda state: {1, 2},
    }


@pytest.fixture(autouse=True)
def store(request: Any, settings: Any) -> Iterator[None]:
    """A store of the test's own."""
    params = configuration(getattr(request, "param", "memory"))
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "STORES": {"default": params}}
    yield
    stores.close_all()


on_each_store = pytest.mark.parametrize("store", ["memory", "redis", "sqlite"], indirect=True)
on_a_shared_store = pytest.mark.parametrize("store", ["redis"], indirect=True)


@database_sync_to_async
def id_of(key: str) -> str:
    found = session_id.peek(SessionStore(key))
    assert found is not None
    return found


async def elsewhere(key: str) -> Session:
    """The session as another worker has it: nothing that it does is told to this process's objects."""
    process_module._sessions.clear()
    SessionProcess.local.clear()
    return await Shop.aget(await id_of(key))


async def subscribed(page: Page, *selectors: str) -> Any:
    answer = await page.ask(type="subscribe", selectors=list(selectors or ["cart_count"]))
    assert answer["type"] == "state", answer
    return answer


async def dispatched(page: Page, type: str, payload: Any = None) -> Any:  # noqa: A002
    return await page.ask(type="dispatch", action=type, payload=payload)


@on_each_store
async def test_state_now_and_on_change() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await page.ask(type="subscribe", selectors=["cart_count"], ref="s")
        assert answer == {"type": "state", "ref": "s", "values": {"cart_count": 0}, "revision": 0}
        answer = await page.ask(type="dispatch", action="cart.add_item", payload=PEN, ref="d")
        assert answer == {"type": "dispatched", "ref": "d", "revision": 1}
        assert await page.hear() == {"type": "state", "values": {"cart_count": 1}, "revision": 1}
        await page.say(type="dispatch", action="cart.add_item", payload=INK)
        assert await page.hear() == {"type": "state", "values": {"cart_count": 2}, "revision": 2}
        assert await page.ask(type="ping", ref=7) == {"type": "pong", "ref": 7}
        assert await page.heard_nothing()


async def test_no_selector_is_sent_that_was_not_subscribed_to_and_none_that_did_not_change() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page, "cart_count", "total", "cart_count")
        session = await Shop.aget(await id_of(key))
        await session.acast("write", "nobody looks")
        await dispatched(page, "cart.keep")
        assert await page.heard_nothing()
        await dispatched(page, "cart.add_item", {"price": 0})
        assert (await page.hear("state"))["values"] == {"cart_count": 1, "total": 0}
        assert (await subscribed(page, "note"))["values"] == {"cart_count": 1, "total": 0, "note": "nobody looks"}
        await session.acast("write", "seen")
        assert await page.hear("state") == {
            "type": "state",
            "values": {"cart_count": 1, "total": 0, "note": "seen"},
            "revision": 4,
        }


async def test_one_who_only_dispatches_hears_of_nothing_else() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 1
        assert await page.heard_nothing()
        assert (await subscribed(page))["values"] == {"cart_count": 1}


@on_each_store
async def test_two_tabs_share_a_session_and_two_browsers_do_not() -> None:
    key = await new_session()
    async with (
        Page(key, ShopConsumer) as one,
        Page(key, ShopConsumer) as other,
        Page(await new_session(), ShopConsumer) as stranger,
    ):
        for page in (one, other, stranger):
            await subscribed(page)
        await dispatched(one, "cart.add_item", PEN)
        assert (await other.hear("state"))["values"] == {"cart_count": 1}
        assert (await subscribed(stranger))["values"] == {"cart_count": 0}


@on_a_shared_store
async def test_changes_by_another_worker() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        far = await elsewhere(key)
        assert await far.adispatch("cart.add_item", PEN) == 1
        assert await page.hear() == {"type": "state", "values": {"cart_count": 1}, "revision": 1}
        await dispatched(page, "cart.add_item", PEN)
        assert (await page.hear("state"))["revision"] == 2
        for _number in range(50):
            await far.adispatch("cart.add_item", PEN)
        started = time.monotonic()
        while (await page.hear("state"))["values"] != {"cart_count": 52}:
            assert time.monotonic() - started < LOST_AND_REPAIRED


@on_a_shared_store
async def test_a_lost_doorbell_is_repaired(monkeypatch: Any) -> None:
    monkeypatch.setattr(stored_module, "ring", lambda *args: None)
    monkeypatch.setattr("syncsessions.processes.sweeping.ring", lambda *args: None)
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        far = await elsewhere(key)
        await far.adispatch("cart.add_item", PEN)
        started = time.monotonic()
        assert (await page.hear("state"))["values"] == {"cart_count": 1}
        assert time.monotonic() - started < LOST_AND_REPAIRED
        await far.aterminate()
        assert await page.hear() == {"type": "stopped", "reason": "terminated"}
        assert time.monotonic() - started < 2 * LOST_AND_REPAIRED


@on_each_store
async def test_a_change_by_a_sync_view_is_told_without_a_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        session = await Shop.aget(await id_of(key))
        await asyncio.to_thread(session.dispatch, "cart.add_item", PEN)
        assert (await page.hear_within(1.0))["values"] == {"cart_count": 1}


async def test_many_changes_come_as_few_and_the_last_always_comes() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        session = await Shop.aget(await id_of(key))
        for _number in range(500):
            session.dispatch("cart.add_item", PEN)
        frames = [await page.hear("state")]
        while frames[-1]["revision"] < 500:
            frames.append(await page.hear("state"))
        assert len(frames) < 20
        assert frames[-1]["values"] == {"cart_count": 500}


async def test_a_debounced_action_comes_when_it_is_due() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await subscribed(page, "total")
        assert (await dispatched(page, "cart.search", 1))["revision"] == 0
        assert (await dispatched(page, "cart.search", 2))["revision"] == 0
        assert await page.hear() == {"type": "state", "values": {"total": 2}, "revision": 1}


# What is refused


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "subscribe"}, "bad_frame"),
        ({"type": "subscribe", "selectors": "cart_count"}, "bad_frame"),
        ({"type": "subscribe", "selectors": {"cart_count": 1}}, "bad_frame"),
        ({"type": "subscribe", "selectors": [1]}, "bad_frame"),
        ({"type": "subscribe", "selectors": [["cart_count"]]}, "bad_frame"),
        ({"type": "subscribe", "selectors": [None]}, "bad_frame"),
        ({"type": "subscribe", "selectors": ["cart_count", "nothing"]}, "invalid_value"),
        ({"type": "subscribe", "selectors": ["__class__"]}, "invalid_value"),
        ({"type": "subscribe", "selectors": ["Cart_count"]}, "invalid_value"),
        ({"type": "subscribe", "selectors": ["\ud800"]}, "invalid_value"),
        ({"type": "dispatch"}, "bad_frame"),
        ({"type": "dispatch", "action": None}, "bad_frame"),
        ({"type": "dispatch", "action": ["cart.add_item"]}, "bad_frame"),
        ({"type": "dispatch", "action": {"type": "cart.add_item"}}, "bad_frame"),
        ({"type": "dispatch", "action": ""}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.nothing"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.add_item\n"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.__init__"}, "unknown_action"),
        ({"type": "dispatch", "action": "init"}, "unknown_action"),
        ({"type": "dispatch", "action": "write"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.unheard_of"}, "unknown_action"),
        ({"type": "dispatch", "action": "\ud800"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.discount"}, "not_allowed"),
        ({"type": "dispatch", "action": "discount"}, "not_allowed"),
        ({"type": "dispatch", "action": "add_item"}, "not_allowed"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": "\ud800"}, "invalid_value"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": {"a\0": 1}}, "invalid_value"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": None}, "cast_failed"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": {"price": "3"}}, "cast_failed"),
        ({"type": "call", "name": "whoami"}, "unknown_type"),
        ({"type": "state", "values": {"cart_count": 9}}, "unknown_type"),
        ({"type": "process.changed", "revision": 9}, "unknown_type"),
    ],
)
async def test_frames_that_cannot_be_taken(frame: Any, code: str) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await page.ask(**frame)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert answer["message"]
        assert (await subscribed(page)) | {"ref": 0} == {
            "type": "state",
            "ref": 0,
            "values": {"cart_count": 0},
            "revision": 0,
        }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" ", "bad_frame"),
        ("no json", "bad_frame"),
        ("[]", "bad_frame"),
        ("null", "bad_frame"),
        ("{}", "bad_frame"),
        ('{"type": 1}', "bad_frame"),
        ('{"type": "dispatch", "action": "cart.add_item", "payload": NaN}', "bad_frame"),
        ('{"type": "dispatch", "action": "cart.add_item", "payload": 1e999}', "invalid_value"),
        ('{"type": "dispatch", "action": "cart.add_item", "payload": ' + "[" * 900 + "]" * 900 + "}", "invalid_value"),
        ("[" * 100_000, "bad_frame"),
        ('{"type": "subscribe", "selectors": [' + '"cart_count",' * 30_000 + '"cart_count"]}', "too_large"),
    ],
)
async def test_text_that_is_no_frame(text: str, code: str) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await page.socket.send_to(text_data=text)
        answer = await page.hear("error")
        assert answer["code"] == code
        await page.socket.send_to(bytes_data=b'{"type": "ping"}')
        assert (await page.hear("error"))["code"] == "bad_frame"
        assert (await page.ask(type="ping"))["type"] == "pong"


async def test_what_is_refused_starts_no_session() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await page.ask(type="subscribe", selectors=["nothing"])
        await dispatched(page, "cart.discount")
        await dispatched(page, "nothing")
        assert not await Shop.astarted(await id_of(key))


async def test_an_unknown_selector_subscribes_to_none_of_its_frame() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await page.ask(type="subscribe", selectors=["total", "nothing"])
        assert (answer["code"], answer["key"]) == ("invalid_value", "nothing")
        assert (await subscribed(page))["values"] == {"cart_count": 0}


async def test_no_other_session_can_be_named() -> None:
    victim, key = await new_session(), await new_session()
    other = await Shop.astart(await id_of(victim))
    async with Page(key, ShopConsumer, headers=((b"x-session-id", other.id.encode()),)) as page:
        for name in ("session_id", "session", "id", "process", "args"):
            await page.ask(type="subscribe", selectors=["cart_count"], **{name: other.id})
            await page.ask(type="dispatch", action="cart.add_item", payload=PEN, **{name: other.id})
        assert (await subscribed(page))["values"] == {"cart_count": 5}
    assert (await other.astate())["cart"] == EMPTY
    assert await (await Shop.aget(await id_of(key))).acall("whoami") == await id_of(key)


async def test_without_a_session_there_is_nothing() -> None:
    socket = Page(None, ShopConsumer)
    await socket.socket.connect()
    assert await socket.close_code() == 4401

    class Open(ShopConsumer):
        session_required = False

    async with Page(None, Open) as page:
        assert (await page.ask(type="subscribe", selectors=["note"]))["code"] == "not_allowed"
        assert (await page.ask(type="ping"))["type"] == "pong"


async def test_a_foreign_origin_is_refused() -> None:
    page = Page(await new_session(), ShopConsumer, headers=((b"origin", b"https://evil.example"),))
    accepted, code = await page.socket.connect()
    assert (accepted, code) == (False, 403)


async def test_nothing_is_open_by_default_and_one_name_is_not_a_part_of_it() -> None:
    class Closed(SessionProcess):
        reducers = [Cart]

    class One(SessionProcess):
        reducers = [Cart]
        client_actions = "cart.add_item"

    class ClosedConsumer(SessionProcessConsumer):
        process_class = Closed

    class OneConsumer(SessionProcessConsumer):
        process_class = One

    async with Page(await new_session(), ClosedConsumer) as page:
        assert (await dispatched(page, "cart.add_item", PEN))["code"] == "not_allowed"
        assert (await page.ask(type="subscribe", selectors=[]))["values"] == {}
    async with Page(await new_session(), OneConsumer) as page:
        assert (await dispatched(page, "add_item", PEN))["code"] == "not_allowed"
        assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 1


async def test_what_a_handler_raised_is_not_told_to_the_page(caplog: Any) -> None:
    class FragileConsumer(SessionProcessConsumer):
        process_class = Fragile

    async with Page(await new_session(), FragileConsumer) as page:
        answer = await page.ask(type="subscribe", selectors=[])
        assert answer["code"] == "call_failed"
        assert "sesame" not in json.dumps(answer)
        assert "sesame" in caplog.text
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await dispatched(page, "cart.add_item", {"cost": 1})
        assert answer["code"] == "cast_failed"
        assert "price" not in answer["message"]
        assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 1


async def test_a_selector_that_fails_is_reported_and_left_out() -> None:
    failures: list[Any] = []

    def hear(**said: Any) -> None:
        failures.append((said["kind"], type(said["error"]).__name__))

    message_failed.connect(hear)
    try:
        async with Page(await new_session(), ShopConsumer) as page:
            assert (await subscribed(page, "broken", "cart_count", "unfit"))["values"] == {"cart_count": 0}
            await dispatched(page, "cart.add_item", PEN)
            assert (await page.hear("state"))["values"] == {"cart_count": 1}
    finally:
        message_failed.disconnect(hear)
    assert failures == [("selector", "KeyError"), ("selector", "InvalidValue")] * 2


# Limits


async def test_a_flood_is_answered_and_the_socket_stays() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await subscribed(page)
        for number in range(250):
            await page.say(type="dispatch", action="cart.keep", ref=number + 1000)
        answers = [await page.hear() for _number in range(250)]
        while (await page.ask(type="ping"))["type"] != "pong":
            await asyncio.sleep(0.05)
        refused = [answer for answer in answers if answer.get("code") == "rate_limited"]
        assert len(refused) > 50
        assert all(0 < answer["retry_after"] <= 1 and answer["ref"] >= 1000 for answer in refused)


async def test_a_client_address_starts_so_many(settings: Any) -> None:
    class Slow(ShopConsumer):
        start_rate = "2/m"

    told: list[float] = []

    def hear(**said: Any) -> None:
        told.append(said["retry_after"])

    rate_limited.connect(hear)
    host = f"2001:db8:{secrets.token_hex(2)}::1"
    try:
        keys = [await new_session() for _number in range(3)]
        for key in keys[:2]:
            async with Page(key, Slow, client=(host, 1)) as page:
                await subscribed(page)
        async with Page(keys[2], Slow, client=(host, 2)) as page:
            answer = await page.ask(type="subscribe", selectors=["total"])
            assert answer["code"] == "rate_limited"
            assert 0 < answer["retry_after"] <= 60
        async with Page(keys[0], Slow, client=(host, 3)) as page:  # its session runs: nothing is started
            await subscribed(page)
        async with Page(keys[2], Slow, client=("192.0.2.7", 4)) as page:
            await subscribed(page)
    finally:
        rate_limited.disconnect(hear)
    assert len(told) == 1


async def test_a_full_site_is_told_as_such(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "MAX_PROCESSES": 1}
    async with Page(await new_session(), ShopConsumer) as one, Page(await new_session(), ShopConsumer) as other:
        await subscribed(one)
        assert (await other.ask(type="subscribe", selectors=["total"]))["code"] == "session_limit_reached"
        assert (await dispatched(other, "cart.add_item", PEN))["code"] == "session_limit_reached"


async def test_a_store_that_fails_is_told_and_the_socket_goes_on(monkeypatch: Any) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await subscribed(page)

        async def refuse(store: Any, steps: Any) -> Any:
            raise StoreUnavailable

        with monkeypatch.context() as patch:
            patch.setattr("syncsessions.consumers.session_process.arun", refuse)
            assert (await dispatched(page, "cart.add_item", PEN))["code"] == "store_unavailable"
            assert (await page.ask(type="subscribe", selectors=["total"]))["code"] == "store_unavailable"
            await asyncio.sleep(0.2)
        await dispatched(page, "cart.add_item", PEN)
        assert (await page.hear("state"))["values"] == {"cart_count": 1}


# Ends


@on_each_store
@pytest.mark.parametrize("again", ["subscribe", "dispatch"])
async def test_after_a_stop_the_next_frame_starts_another(again: str) -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await dispatched(page, "cart.add_item", PEN)
        await subscribed(page)
        first = await Shop.aget(await id_of(key))
        await first.aterminate()
        assert await page.hear() == {"type": "stopped", "reason": "terminated"}
        assert await page.heard_nothing()
        assert not await Shop.astarted(await id_of(key))
        if again == "subscribe":
            answer = await subscribed(page, "total")
            assert (answer["values"], answer["revision"]) == ({"cart_count": 0, "total": 0}, 0)
        else:
            assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 1
            assert await page.hear() == {"type": "state", "values": {"cart_count": 1}, "revision": 1}
        with pytest.raises(SessionNotFound):
            await first.astate()


@on_a_shared_store
async def test_a_stop_by_another_worker() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        await (await elsewhere(key)).aterminate()
        assert await page.hear_within(2.0) == {"type": "stopped", "reason": "terminated"}


@on_each_store
async def test_expiry(monkeypatch: Any) -> None:
    monkeypatch.setattr(Shop, "ttl", 0.5)
    async with Page(await new_session(), ShopConsumer) as page:
        await subscribed(page)
        started = time.monotonic()
        for _number in range(8):
            await asyncio.sleep(0.1)
            await dispatched(page, "cart.keep")  # keeps it alive
        assert await page.heard_nothing()
        assert await page.hear() == {"type": "stopped", "reason": "expired"}
        assert time.monotonic() - started < 1.5 + LOST_AND_REPAIRED


@on_each_store
async def test_an_end_that_the_page_does_not_know_of_is_told_before_the_next_is_begun(monkeypatch: Any) -> None:
    monkeypatch.setattr(Shop, "ttl", 0.2)
    async with Page(await new_session(), ShopConsumer) as page:
        await dispatched(page, "cart.add_item", PEN)
        await asyncio.sleep(0.4)
        await page.say(type="dispatch", action="cart.add_item", payload=PEN, ref="next")
        assert await page.hear() == {"type": "stopped", "reason": "expired"}
        assert await page.hear() == {"type": "dispatched", "ref": "next", "revision": 1}


@on_each_store
async def test_a_session_that_another_tab_has_started_again_is_found() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as one, Page(key, ShopConsumer) as other:
        for page in (one, other):
            await subscribed(page)
        await (await Shop.aget(await id_of(key))).aterminate()
        for page in (one, other):
            await page.hear("stopped")
        await dispatched(one, "cart.add_item", PEN)
        started = time.monotonic()
        assert await other.hear() == {"type": "state", "values": {"cart_count": 1}, "revision": 1}
        assert time.monotonic() - started < LOST_AND_REPAIRED


async def test_a_page_that_goes_leaves_its_session_and_nothing_else() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        session = await Shop.aget(await id_of(key))
        assert session.key in SessionProcess.local
    assert session.key not in SessionProcess.local
    assert not session._watches
    assert await Shop.astarted(session.id)


async def test_logout_closes_and_the_next_browser_session_has_another_process() -> None:
    user = await database_sync_to_async(User.objects.create_user)(f"user-{secrets.token_hex(6)}")
    key = await new_session(user)
    client = Client()
    client.cookies["sessionid"] = key
    async with Page(key, ShopConsumer) as page:
        await dispatched(page, "cart.add_item", PEN)
        before = await id_of(key)
        await database_sync_to_async(client.logout)()
        assert await page.close_code() == 4401
    async with Page(await new_session(user), ShopConsumer) as page:
        assert (await subscribed(page))["values"] == {"cart_count": 0}
    assert (await (await Shop.aget(before)).astate())["cart"]["total"] == 3


# Around it


async def test_start_args_are_for_init() -> None:
    class Named(ShopConsumer):
        async def start_args(self) -> Any:
            return {"user": self.identity.user_pk}

    key = await new_session()
    async with Page(key, Named) as page:
        await subscribed(page)
    assert (await (await Shop.aget(await id_of(key))).astate())["args"] == {"user": None}


async def test_the_process_of_the_settings_where_none_is_named() -> None:
    class Plain(SessionProcessConsumer):
        selectors: ClassVar[Any] = {"name": lambda state: state.get("name")}

    key = await new_session()
    async with Page(key, Plain) as page:
        assert (await subscribed(page, "name"))["values"] == {"name": None}
        from syncsessions.processes import aget_session

        await (await aget_session(await id_of(key))).acast("put", "name", "Ada")
        assert (await page.hear("state"))["values"] == {"name": "Ada"}


async def test_heartbeats_sweep_rarely(monkeypatch: Any) -> None:
    stopped: list[str] = []

    def hear(**said: Any) -> None:
        stopped.append(said["session_id"])

    class Quick(ShopConsumer):
        beat_every = 0.1

    monkeypatch.setattr(browser_process, "_swept_at", float("-inf"))
    monkeypatch.setattr(Shop, "ttl", 0.02)
    await Shop.astart("forgotten")
    await asyncio.sleep(0.05)
    process_stopped.connect(hear)
    try:
        async with Page(await new_session(), Quick) as page:

            async def swept() -> bool:
                return stopped == ["forgotten"]

            await until(swept)
            await Shop.astart("forgotten-later")
            await asyncio.sleep(0.4)
            assert (await page.ask(type="ping"))["type"] == "pong"
            assert stopped == ["forgotten"]
    finally:
        process_stopped.disconnect(hear)


async def test_routes_by_name() -> None:
    routes = process_routes({"shop": ShopConsumer, "other": ShopConsumer})
    assert [str(route.pattern) for route in routes] == ["ws/process/shop/", "ws/process/other/"]
    URLRouter(routes)
    with pytest.raises((ImproperlyConfigured, AttributeError)):
        process_routes({"shop": Shop})  # type: ignore[dict-item]
