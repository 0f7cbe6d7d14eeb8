"""`StashConsumerMixin` in a project's own consumer, over channels' communicator and the in-memory layer."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.db import connections
from django.test.utils import CaptureQueriesContext

from syncsessions.stash import RECONNECT, SESSION, StashConsumerMixin, StashSession, ViewStash, announce, knowledge
from syncsessions.stash.owners import owner_of_session
from tests.routers import StashRouter

pytestmark = pytest.mark.usefixtures("database")

PATIENCE = 10  # seconds


class ChatStash(ViewStash):
    view = "tests.chat"
    keys = {"room": SESSION, "size": SESSION, "draft": RECONNECT}


class ChatConsumer(StashConsumerMixin, AsyncJsonWebsocketConsumer):
    """Does what its frames say, and counts the statements of each."""

    stash_class = ChatStash

    def get_stash_tab(self) -> str | None:
        return "tab-1"

    async def connect(self) -> None:
        await self.accept()
        status, values = await self.recover_stash(reconnected=True)
        await self.send_json({"recovered": status, "values": values})

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        if "save" in content:
            done, statements = await counted(self.save_stash(content["save"]))
        elif "reset" in content:
            done, statements = await counted(self.reset_stash())
        else:
            done, statements = None, 0
        await self.send_json({"done": done, "statements": statements})

    async def stash_changed(self, values: dict[str, Any]) -> None:
        await self.send_json({"changed": values})


async def counted(work: Any) -> tuple[Any, int]:
    """The result, and how many statements it sent from the thread that async code does its queries in."""

    def start() -> CaptureQueriesContext:
        connections[StashRouter.alias].ensure_connection()
        context = CaptureQueriesContext(connections[StashRouter.alias])
        context.__enter__()
        return context

    def stop(context: CaptureQueriesContext) -> int:
        context.__exit__(None, None, None)
        return len(context.captured_queries)

    context = await sync_to_async(start)()
    result = await work
    return result, await sync_to_async(stop)(context)


@pytest.fixture(autouse=True)
def known_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge, "KNOWN_FOR", 600.0)


@asynccontextmanager
async def chat(session_id: str | None) -> AsyncIterator[WebsocketCommunicator]:
    socket = WebsocketCommunicator(ChatConsumer.as_asgi(), "/")
    socket.scope["session_id"] = session_id
    accepted, _ = await socket.connect(PATIENCE)
    assert accepted
    try:
        yield socket
    finally:
        await socket.disconnect(timeout=PATIENCE)


async def told(socket: WebsocketCommunicator) -> Any:
    return await socket.receive_json_from(PATIENCE)


async def ask(socket: WebsocketCommunicator, **frame: Any) -> Any:
    await socket.send_json_to(frame)
    return await told(socket)


async def test_it_recovers_and_saves(session_id: str) -> None:
    async with chat(session_id) as socket:
        assert await told(socket) == {"recovered": "not_found", "values": {}}
        assert (await ask(socket, save={"room": "a", "draft": "Dear"}))["done"] is True
    async with chat(session_id) as socket:
        assert await told(socket) == {"recovered": "recovered", "values": {"room": "a", "draft": "Dear"}}
    assert await StashSession(session_id).aget_view(ChatStash.view) == {"room": "a"}


async def test_it_hears_what_others_write(session_id: str) -> None:
    other = StashSession(session_id)
    async with chat(session_id) as socket:
        await told(socket)
        await other.amerge(ChatStash.view, {"room": "b", "undeclared": 1})
        assert await told(socket) == {"changed": {"room": "b"}}
        await other.amerge(ChatStash.view, {"draft": "theirs"}, tab="tab-1")
        assert await told(socket) == {"changed": {"room": "b", "draft": "theirs"}}
        await other.adrop(ChatStash.view, ["room"])
        assert await told(socket) == {"changed": {"draft": "theirs"}}
        await other.areset_view(ChatStash.view)
        assert await told(socket) == {"changed": {}}


async def test_it_does_not_hear_of_other_views_tabs_versions_and_sessions(session_id: str) -> None:
    async with chat(session_id) as socket:
        await told(socket)
        other = StashSession(session_id)
        await other.amerge("tests.elsewhere", {"room": "x"})
        await other.amerge(ChatStash.view, {"draft": "x"}, tab="tab-2")
        await other.amerge(ChatStash.view, {"room": "x"}, vsn=2)
        await StashSession(f"{session_id}x").amerge(ChatStash.view, {"room": "x"})
        await other.amerge(ChatStash.view, {"room": "mine"})
        assert await told(socket) == {"changed": {"room": "mine"}}


async def test_it_is_not_told_its_own_writes(session_id: str) -> None:
    async with chat(session_id) as socket:
        await told(socket)
        for count in range(3):
            assert (await ask(socket, save={"room": count, "draft": count}))["done"] is True
        assert (await ask(socket, reset=True))["done"] is True
        assert await socket.receive_nothing(0.2)
        await StashSession(session_id).amerge(ChatStash.view, {"room": "theirs"})
        assert await told(socket) == {"changed": {"room": "theirs"}}


async def test_a_return_to_an_earlier_value_is_told(session_id: str) -> None:
    """What counts is what the socket's page has now, not what was recovered once."""
    other = StashSession(session_id)
    await other.amerge(ChatStash.view, {"room": "first"})
    async with chat(session_id) as socket:
        assert (await told(socket))["values"] == {"room": "first"}
        await ask(socket, save={"room": "second"})
        await other.amerge(ChatStash.view, {"room": "first"})
        assert await told(socket) == {"changed": {"room": "first"}}


@pytest.mark.parametrize("database", ["default", "postgresql"], indirect=True, ids=["sqlite", "postgresql"])
async def test_an_unchanged_save_is_no_statement_until_another_writes(session_id: str) -> None:
    async with chat(session_id) as socket:
        await told(socket)
        assert await ask(socket, save={"room": "a"}) == {"done": True, "statements": 1}
        for _ in range(3):
            assert await ask(socket, save={"room": "a"}) == {"done": True, "statements": 0}
        await StashSession(session_id).amerge(ChatStash.view, {"room": "b"})
        assert await told(socket) == {"changed": {"room": "b"}}
        assert await ask(socket, save={"room": "b"}) == {"done": True, "statements": 0}
        assert await ask(socket, save={"room": "a"}) == {"done": True, "statements": 1}
        await StashSession(session_id).amerge(ChatStash.view, {"size": 1})
        assert await told(socket) == {"changed": {"room": "a", "size": 1}}
        assert await ask(socket, save={"room": "a", "size": 1}) == {"done": True, "statements": 0}


async def test_two_sockets_hear_each_other(session_id: str) -> None:
    async with chat(session_id) as one, chat(session_id) as two:
        await told(one)
        await told(two)
        await ask(one, save={"room": "one"})
        assert await told(two) == {"changed": {"room": "one"}}
        await ask(two, save={"room": "two"})
        assert await told(one) == {"changed": {"room": "two"}}


async def test_a_socket_without_a_session_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with chat(None) as socket:
        assert await told(socket) == {"recovered": "not_found", "values": {}}
        assert await ask(socket, nothing=1) == {"done": None, "statements": 0}


async def test_a_store_that_fails_does_not_end_the_socket(
    session_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**connections["default"].settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": "/no/such/db"}
    monkeypatch.setitem(connections.settings, "dead", settings)
    async with chat(session_id) as socket:
        await told(socket)
        alias = StashRouter.alias
        await ask(socket, save={"room": "a"})
        with caplog.at_level(logging.ERROR, "syncsessions"):
            StashRouter.alias = "dead"
            monkeypatch.setattr(f"{__name__}.counted", uncounted)
            try:
                assert (await ask(socket, save={"room": "b"}))["done"] is False
                assert (await ask(socket, reset=True))["done"] is False
            finally:
                StashRouter.alias = alias
        assert "did not take a write" in caplog.text
        assert (await ask(socket, save={"room": "b"}))["done"] is True
    assert await StashSession(session_id).aget_view(ChatStash.view) == {"room": "b"}


async def uncounted(work: Any) -> tuple[Any, int]:
    return await work, 0


async def test_a_layer_that_fails_leaves_the_rest(
    session_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: object, *arguments: object) -> None:
        raise ConnectionError("the layer is gone")

    monkeypatch.setattr("channels.layers.InMemoryChannelLayer.group_add", fail)
    async with chat(session_id) as socket:
        assert await told(socket) == {"recovered": "not_found", "values": {}}
        assert (await ask(socket, save={"room": "a"}))["done"] is True
    assert "not live" in caplog.text


async def test_it_leaves_its_group(session_id: str) -> None:
    group, groups = announce.group(owner_of_session(session_id)), get_channel_layer().groups
    async with chat(session_id) as socket:
        await told(socket)
        assert groups[group]
    assert not groups.get(group)
