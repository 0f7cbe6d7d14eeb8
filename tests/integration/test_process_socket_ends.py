"""`ws/process/<name>/`: sessions that stop, and what comes after them."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import registry
from tests.process_shop import (
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
from tests.sockets import Page, new_session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("process_store"),
]


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
    monkeypatch.setattr(Shop, "ttl", 1.0)
    async with Page(await new_session(), ShopConsumer) as page:
        await dispatched(page, "cart.add_item", PEN)
        await asyncio.sleep(1.2)
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
        assert session.key in registry.local
    assert session.key not in registry.local
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
