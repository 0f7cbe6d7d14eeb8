"""`ws/process/<name>/`: what a page sees of its browser's session process, and who else changes it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

import pytest
from channels.routing import URLRouter
from django.core.exceptions import ImproperlyConfigured

from syncsessions.consumers import browser_process
from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.processes import stored as stored_module
from syncsessions.routing import process_routes
from syncsessions.signals import process_stopped
from tests.process_shop import (
    INK,
    LOST_AND_REPAIRED,
    PEN,
    Shop,
    ShopConsumer,
    dispatched,
    elsewhere,
    id_of,
    on_a_shared_store,
    on_each_store,
    subscribed,
)
from tests.sockets import Page, new_session, until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("process_store"),
]


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
