"""`ProcessConsumerMixin` in a project's own consumer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.testing import WebsocketCommunicator

from syncsessions.consumers import ProcessConsumerMixin, SessionProcessConsumer, SyncSessionConsumer
from syncsessions.exceptions import SyncSessionsError
from syncsessions.processes import Reducer, SessionProcess, action, registry
from syncsessions.processes import process as process_module
from tests.processes import nothing_goes_on
from tests.stores import configuration

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("error")]

PATIENCE = 10  # seconds


class Counter(Reducer):
    name = "count"
    initial_state = 0

    @action
    def add(self, state: int, by: int) -> int:
        return state + by


class Clicks(SessionProcess):
    reducers = [Counter]

    def init(self, args: Any) -> Any:
        return {"args": args}


class ClicksConsumer(ProcessConsumerMixin, AsyncJsonWebsocketConsumer):
    """Does what its frames say."""

    process_class = Clicks
    selectors: ClassVar[Any] = {"count": lambda state: state["count"], "broken": lambda state: state["nowhere"]}
    start_rate = "3/m"

    async def connect(self) -> None:
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        try:
            if content == "mount":
                answer: Any = await self.mount_session({"from": "mount"})
            elif content == "unmount":
                answer = await self.unmount_session()
            else:
                answer = await self.dispatch_async("count.add", content)
        except SyncSessionsError as error:
            answer = error.code
        await self.send_json({"answer": answer})

    async def session_changed(self, values: Any) -> None:
        await self.send_json({"changed": values})
        if values["count"] == 13:
            raise RuntimeError("bad luck")
        if values["count"] == 99:
            await self.unmount_session()

    async def session_stopped(self, reason: str) -> None:
        await self.send_json({"stopped": reason})


@pytest.fixture(autouse=True, params=["memory", "redis"])
def store(request: Any, settings: Any) -> Iterator[str]:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "STORES": {"default": configuration(request.param)}}
    with nothing_goes_on():
        yield request.param


@asynccontextmanager
async def socket_of(session_id: str | None) -> AsyncIterator[WebsocketCommunicator]:
    socket = WebsocketCommunicator(ClicksConsumer.as_asgi(), "/ws/")
    socket.scope["session_id"] = session_id
    socket.scope["client"] = (f"192.0.2.{len(session_id or '')}", 1)
    assert (await socket.connect(timeout=PATIENCE))[0]
    yield socket
    await socket.disconnect(timeout=PATIENCE)


async def ask(socket: WebsocketCommunicator, what: Any) -> Any:
    await socket.send_json_to(what)
    return (await hear(socket))["answer"]


async def hear(socket: WebsocketCommunicator) -> Any:
    return await socket.receive_json_from(timeout=PATIENCE)


async def test_mount_change_dispatch_stop_and_mount_again(session_id: str) -> None:
    async with socket_of(session_id) as socket:
        assert await ask(socket, 1) == "session_not_found"
        assert await ask(socket, "mount") == {"count": 0}
        session = await Clicks.aget(session_id)
        assert (await session.astate())["args"] == {"from": "mount"}
        await session.adispatch("count.add", 5)
        assert await hear(socket) == {"changed": {"count": 5}}
        await socket.send_json_to(2)
        heard = [await hear(socket), await hear(socket)]
        assert {"answer": 2} in heard
        assert {"changed": {"count": 7}} in heard
        await session.aterminate()
        assert await hear(socket) == {"stopped": "terminated"}
        assert await ask(socket, 1) == "session_not_found"
        assert await ask(socket, "mount") == {"count": 0}


async def test_a_change_by_another_worker(session_id: str, store: str) -> None:
    async with socket_of(session_id) as socket:
        await ask(socket, "mount")
        if store != "memory":
            process_module._sessions.clear()
            registry.local.clear()
        await (await Clicks.aget(session_id)).adispatch("count.add", 1)
        assert await hear(socket) == {"changed": {"count": 1}}


async def test_unmounted_it_hears_nothing_and_the_session_lives(session_id: str) -> None:
    async with socket_of(session_id) as socket:
        await ask(socket, "mount")
        assert await ask(socket, "mount") == {"count": 0}  # again: one of them is enough
        session = await Clicks.aget(session_id)
        await session.adispatch("count.add", 1)
        assert await hear(socket) == {"changed": {"count": 1}}
        assert await ask(socket, "unmount") is None
        await session.adispatch("count.add", 1)
        assert await socket.receive_nothing(timeout=0.2)
        assert session.key not in registry.local


async def test_a_handler_that_raises_or_unmounts(session_id: str, caplog: Any) -> None:
    async with socket_of(session_id) as socket:
        await ask(socket, "mount")
        session = await Clicks.aget(session_id)
        await session.adispatch("count.add", 13)
        assert await hear(socket) == {"changed": {"count": 13}}
        await session.adispatch("count.add", 86)
        assert await hear(socket) == {"changed": {"count": 99}}
        await session.adispatch("count.add", 1)
        await session.aterminate()
        assert await socket.receive_nothing(timeout=0.2)
    assert "bad luck" in caplog.text


async def test_a_socket_that_is_gone_leaves_nothing_behind(session_id: str) -> None:
    before = len(asyncio.all_tasks())
    async with socket_of(session_id) as socket:
        await ask(socket, "mount")
    assert len(asyncio.all_tasks()) == before
    assert not (await Clicks.aget(session_id))._watches


async def test_no_session_and_too_many(session_id: str) -> None:
    async with socket_of(None) as socket:
        assert await ask(socket, "mount") == "not_allowed"
    for _number in range(3):
        async with socket_of(session_id) as socket:
            await ask(socket, "mount")
        await (await Clicks.aget(session_id)).aterminate()
    async with socket_of(session_id) as socket:
        assert await ask(socket, "mount") == "rate_limited"


def test_the_consumers_are_found_by_name() -> None:
    from syncsessions import consumers
    from syncsessions.consumers.session_process import SessionProcessConsumer as Same
    from syncsessions.consumers.sync_session import SyncSessionConsumer as SameSync

    assert (SessionProcessConsumer, SyncSessionConsumer) == (Same, SameSync)
    for name in consumers.__all__:
        assert getattr(consumers, name).__name__ == name
    with pytest.raises(AttributeError):
        consumers.Nothing  # noqa: B018
