"""A handover between two workers that share a Redis and a database: a layer that drops, a worker that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import http.cookiejar
import json
import secrets
import sqlite3
import urllib.request
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.live import REDIS_LAYER, LiveServer, on_redis
from tests.live_parties import DEADLINE, Party, opened, workers
from tests.servers import redis_url

ORDER = {
    "demo.order.filters": {"product": "chapbook", "quantity": "2"},
    "demo.order.delivery": {"name": "Ada Example"},
    "demo.order.brief": {"brief": "Sixteen pages."},
}


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    url = redis_url()
    if url is None:
        pytest.skip("no Redis here: name one in TEST_REDIS_URL")
    store = {
        "BACKEND": "syncsessions.stores.redis.RedisStore",
        "LOCATION": url,
        "OPTIONS": {"prefix": f"test-{secrets.token_hex(8)}"},
    }
    yield {**on_redis(url, STORES={"default": store}, PAIRING_LEASE=2), "TEST_LIVE_LAYER": REDIS_LAYER}


def browser(server: LiveServer, order: dict[str, Any]) -> str:
    """A new browser's Cookie header, after it has saved this order, or pressed the button that makes its session."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    with opener.open(f"{server.url}/syncsessions/stash/?token", timeout=DEADLINE) as response:
        token = json.load(response)["token"]
    headers = {"Content-Type": "application/json", "X-CSRFToken": token}
    posts = [
        (f"{server.url}/syncsessions/stash/", {"type": "stash.save", "view": view, "vsn": 1, "changes": changes})
        for view, changes in order.items()
    ]
    for address, frame in posts or [(f"{server.url}/continue/", {})]:
        with opener.open(urllib.request.Request(address, json.dumps(frame).encode(), headers), timeout=DEADLINE):
            pass
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)


@contextlib.asynccontextmanager
async def device(server: LiveServer, cookie: str) -> AsyncIterator[Party]:
    headers = {"Cookie": cookie, "User-Agent": "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Firefox/140.0"}
    address = f"{server.ws_url}/ws/handover/"
    async with connect(address, additional_headers=headers, user_agent_header=None, close_timeout=1) as socket:
        yield Party(socket)


async def confirmed(owner: Party, peer: Party) -> None:
    """Open, join, and say yes."""
    assert (await peer.ask(type="session.join", code=await opened(owner)))["type"] == "session.joined"
    await owner.hear("session.peer_joined")
    joined = await owner.hear("handover.joined")
    assert joined["device"] == "Firefox on Android"
    assert (await owner.ask(type="handover.confirm", joiner=joined["joiner"]))["type"] == "handover.moving"


def stashed(server: LiveServer) -> list[tuple[str, Any]]:
    """Every slice of anybody, by view."""
    with contextlib.closing(sqlite3.connect(server.database)) as connection:
        rows = connection.execute("SELECT view, data FROM syncsessions_stashslice ORDER BY view").fetchall()
    return [(view, json.loads(data)) for view, data in rows]


async def test_between_two_workers_over_a_layer_that_drops(environment: dict[str, str]) -> None:
    async with workers("daphne", "uvicorn", env={**environment, "TEST_LIVE_LOSS": "0.3"}) as (one, two):
        laptop = await asyncio.to_thread(browser, one, ORDER)
        phone = await asyncio.to_thread(browser, two, {})
        async with device(one, laptop) as owner, device(two, phone) as peer:
            await confirmed(owner, peer)
            await peer.hear("handover.copied")
            for each in (owner, peer):
                told = await each.hear("session.closed")
                assert (told["status"], told["result"]) == ("completed", {"moved": 4, "kept": 0})
        assert stashed(one) == sorted(ORDER.items())


async def test_the_owners_worker_is_killed_in_the_middle(environment: dict[str, str]) -> None:
    async with workers("daphne", "uvicorn", env=environment) as (one, two):
        laptop = await asyncio.to_thread(browser, one, ORDER)
        phone = await asyncio.to_thread(browser, two, {})
        async with device(two, phone) as peer:
            with contextlib.suppress(ConnectionClosed):
                async with device(one, laptop) as owner:
                    await confirmed(owner, peer)
                    one.kill()
            told = await peer.hear()
            while told["type"] != "session.closed":
                told = await peer.hear()
            after = stashed(two)
            assert dict(after) == ORDER
            assert all(data == ORDER[view] for view, data in after)
