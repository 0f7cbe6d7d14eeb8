"""`ws/process/<name>/` under attack: hostile frames, other people's sessions, cheap frames that make much work, and
sockets that are dropped."""

from __future__ import annotations

import asyncio
import gc
import json
import secrets
import time
from typing import Any, ClassVar

import pytest
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from syncsessions.consumers import ProcessConsumerMixin
from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.processes import Reducer, SessionProcess, acount_sessions, action, registry
from tests.process_shop import (
    PEN,
    Cart,
    Shop,
    ShopConsumer,
    cart_count,
    dispatched,
    id_of,
    on_a_shared_store,
    on_each_store,
    subscribed,
)
from tests.sockets import DEADLINE, Page, new_session, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("process_store"),
]

ECHOED: list[Any] = [0, -1, "", "\x00", "__class__", "constructor"]  # as a ref
JUNK: list[Any] = [
    *ECHOED,
    None,
    True,
    10**4000,
    1.5,
    "\ud800",
    "x" * 5000,
    [],
    [[]],
    {},
    {"__proto__": {"admin": True}},
    {"constructor": {"prototype": {}}},
]
DEEP = ["[" * 1500 + "]" * 1500, "[" * 20_000 + "]" * 20_000, '{"a":' * 3000 + "1" + "}" * 3000]


class Trail(Reducer):
    """Sees every action."""

    name = "trail"
    prefix = ""
    initial_state: ClassVar[Any] = {"seen": []}

    @action
    def add_item(self, state: Any, item: Any) -> Any:
        return {"seen": [*state["seen"], item]}

    @action
    def wipe(self, state: Any, payload: Any) -> Any:
        return {"seen": []}


class Watched(SessionProcess):
    reducers = [Cart, Trail]
    client_actions = ["cart.add_item"]


class WatchedConsumer(SessionProcessConsumer):
    process_class = Watched
    selectors: ClassVar[Any] = {"items": lambda state: state["cart"]["items"], "cart_count": cart_count}


async def raw(page: Page, text: str) -> Any:
    await page.socket.send_to(text_data=text)
    return await page.hear()


async def still_works(page: Page, count: int = 0) -> None:
    assert (await subscribed(page))["values"] == {"cart_count": count}


@pytest.mark.parametrize("kind", ["subscribe", "dispatch"])
@pytest.mark.parametrize("field", ["type", "selectors", "action", "ref"])
async def test_junk_in_every_field(kind: str, field: str) -> None:
    fine = {"type": kind, "selectors": ["cart_count"], "action": "cart.discount"}
    async with Page(await new_session(), ShopConsumer) as page:
        for junk in JUNK:
            answer = await raw(page, json.dumps({**fine, field: junk}))
            if field == "ref":
                assert ("ref" in answer) == any(junk is each for each in ECHOED)
                assert answer.get("code") == ("not_allowed" if kind == "dispatch" else None)
            elif field == "selectors" and kind == "subscribe":
                assert (answer["type"] == "state") == (junk == [])
            elif (field == "action") == (kind == "dispatch") or field == "type":
                assert answer["type"] == "error"
                assert answer["code"] in ("bad_frame", "unknown_type", "unknown_action")
        await still_works(page)


@pytest.mark.parametrize("deep", DEEP, ids=["1500", "20000", "objects"])
async def test_deep_values_in_every_field(deep: str) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        for text in (
            '{"type": %s}',
            '{"type": "ping", "x": 1, "ref": %s, "type": "no"}',
            '{"type": "subscribe", "selectors": %s}',
            '{"type": "subscribe", "selectors": [%s]}',
            '{"type": "dispatch", "action": %s}',
            '{"type": "dispatch", "action": "cart.add_item", "payload": %s}',
            '{"type": "dispatch", "action": "cart.keep", "payload": {"k": %s}}',
            '{"type": "dispatch", "action": "cart.search", "payload": [%s]}',
        ):
            answer = await raw(page, text % deep)
            assert answer["code"] in ("bad_frame", "unknown_type", "invalid_value"), text
        await still_works(page)
        assert (await subscribed(page))["revision"] == 0


async def test_names_that_mean_something_in_python_or_javascript_are_data_in_a_payload() -> None:
    async with Page(await new_session(), WatchedConsumer) as page:
        item = {"price": 1, "__proto__": {"x": 1}, "constructor": 1, "__class__": "Shop", "self": 1, "state": 2}
        await dispatched(page, "cart.add_item", item)
        assert (await subscribed(page, "items"))["values"] == {"items": [item]}


@pytest.mark.parametrize(
    "name",
    [
        "cart.wipe",  # sees all prefixes, is not in client_actions
        "wipe",
        ".wipe",
        "trail.wipe",
        "anything.add_item",
        ".add_item",
        "cart..add_item",
        "cart.cart.add_item",
        " cart.add_item",
        "cart.add_item ",
        "cart.add_item\x00",
        "CART.add_item",
        "cart.add_\u200bitem",
        "\uff43art.add_item",
        "c",
        "cart.add_item" * 10_000,
        "terminate",
        "reset",
        "time_travel",
        "restore",
        "store",
        "_failed",
        "process.changed",
    ],
)
async def test_nothing_but_client_actions_is_dispatched(name: str) -> None:
    key = await new_session()
    async with Page(key, WatchedConsumer) as page:
        assert (await dispatched(page, name, {"price": 1}))["code"] in ("unknown_action", "not_allowed")
        assert (await subscribed(page, "items"))["revision"] == 0
    assert (await (await Watched.aget(await id_of(key))).astate())["trail"] == {"seen": []}


async def test_names_of_selectors_are_looked_up_in_nothing_else() -> None:
    async with Page(await new_session(), WatchedConsumer) as page:
        for name in ("keys", "get", "__getitem__", "process_class", "_session", "scope", "cart", "cart_count\x00", "0"):
            assert (await page.ask(type="subscribe", selectors=[name]))["code"] == "invalid_value"
        answer = await page.ask(type="subscribe", selectors=["x" * 100_000])
        assert len(json.dumps(answer)) < 1000
        names = ["cart_count"] * 15_000
        assert (await page.ask(type="subscribe", selectors=names))["values"] == {"cart_count": 0}


async def test_no_header_address_or_cookie_names_another_session() -> None:
    victim, key = await new_session(), await new_session()
    other = await Shop.astart(await id_of(victim))
    victims = other.id.encode()
    poison = ((b"session-id", victims), (b"cookie", b"session_id=" + victims + b"; syncsessions=" + victims))
    page = Page(key, ShopConsumer, headers=poison[:1])
    page.socket.scope["headers"] = [
        (name, value + b"; " + poison[1][1] if name == b"cookie" else value)
        for name, value in page.socket.scope["headers"]
    ]
    page.socket.scope["query_string"] = b"session_id=" + victims + b"&id=" + victims
    async with page:
        await dispatched(page, "cart.add_item", PEN)
        await still_works(page, 1)
    assert await other.arevision() == 0


async def test_a_session_that_the_server_does_not_know_starts_nothing() -> None:
    before = await acount_sessions()
    for key in (secrets.token_hex(16), "x", "../../etc", "%00", "' OR 1=1 --"):
        page = Page(key, ShopConsumer)
        await page.socket.connect()
        await page.say(type="dispatch", action="cart.add_item", payload=PEN)
        assert await page.close_code() == 4401
    assert await acount_sessions() == before


async def test_after_logout_no_frame_reaches_the_session() -> None:
    user = await database_sync_to_async(User.objects.create_user)(f"user-{secrets.token_hex(6)}")
    key = await new_session(user)
    client = Client()
    client.cookies["sessionid"] = key
    async with Page(key, ShopConsumer) as page:
        await subscribed(page)
        session = await Shop.aget(await id_of(key))
        await database_sync_to_async(client.logout)()
        assert await page.close_code() == 4401
        for _number in range(20):
            await page.say(type="dispatch", action="cart.add_item", payload=PEN)
        assert await page.socket.receive_nothing()
    assert await session.arevision() == 0
    page = Page(key, ShopConsumer)  # the cookie that was good
    await page.socket.connect()
    await page.say(type="dispatch", action="cart.add_item", payload=PEN)
    assert await page.close_code() == 4401
    assert await session.arevision() == 0


async def test_a_session_row_that_is_gone_without_a_signal_closes_at_the_beat() -> None:
    class Quick(ShopConsumer):
        beat_every = 0.1

    key = await new_session()
    async with Page(key, Quick) as page:
        await subscribed(page)
        await database_sync_to_async(SessionStore(key).delete)()
        assert await page.close_code() == 4401


class Slow(WatchedConsumer):
    computed: ClassVar[list[int]] = []

    @staticmethod
    def costly(state: Any) -> int:
        Slow.computed.append(1)
        return len(state["cart"]["items"])

    selectors: ClassVar[Any] = {"costly": costly, "broken": lambda state: state["nowhere"], **WatchedConsumer.selectors}


@on_each_store
async def test_asking_again_computes_nothing_again(caplog: Any) -> None:
    Slow.computed.clear()
    async with Page(await new_session(), Slow) as page:
        await subscribed(page, "costly", "broken")
        for _number in range(30):
            assert (await page.ask(type="subscribe", selectors=[]))["values"] == {"costly": 0}
            assert (await subscribed(page, "costly"))["values"] == {"costly": 0}
        assert len(Slow.computed) == 1
        assert caplog.text.count("A selector of") == 1
        assert (await subscribed(page, "cart_count"))["values"] == {"costly": 0, "cart_count": 0}
        await dispatched(page, "cart.add_item", PEN)
        assert (await page.hear("state"))["values"] == {"costly": 1, "cart_count": 1}
        assert len(Slow.computed) == 3


class Scarce(WatchedConsumer):
    values_rate = 200_000
    values_burst = 1_000_000


@on_each_store
async def test_small_frames_do_not_bring_large_answers_without_end() -> None:
    async with Page(await new_session(), Scarce) as page:
        await dispatched(page, "cart.add_item", {"price": 1, "text": "x" * 100_000})
        began = time.monotonic()
        answers = [await page.ask(type="subscribe", selectors=["items"]) for _number in range(60)]
        fed = [answer for answer in answers if answer["type"] == "state"]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert len(fed) <= 12 + 2 * (time.monotonic() - began)
        assert {answer["code"] for answer in refused} == {"rate_limited"}
        assert all(0 < answer["retry_after"] < 2 for answer in refused)
        assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 2  # what is small goes on


@on_each_store
async def test_changes_of_large_values_come_as_often_as_they_may_and_the_last_comes() -> None:
    async with Page(await new_session(), Scarce) as page:
        await subscribed(page, "items")
        began = time.monotonic()
        for number in range(30):
            answer = await dispatched(page, "cart.add_item", {"price": 1, "text": "x" * 20_000})
            assert answer["revision"] == number + 1
        heard = 0
        while (frame := await page.hear("state"))["revision"] < 30:
            heard += len(json.dumps(frame))
        assert heard <= 1_700_000 + 200_000 * (time.monotonic() - began)


def groups() -> set[str]:
    """Of the layer; those that there are before a test are other tests'."""
    layer: Any = get_channel_layer()
    return set(layer.groups)


async def none_joined(others: set[str]) -> bool:
    return not [group for group in groups() - others if "process" in group]


@on_each_store
@pytest.mark.parametrize("when", ["idle", "at work"])
async def test_dropped_sockets_leave_nothing(when: str) -> None:
    key, listening = await new_session(), len(registry.local)
    others = groups()
    for _number in range(20):
        page = Page(key, ShopConsumer)
        await page.socket.connect(timeout=DEADLINE)
        if when == "idle":
            await subscribed(page)
        else:
            for _frame in range(5):
                await page.say(type="subscribe", selectors=["cart_count"])
                await page.say(type="dispatch", action="cart.keep")
            await asyncio.sleep(0)
        page.socket.future.cancel()  # what a server does with a consumer that does not end
        with pytest.raises(asyncio.CancelledError):
            await page.socket.future
    gc.collect()
    assert len(registry.local) == listening
    session = await Shop.aget_or_start(await id_of(key))
    assert not session._watches
    await until(lambda: none_joined(others))
    async with Page(key, ShopConsumer) as page:
        await still_works(page)


class Mounting(ProcessConsumerMixin, AsyncJsonWebsocketConsumer):
    """A project's own, that mounts anew at each frame."""

    process_class = Shop
    selectors: ClassVar[Any] = {"cart_count": cart_count}

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.send_json(await self.mount_session())


@on_each_store
async def test_consumers_that_are_dropped_while_they_mount_leave_nothing() -> None:
    key, listening = await new_session(), len(registry.local)
    others = groups()
    for turns in range(25):
        page = Page(key, Mounting)  # type: ignore[arg-type]
        await page.socket.connect(timeout=DEADLINE)
        await page.say(mount=1)
        await page.say(mount=2)
        for _turn in range(turns):
            await asyncio.sleep(0)
        page.socket.future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await page.socket.future
    gc.collect()

    async def none_left() -> bool:
        return len(registry.local) == listening

    await until(none_left)
    assert not (await Shop.aget_or_start(await id_of(key)))._watches
    await until(lambda: none_joined(others))


@on_a_shared_store
async def test_sockets_that_see_many_sessions_come_and_go_keep_one_group() -> None:
    key, others, listening = await new_session(), groups(), len(registry.local)
    async with Page(key, ShopConsumer) as page:
        for _number in range(10):
            await subscribed(page)
            await (await Shop.aget(await id_of(key))).aterminate()
            assert (await page.hear())["type"] == "stopped"
        await subscribed(page)
        assert len([group for group in groups() - others if group.startswith("syncsessions.process.")]) == 1

        async def one_left() -> bool:
            return len(registry.local) == listening + 1

        await until(one_left)


@on_each_store
async def test_a_storm_from_one_address_starts_no_more_than_it_may() -> None:
    class Rated(ShopConsumer):
        start_rate = "3/m"

    host = f"2001:db8:{secrets.token_hex(2)}::1"
    before = await acount_sessions()
    pages = [Page(await new_session(), Rated, client=(host, number)) for number in range(12)]
    for page in pages:
        await page.socket.connect(timeout=DEADLINE)
    answers = await asyncio.gather(*(page.ask(type="subscribe", selectors=["cart_count"]) for page in pages))
    assert sorted(answer.get("code", "") for answer in answers) == [""] * 3 + ["rate_limited"] * 9
    assert await acount_sessions() == before + 3
    await asyncio.gather(*(page.socket.disconnect(timeout=DEADLINE) for page in pages))


@on_each_store
async def test_many_tabs_of_one_browser_start_one_session_and_spend_one_start() -> None:
    class Rated(ShopConsumer):
        start_rate = "1/m"

    host, key = f"2001:db8:{secrets.token_hex(2)}::1", await new_session()
    pages = [Page(key, Rated, client=(host, number)) for number in range(8)]
    for page in pages:
        await page.socket.connect(timeout=DEADLINE)
    answers = await asyncio.gather(*(page.ask(type="subscribe", selectors=["cart_count"]) for page in pages))
    assert any(answer["type"] == "state" for answer in answers)
    for page in pages:
        await still_works(page)
    await asyncio.gather(*(page.socket.disconnect(timeout=DEADLINE) for page in pages))


async def test_errors_and_logs_tell_nothing_of_the_session(caplog: Any) -> None:
    caplog.set_level("DEBUG")
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await dispatched(page, "cart.add_item", {"price": 1, "secret": "sesame"})
        told = [
            await dispatched(page, "cart.add_item", {"cost": 1, "text": "sesame"}),
            await dispatched(page, "cart.add_item", {"price": "sesame"}),
            await dispatched(page, "cart.unheard_of", "sesame"),
            await dispatched(page, "cart.search", {"a": "\x00"}),
        ]
        session = await Shop.aget(await id_of(key))
        shown = f"{session!r} {session} {json.dumps(told)} {caplog.text}"
    assert "sesame" not in shown
    assert key not in shown
    assert session.id not in json.dumps(told)
