"""Open pages for the tests: sockets through the whole ASGI stack, with real Django sessions behind their cookies."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import re_path

from syncsessions.consumers.base import BaseConsumer
from syncsessions.consumers.stash import StashConsumer
from syncsessions.middleware import SessionIdScopeMiddleware
from syncsessions.stash import RECONNECT, SESSION, StashSession, ViewStash
from syncsessions.stash.models import StashSlice

DEADLINE = 10.0  # seconds that a test waits for what must come

Frame = dict[str, Any]
NOTE = "demo.note"
"""A view that the project lists in STASH_CLIENT_VIEWS."""


class MixedStash(ViewStash):
    view = "tests.socket.mixed"
    vsn = 2
    keys = {"theme": SESSION, "draft": RECONNECT, "secret": SESSION, "scratch": RECONNECT}
    client_keys = ["theme", "draft"]


class ServerStash(ViewStash):
    view = "tests.socket.server"
    keys = ["anything"]


class PersonStash(ViewStash):
    view = "tests.socket.person"
    keys = ["colour"]
    client_keys = "__all__"
    owner = "user"


class MovedStash(ViewStash):
    view = "tests.socket.moved"
    vsn = 2
    keys = ["name"]
    client_keys = "__all__"

    def migrate(self, old_vsn: int, data: dict[str, Any]) -> dict[str, Any]:
        return {"name": f"{data['first']} {data['last']}"}


MIXED, PERSON, MOVED = MixedStash.view, PersonStash.view, MovedStash.view


def application(consumer: type[BaseConsumer] = StashConsumer) -> Any:
    return AuthMiddlewareStack(SessionIdScopeMiddleware(URLRouter([re_path("^ws/", consumer.as_asgi())])))


@database_sync_to_async
def new_session(user: Any = None) -> str:
    """The key of a new browser session, of a user who is logged in there if one is given."""
    if user is not None:
        client = Client()
        client.force_login(user)
        key = client.session.session_key
    else:
        session = SessionStore()
        session["visited"] = True
        session.create()
        key = session.session_key
    assert key is not None
    return key


def stash_of(key: str) -> StashSession:
    """The stash of the browser session with this key, as the server's own code has it. Call it from a thread."""
    return StashSession.for_scope({"session": SessionStore(key)})


@database_sync_to_async
def in_thread(work: Callable[[], Any]) -> Any:
    return work()


def slices(key: str, view: str) -> dict[str, Any]:
    """All that is stored for a view, by tab and vsn, read from the table itself."""
    owner = stash_of(key).peek()
    assert owner is not None
    rows = StashSlice.objects.filter(owner=owner.hash, view=view)
    return {(row.tab, row.vsn): row.data for row in rows}


class Page:
    """A page's socket: `async with Page(session_key) as page`."""

    def __init__(
        self,
        key: str | None,
        consumer: type[BaseConsumer] = StashConsumer,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        client: tuple[str, int] | None = None,
    ) -> None:
        cookie = [(b"cookie", f"sessionid={key}".encode())] if key else []
        given = [(b"host", b"testserver"), *cookie, *headers]
        self.socket = WebsocketCommunicator(application(consumer), "/ws/", headers=given)
        if client is not None:
            self.socket.scope["client"] = client
        self._refs = count(1)
        self._pushed: list[Frame] = []

    async def __aenter__(self) -> Page:
        accepted, _code = await self.socket.connect(timeout=DEADLINE)
        assert accepted
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.socket.disconnect(timeout=DEADLINE)

    async def say(self, **frame: Any) -> None:
        await self.socket.send_to(text_data=json.dumps(frame))

    async def ask(self, **frame: Any) -> Frame:
        """Send a frame; the answer with its ref. What comes before it is kept for `hear`."""
        ref = frame.setdefault("ref", next(self._refs))
        await self.say(**frame)
        while True:
            answer = await self._next()
            if answer.get("ref") == ref:
                return answer
            self._pushed.append(answer)

    async def subscribe(self, *views: Frame) -> list[Frame]:
        """All the answers to a subscribe, `stash.subscribed` the last."""
        await self.say(type="stash.subscribe", views=list(views), ref="subscribe")
        answers = [await self._next()]
        while answers[-1]["type"] != "stash.subscribed":
            answers.append(await self._next())
        assert answers[-1]["ref"] == "subscribe"
        return answers

    async def save(self, view: str, changes: Frame, **more: Any) -> Frame:
        return await self.ask(type="stash.save", view=view, vsn=more.pop("vsn", 1), changes=changes, **more)

    async def hear(self, expected: str | None = None) -> Frame:
        """The next frame that comes unasked."""
        frame = self._pushed.pop(0) if self._pushed else await self._next()
        assert expected is None or frame["type"] == expected, frame
        return frame

    async def hear_within(self, seconds: float) -> Frame:
        """`hear`, but a TimeoutError where nothing comes; the socket stays open."""
        if not self._pushed and await self.socket.receive_nothing(timeout=seconds, interval=0.01):
            raise TimeoutError
        return await self.hear()

    async def heard_nothing(self) -> bool:
        """Whether nothing has come unasked up to now: the answer to a ping is the first thing there is."""
        assert (await self.ask(type="ping"))["type"] == "pong"
        return not self._pushed

    async def close_code(self) -> int:
        """The code with which the server closes the socket, whatever it says before."""
        while True:
            output = await self.socket.receive_output(timeout=DEADLINE)
            if output["type"] == "websocket.close":
                code: int = output["code"]
                return code

    async def _next(self) -> Frame:
        frame: Frame = await self.socket.receive_json_from(timeout=DEADLINE)
        return frame


async def until(condition: Callable[[], Awaitable[bool]], deadline: float = DEADLINE) -> None:
    """Wait until the condition holds."""
    ends = time.monotonic() + deadline
    while not await condition():
        assert time.monotonic() < ends, "it never came true"
        await asyncio.sleep(0.02)
