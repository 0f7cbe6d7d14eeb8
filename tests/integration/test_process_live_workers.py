"""Pages of one browser at several workers that share a Redis: one session, whoever serves it, and whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.live import LiveServer, on_redis
from tests.live_parties import DEADLINE, Party, workers
from tests.processes import until
from tests.servers import redis_url

APPLICATION = "tests.site.asgi:application"
PEN = {"name": "pen", "price": 3}


def environment(loss: float = 0) -> dict[str, str]:
    url = redis_url()
    if url is None:
        pytest.skip("no Redis here: name one in TEST_REDIS_URL")
    store = {
        "BACKEND": "syncsessions.stores.redis.RedisStore",
        "LOCATION": url,
        "OPTIONS": {"prefix": f"test-{secrets.token_hex(8)}"},
    }
    return on_redis(url, loss=loss, STORES={"default": store})


@contextlib.asynccontextmanager
async def page(server: LiveServer, cookie: str) -> AsyncIterator[Party]:
    async with connect(
        f"{server.ws_url}/ws/process/shop/",
        additional_headers=[("Cookie", cookie)],
        open_timeout=DEADLINE,
        close_timeout=1,
        ping_interval=None,
    ) as socket:
        yield Party(socket)


async def subscribed(party: Party) -> Any:
    answer = await party.ask(type="subscribe", selectors=["cart_count"])
    assert answer["type"] == "state", answer
    return answer["values"]["cart_count"]


async def add(party: Party) -> Any:
    return (await party.ask(type="dispatch", action="cart.add_item", payload=PEN))["revision"]


async def seen(party: Party, count: int) -> float:
    """Wait for this count; the seconds it took."""
    started = time.monotonic()
    while (await party.hear("state"))["values"] != {"cart_count": count}:
        pass
    return time.monotonic() - started


async def add_many(party: Party, count: int) -> list[int]:
    return [await add(party) for _number in range(count)]


async def add_until_killed(party: Party, acknowledged: list[int]) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            acknowledged.append(await add(party))


async def test_three_workers_serve_one_session_and_one_is_killed_meanwhile() -> None:
    kinds = ("daphne", "daphne", "uvicorn")
    async with workers(*kinds, env=environment(), application=APPLICATION) as servers, AsyncExitStack() as stack:
        cookie = await asyncio.to_thread(servers[0].new_session)
        doomed, *others = [await stack.enter_async_context(page(server, cookie)) for server in servers]
        for party in (doomed, *others):
            assert await subscribed(party) == 0
        assert await add(doomed) == 1
        for party in others:
            assert await seen(party, 1) < 2
        told: list[int] = []
        adding = [asyncio.create_task(add_many(party, 30)) for party in others]
        killed = asyncio.create_task(add_until_killed(doomed, told))
        await until(lambda: len(told) >= 5)
        servers[0].kill()
        revisions = [told, *await asyncio.gather(*adding)]
        await killed
        assert all(each == sorted(each) for each in revisions)
        acknowledged = sorted(chain.from_iterable(revisions))
        last = await add(others[0])
        missing = set(range(2, last)) - set(acknowledged)  # applied, and not acknowledged any more
        assert len(acknowledged) + len(missing) == last - 2
        assert len(missing) <= 1
        await asyncio.gather(*(seen(party, last) for party in others))


async def test_a_layer_that_loses_everything() -> None:
    async with workers("daphne", "daphne", env=environment(loss=1.0), application=APPLICATION) as (one, two):
        cookie = await asyncio.to_thread(one.new_session)
        async with page(one, cookie) as here, page(two, cookie) as there:
            assert [await subscribed(party) for party in (here, there)] == [0, 0]
            await add(here)
            assert await seen(there, 1) < 5
