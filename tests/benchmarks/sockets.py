"""One daphne worker: what a relay takes against a bare echo, and what an idle session weighs."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.servers import redis_url

PAGE = os.sysconf("SC_PAGE_SIZE")
AT_ONCE = 50  # sockets that are opened side by side
USERS_SHARE = 5  # sessions that one user owns


class Server(NamedTuple):
    url: str
    pid: int
    cookies: list[str]


def relay(frames: int) -> list[dict[str, Any]]:
    """The p50 and p99, in seconds, of a bare echo and of a relay, frame by frame and taking turns."""
    found = []
    for layer, backend in _layers().items():
        with _server(2, backend) as server:
            found.append({"layer": layer, **asyncio.run(_relay(server, frames))})
    return found


def idle(sessions: int, seconds: float) -> dict[str, Any]:
    """Bytes that the worker grows by for each open session, and how many it holds; watches it for so many seconds."""
    with _server(sessions, None) as server:
        return asyncio.run(_idle(server, sessions, seconds))


async def _relay(server: Server, frames: int) -> dict[str, Any]:
    from websockets.asyncio.client import connect

    payload = {"x": 1, "text": "a stroke on a canvas", "points": [1, 2, 3, 4, 5, 6, 7, 8]}
    text = json.dumps({"type": "session.relay", "payload": payload})
    async with (
        connect(f"{server.url}/ws/echo/", compression=None) as echo,
        connect(f"{server.url}/ws/layer/", compression=None) as layer,
        _Session(server, 0) as (owner, code),
        connect(f"{server.url}/ws/sync/", compression=None) as peer,
    ):
        await peer.send(json.dumps({"type": "session.join", "code": code}))
        assert json.loads(await peer.recv())["type"] == "session.joined"
        assert json.loads(await owner.recv())["type"] == "session.peer_joined"
        arrivals: list[float] = []

        async def one_relay() -> None:
            started = time.perf_counter()
            await owner.send(text)
            seq = json.loads(await peer.recv())["seq"]
            arrivals.append(time.perf_counter() - started)
            await peer.send(json.dumps({"type": "session.ack", "seq": seq}))
            assert json.loads(await owner.recv())["type"] == "session.relayed"

        async def one_echo() -> None:
            await echo.send(text)
            await echo.recv()

        async def one_layer_echo() -> None:
            await layer.send(text)
            await layer.recv()

        ways = {"echo": one_echo, "echo through the layer": one_layer_echo, "relay until acknowledged": one_relay}
        times = await _take_turns(ways, frames)
    times["relay until it arrives"] = arrivals[len(arrivals) // 10 :]
    return {
        "ways": {
            name: {"p50": statistics.median(taken), "p99": statistics.quantiles(taken, n=100)[98]}
            for name, taken in times.items()
        },
        "frames": frames,
    }


async def _take_turns(ways: dict[str, Callable[[], Awaitable[None]]], frames: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(frames + frames // 10):
        for name, way in ways.items():
            started = time.perf_counter()
            await way()
            if number >= frames // 10:
                times[name].append(time.perf_counter() - started)
    return times


async def _idle(server: Server, sessions: int, seconds: float) -> dict[str, Any]:
    open_sessions = []
    warm = min(100, sessions // 10)
    try:
        started = before = 0.0
        for first in range(0, sessions, AT_ONCE):
            if first >= warm and not before:
                before, started = _resident(server.pid), time.perf_counter()
            batch = [_Session(server, number) for number in range(first, min(first + AT_ONCE, sessions))]
            await asyncio.gather(*(each.__aenter__() for each in batch))
            open_sessions += batch
        taken = time.perf_counter() - started
        counted = sessions - -(-warm // AT_ONCE) * AT_ONCE
        grown = (_resident(server.pid) - before) / counted
        busy = await _busy(server.pid, seconds)
    finally:
        for each in open_sessions:
            each.abort()
    return {"sessions": sessions, "bytes": grown, "opened_per_second": counted / taken, "cpu_share": busy}


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


async def _busy(pid: int, seconds: float) -> float:
    """The share of one core that the worker takes while nobody says anything."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    await asyncio.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds


class _Session:
    """A socket that has opened a session: gives itself and the code."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._cookie = server.cookies[number]

    async def __aenter__(self) -> tuple[Any, str]:
        from websockets.asyncio.client import connect

        self._socket = await connect(
            f"{self._server.url}/ws/sync/",
            additional_headers={"Cookie": self._cookie},
            compression=None,
            ping_interval=None,
            open_timeout=60,
        )
        await self._socket.send(json.dumps({"type": "session.open", "direction": "send"}))
        answer = json.loads(await self._socket.recv())
        assert answer["type"] == "session.opened", answer
        return self._socket, answer["session"]["code"]

    async def __aexit__(self, *exc_info: object) -> None:
        await self._socket.close()

    def abort(self) -> None:
        self._socket.transport.abort()


@contextmanager
def _server(sessions: int, layer: str | None) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="syncsessions-benchmarks-") as folder:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.live_settings",
            "BENCHMARK_FILE": str(Path(folder) / "live.sqlite3"),
        }
        if layer is not None:
            environment["BENCHMARK_LAYER"] = layer
        made = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.logins", str(sessions)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        cookies = json.loads(made.stdout)
        port = _free_port()
        command = [
            sys.executable,
            "-m",
            "daphne",
            "-b",
            "127.0.0.1",
            "-p",
            str(port),
            "tests.benchmarks.live:application",
        ]
        log = Path(folder) / "server.log"
        with (
            log.open("wb") as output,
            subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server,
        ):
            try:
                _wait_for(port, server, log)
                yield Server(f"ws://127.0.0.1:{port}", server.pid, cookies)
            finally:
                server.kill()


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    import socket

    ends = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _layers() -> dict[str, str | None]:
    found: dict[str, str | None] = {"in-memory layer": None}
    if redis_url():
        found["RedisChannelLayer"] = "channels_redis.core.RedisChannelLayer"
        found["RedisPubSubChannelLayer"] = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return found
