"""daphne and uvicorn in earnest: what was acknowledged survives `kill -9`, workers hear of each other."""

from __future__ import annotations

import asyncio
import contextlib
import http.cookiejar
import json
import random
import sqlite3
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.live import PASSWORD, LiveServer
from tests.servers import redis_url

NOTE = "demo.note"
DEADLINE = 20.0
SERVERS = ["daphne", "uvicorn"]
LAYERS = ["channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"]


@contextlib.asynccontextmanager
async def opened(server: LiveServer, cookie: str | None, origin: str | None = None) -> AsyncIterator[ClientConnection]:
    headers = {"Cookie": cookie} if cookie else {}
    async with connect(f"{server.ws_url}/ws/stash/", additional_headers=headers, origin=origin) as socket:  # type: ignore[arg-type]
        yield socket


async def hear(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), DEADLINE))
    return frame


async def ask(socket: ClientConnection, **frame: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"ref": "asked", **frame}))
    while True:
        answer = await hear(socket)
        if answer.get("ref") == "asked" and answer["type"] != "stash.changed":
            return answer


async def save(socket: ClientConnection, **changes: Any) -> dict[str, Any]:
    return await ask(socket, type="stash.save", view=NOTE, vsn=1, changes=changes)


async def stashed(server: LiveServer, cookie: str) -> Any:
    """What a new page finds."""
    async with opened(server, cookie) as socket:
        await socket.send(json.dumps({"type": "stash.subscribe", "views": [{"view": NOTE, "vsn": 1}]}))
        frame = await hear(socket)
        return frame.get("data")


@pytest.mark.parametrize("name", SERVERS)
async def test_what_was_acknowledged_is_there_after_kill_9(name: Any) -> None:
    with LiveServer(name) as server:
        cookie = await asyncio.to_thread(server.new_session)
        acknowledged: dict[str, int] = {}
        for round_ in range(2):
            with contextlib.suppress(ConnectionClosed):
                async with opened(server, cookie) as socket:
                    dying: asyncio.Task[None] | None = None
                    for number in range(90):
                        key = f"{round_}.{number}"
                        if number == 40 + random.randrange(20):
                            dying = asyncio.create_task(asyncio.to_thread(server.kill))
                        if (await save(socket, **{key: number}))["type"] == "stash.saved":
                            acknowledged[key] = number
                    if dying is None:
                        await asyncio.to_thread(server.kill)
            await asyncio.to_thread(restart, server)
        assert len(acknowledged) > 40
        assert (await stashed(server, cookie)).items() >= acknowledged.items()


def restart(server: LiveServer) -> None:
    ends = time.monotonic() + DEADLINE
    while server.running:  # the killer is still about it
        assert time.monotonic() < ends
        time.sleep(0.01)
    server.start()


@pytest.mark.parametrize("name", SERVERS)
async def test_the_door(name: Any) -> None:
    with LiveServer(name) as server:
        cookie = await asyncio.to_thread(server.new_session)
        for origin in ("http://evil.example", "null", f"http://localhost:{server.port}", "http://["):
            with pytest.raises(InvalidStatus) as refused:
                async with opened(server, cookie, origin):
                    pass
            # What is no origin at all, daphne refuses before any consumer sees it.
            assert refused.value.response.status_code in ((400, 403) if "[" in origin else (403,))
        for good in (None, server.url):
            async with opened(server, cookie, good) as socket:
                assert (await ask(socket, type="ping"))["type"] == "pong"
                await socket.send(b"bytes")
                assert (await hear(socket))["code"] == "bad_frame"
                await socket.send(" " * (256 * 1024 + 1))
                assert (await hear(socket))["code"] == "too_large"
                assert (await save(socket, a=1))["type"] == "stash.saved"
        async with opened(server, None) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4401
        for _ in range(10):  # clients that hang up without a word while they are answered
            async with opened(server, cookie) as socket:
                for number in range(20):
                    await socket.send(json.dumps({"type": "stash.save", "view": NOTE, "changes": {"n": number}}))
                socket.transport.abort()
        async with opened(server, cookie) as socket:
            assert (await save(socket, a=2))["type"] == "stash.saved"
        assert "Traceback" not in server.log


class Person:
    """Somebody with a browser, who logs in and out through the admin's pages."""

    def __init__(self) -> None:
        self.cookies = http.cookiejar.CookieJar()
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def post(self, server: LiveServer, path: str, **fields: str) -> int:
        with self._browser.open(f"{server.url}/admin/login/", timeout=DEADLINE):
            token = next(cookie.value for cookie in self.cookies if cookie.name == "csrftoken")
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token or "", **fields}).encode()
        with self._browser.open(f"{server.url}{path}", body, timeout=DEADLINE) as response:
            status: int = response.status
            return status

    @property
    def cookie(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)


@pytest.mark.parametrize("layer", LAYERS)
async def test_workers_hear_of_each_others_saves_logins_and_logouts(layer: str) -> None:
    url = redis_url()
    if url is None:
        pytest.skip("no Valkey here")
    env = {"DJANGO_SETTINGS_MODULE": "tests.live_settings", "TEST_LIVE_LAYER": layer, "TEST_REDIS_URL": url}
    one = LiveServer("daphne", env=env)
    two = LiveServer("uvicorn", env=env, database=one.database)
    one.make_user("ada")
    with contextlib.ExitStack() as stack:
        await asyncio.gather(*[asyncio.to_thread(stack.enter_context, server) for server in (one, two)])
        person = Person()
        fields = {"username": "ada", "password": PASSWORD, "next": "/syncsessions/stash/?token"}
        await asyncio.to_thread(lambda: person.post(one, "/admin/login/", **fields))
        async with opened(one, person.cookie) as here, opened(two, person.cookie) as there:
            for socket in (here, there):
                await ask(socket, type="stash.subscribe", views=[{"view": NOTE, "vsn": 1}])
            assert (await save(here, a=1))["type"] == "stash.saved"
            assert (await hear(there))["data"] == {"a": 1}
            assert (await save(there, b=1))["type"] == "stash.saved"
            assert (await hear(here))["data"] == {"a": 1, "b": 1}
            await asyncio.to_thread(lambda: person.post(one, "/admin/logout/"))
            for socket in (here, there):
                with pytest.raises(ConnectionClosed) as closed:
                    await asyncio.wait_for(socket.recv(), 10)  # far sooner than the beat, which is every 30 s
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4401
        with contextlib.closing(sqlite3.connect(one.database)) as database:
            assert database.execute("SELECT count(*) FROM syncsessions_stashslice").fetchone() == (0,)
