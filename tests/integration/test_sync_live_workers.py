"""Two workers that share a Redis: parties at different ones, and workers that are killed or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from syncsessions.pairing import steps, sync_sessions
from tests.live import PUBSUB_LAYER, REDIS_LAYER, on_redis
from tests.live_parties import joined, opened, party, until, workers
from tests.parties import gone
from tests.servers import redis_url

LEASE = 2.0  # seconds
LOOKS = LEASE / 3  # seconds between two looks of a party at its session
SLOW = 1.0  # seconds that a busy machine may add
LAYERS = pytest.mark.parametrize("layer", [REDIS_LAYER, PUBSUB_LAYER], ids=["redis", "pubsub"])


@pytest.fixture
def environment(settings: Any) -> Iterator[dict[str, str]]:
    """Of workers with a store of their own, which is this process's too."""
    url = redis_url()
    if url is None:
        pytest.skip("no Redis here: name one in TEST_REDIS_URL")
    store = {
        "BACKEND": "syncsessions.stores.redis.RedisStore",
        "LOCATION": url,
        "OPTIONS": {"prefix": f"test-{secrets.token_hex(8)}"},
    }
    mine = {"STORES": {"default": store}, "PAIRING_LEASE": LEASE}
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, **mine}
    yield on_redis(url, **mine)


async def left() -> list[int]:
    """How many live records there are of each kind."""
    return [await sync_sessions.store.acount(namespace) for namespace in (steps.SESSIONS, steps.PEERS, steps.PLACES)]


@LAYERS
async def test_a_worker_that_is_killed_takes_what_it_owned_along(layer: str, environment: dict[str, str]) -> None:
    env = {**environment, "TEST_LIVE_LAYER": layer}
    async with workers("daphne", "uvicorn", env=env) as (one, two):
        cookie = await asyncio.to_thread(one.log_in)
        async with party(two) as peer, party(two) as late:
            with contextlib.suppress(ConnectionClosed):
                async with party(one, cookie) as owner, party(one, cookie) as waiting:
                    code, pending = await joined(owner, peer), await opened(waiting)
                    await owner.say(type="session.relay", payload="over two workers")
                    assert (await peer.hear("session.relay"))["payload"] == "over two workers"
                    one.kill()
                    killed = time.monotonic()
            assert await until(lambda: gone(pending)) - killed < LEASE + SLOW
            assert (await late.ask(type="session.join", code=pending))["code"] == "invalid_code"
            told = await peer.hear("session.closed")
            assert (told["status"], told["reason"]) == ("failed", "lease_expired")
            assert time.monotonic() - killed < LEASE + LOOKS + SLOW
            assert await gone(code)
            assert (await late.ask(type="session.join", code=code))["code"] == "invalid_code"
            assert await left() == [0, 0, 0]
            assert (await peer.ask(type="session.relay", payload=1))["code"] == "not_in_session"

        await asyncio.to_thread(one.start)
        async with party(one, cookie) as owner:
            with contextlib.suppress(ConnectionClosed):
                async with party(two) as peer:
                    code = await joined(owner, peer)
                    two.kill()
                    killed = time.monotonic()
            told = await owner.hear("session.closed")
            assert (told["status"], told["reason"]) == ("failed", "peer_gone")
            assert time.monotonic() - killed < LEASE + LOOKS + SLOW
            assert await gone(code)
            assert await left() == [0, 0, 0]
        assert "Traceback" not in one.log + two.log


@pytest.mark.parametrize("name", ["daphne", "uvicorn"])
async def test_a_worker_that_is_stopped_leaves_no_ghosts(name: Any, environment: dict[str, str]) -> None:
    async with workers(name, "uvicorn", env=environment) as (stopped, other):
        cookie = await asyncio.to_thread(stopped.log_in)
        async with party(other, cookie) as owner, party(other) as peer:
            with contextlib.suppress(ConnectionClosed):
                async with (
                    party(stopped, cookie) as stopped_owner,
                    party(stopped) as stopped_peer,
                    party(stopped, cookie) as waiting,
                ):
                    await joined(stopped_owner, peer)
                    await joined(owner, stopped_peer)
                    await opened(waiting)
                    assert await left() == [3, 2, 3]
                    stopping = asyncio.create_task(asyncio.to_thread(stopped.terminate))
                    began = time.monotonic()
                    assert (await peer.hear("session.closed"))["reason"] in ("owner_gone", "lease_expired")
                    assert (await owner.hear("session.closed"))["reason"] == "peer_gone"
                    assert time.monotonic() - began < LEASE + LOOKS + SLOW
            await until(lambda: none_left())
            assert time.monotonic() - began < LEASE + LOOKS + SLOW
            await stopping
            await joined(owner, peer)
        assert "Traceback" not in stopped.log + other.log


async def none_left() -> bool:
    return await left() == [0, 0, 0]
