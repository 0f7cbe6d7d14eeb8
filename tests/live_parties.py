"""Parties of sync sessions as real clients: sockets over TCP to live servers, by the `websockets` library."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.live import LiveServer

DEADLINE = 60.0  # seconds that a test waits for what must come

Frame = dict[str, Any]


class Party:
    """One socket at `ws/sync/`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._refs = count(1)
        self._pushed: list[Frame] = []

    async def say(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def ask(self, **frame: Any) -> Frame:
        """Send a frame; the answer with its ref. What comes before it is kept for `hear`."""
        ref = frame.setdefault("ref", f"asked {next(self._refs)}")
        await self.say(**frame)
        while True:
            answer = await self._next()
            if answer.get("ref") == ref:
                return answer
            self._pushed.append(answer)

    async def hear(self, expected: str | None = None) -> Frame:
        """The next frame that comes unasked."""
        frame = self._pushed.pop(0) if self._pushed else await self._next()
        assert expected is None or frame["type"] == expected, frame
        return frame

    async def _next(self) -> Frame:
        frame: Frame = json.loads(await asyncio.wait_for(self.socket.recv(), DEADLINE))
        return frame


@contextlib.asynccontextmanager
async def party(
    server: LiveServer,
    cookie: str | None = None,
    *,
    origin: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    **more: Any,
) -> AsyncIterator[Party]:
    """A socket of this browser, or of none at all; `more` is for `connect`."""
    given = [("Cookie", cookie)] if cookie else []
    async with connect(
        f"{server.ws_url}/ws/sync/",
        additional_headers=[*given, *headers],
        origin=origin,  # type: ignore[arg-type]
        open_timeout=DEADLINE,
        close_timeout=1,
        ping_interval=None,
        max_size=None,
        **more,
    ) as socket:
        yield Party(socket)


@contextlib.asynccontextmanager
async def workers(*names: Any, env: Mapping[str, str], **more: Any) -> AsyncIterator[list[LiveServer]]:
    """Live servers of these kinds on one database, started at the same time."""
    servers: list[LiveServer] = []
    for name in names:
        database = servers[0].database if servers else None
        servers.append(LiveServer(name, env=env, database=database, **more))
    with contextlib.ExitStack() as stack:
        await asyncio.gather(*(asyncio.to_thread(stack.enter_context, server) for server in servers))
        yield servers


async def opened(owner: Party, direction: str = "send", **more: Any) -> str:
    """The code of the session that this party has opened."""
    answer = await owner.ask(type="session.open", direction=direction, **more)
    assert answer["type"] == "session.opened", answer
    code: str = answer["session"]["code"]
    return code


async def joined(owner: Party, peer: Party) -> str:
    """Open, join, and have both told; the code."""
    code = await opened(owner)
    answer = await peer.ask(type="session.join", code=code)
    assert answer["type"] == "session.joined", answer
    await owner.hear("session.peer_joined")
    return code


async def until(condition: Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> float:
    """Wait until the condition holds; the monotonic moment at which it was seen to."""
    ends = time.monotonic() + deadline
    while not await condition():
        assert time.monotonic() < ends, "it never came true"
        await asyncio.sleep(0.02)
    return time.monotonic()
