"""Pages of one browser at two workers that share a Redis: one session, whoever serves it, and whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.live import LiveServer, on_redis
from tests.live_parties import DEADLINE, Party, workers
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


async def test_two_workers_serve_one_session() -> None:
    async with workers("daphne", "uvicorn", env=environment(), application=APPLICATION) as (one, two):
        cookie = await asyncio.to_thread(one.new_session)
        async with page(one, cookie) as here:
            assert await subscribed(here) == 0
            async with page(two, cookie) as there:
                assert await subscribed(there) == 0
                assert await add(here) == 1
                assert await seen(there, 1) < 2
                revisions = await asyncio.gather(*(add_many(party, 20) for party in (here, there)))
                assert sorted(sum(revisions, start=[])) == list(range(2, 42))  # noqa: RUF017 - two of them
                await asyncio.gather(seen(here, 41), seen(there, 41))
                assert await add(here) == 42
                one.kill()
                await seen(there, 42)
                assert await add(there) == 43


async def add_many(party: Party, count: int) -> list[int]:
    return [await add(party) for _number in range(count)]


async def test_a_layer_that_loses_everything() -> None:
    async with workers("daphne", "daphne", env=environment(loss=1.0), application=APPLICATION) as (one, two):
        cookie = await asyncio.to_thread(one.new_session)
        async with page(one, cookie) as here, page(two, cookie) as there:
            assert [await subscribed(party) for party in (here, there)] == [0, 0]
            await add(here)
            assert await seen(there, 1) < 5
