"""The doorbell: rung after commit only, never waited for, merged where it can be, by any process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, channel_layers, get_channel_layer
from django.db import transaction

from syncsessions import doorbell
from syncsessions.signals import doorbell_rung
from syncsessions.stash import StashSession
from tests.servers import redis_url
from tests.sockets import DEADLINE

on_sqlite = [pytest.mark.parametrize("database", ["default"], indirect=True), pytest.mark.usefixtures("database")]


class Recorder:
    """A layer of no loop in particular that keeps what it is sent; `gate` holds it up, `error` makes it refuse."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.asked = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        error = self.error
        self.asked.release()
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        if error:
            raise error
        self.sent.append((group, message))

    def wait_for(self, count: int) -> list[Any]:
        ends = time.monotonic() + DEADLINE
        while len(self.sent) < count:
            assert time.monotonic() < ends, f"only {self.sent}"
            time.sleep(0.001)
        return [message for _group, message in self.sent]


@pytest.fixture
def layer() -> Iterator[Recorder]:
    recorder = Recorder()
    former = channel_layers.set("default", recorder)
    yield recorder
    recorder.gate.set()
    if former is None:
        channel_layers.backends.pop("default", None)
    else:
        channel_layers.set("default", former)


def ring(number: int, bell: object = None, group: str = "group") -> None:
    doorbell.ring(group, {"type": "test", "number": number}, bell=bell)


def numbers(messages: list[Any]) -> list[int]:
    return [message["number"] for message in messages]


def test_rings_arrive_in_order(layer: Recorder) -> None:
    for number in range(20):
        ring(number, bell=number)
    assert numbers(layer.wait_for(20)) == list(range(20))


def test_a_ring_that_waits_is_replaced_by_the_next_of_its_bell(layer: Recorder) -> None:
    layer.gate.clear()
    ring(0, bell="first")
    assert layer.asked.acquire(timeout=DEADLINE)
    for number in range(1, 100):
        ring(number, bell="same")
    ring(100, bell="other")
    ring(101, bell="same", group="another")
    layer.gate.set()
    assert numbers(layer.wait_for(4)) == [0, 99, 100, 101]


def test_it_does_not_wait_for_a_layer_that_hangs(layer: Recorder, monkeypatch: Any) -> None:
    monkeypatch.setattr(doorbell, "SEND_TIMEOUT", 0.05)
    layer.gate.clear()
    started = time.monotonic()
    ring(1, bell=1)
    assert time.monotonic() - started < 1
    assert layer.asked.acquire(timeout=DEADLINE)
    ring(2, bell=2)
    assert layer.asked.acquire(timeout=DEADLINE), "the first was not given up"
    layer.gate.set()
    assert numbers(layer.wait_for(1)) == [2]


def test_a_layer_that_refuses_is_logged_and_forgotten(layer: Recorder, caplog: Any) -> None:
    layer.error = ConnectionError("refused")
    ring(1)
    assert layer.asked.acquire(timeout=DEADLINE)
    layer.error = None
    ring(2, bell="next")
    assert numbers(layer.wait_for(1))[-1] == 2
    assert "refused" in caplog.text


def test_a_layer_that_cannot_be_made_raises_nothing(settings: Any, caplog: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "nowhere.Layer"}}
    ring(1)
    assert "could not be rung" in caplog.text


def test_without_a_layer_nothing_happens(settings: Any, caplog: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    ring(1)
    assert not caplog.records


def test_no_more_wait_than_a_bound(layer: Recorder, monkeypatch: Any) -> None:
    monkeypatch.setattr(doorbell, "MOST_WAITING", 3)
    layer.gate.clear()
    ring(0, bell=0)
    assert layer.asked.acquire(timeout=DEADLINE)
    for number in range(1, 50):
        ring(number, bell=number)
    ring(51, bell=1)
    layer.gate.set()
    assert numbers(layer.wait_for(4)) == [0, 51, 2, 3]


def test_its_receivers_are_told(layer: Recorder) -> None:
    told = threading.Event()

    def note(group: str, **kwargs: Any) -> None:
        assert group == "group"
        told.set()

    doorbell_rung.connect(note)
    try:
        ring(1)
        assert told.wait(DEADLINE)
    finally:
        doorbell_rung.disconnect(note)


def test_from_inside_a_running_loop_too(layer: Recorder) -> None:
    async def within() -> None:
        ring(1)

    async_to_sync(within)()
    assert numbers(layer.wait_for(1)) == [1]


def test_a_forked_child_rings_too(layer: Recorder) -> None:
    ring(1)
    layer.wait_for(1)
    child = os.fork()  # the loop's thread stays behind in the parent
    if child == 0:
        status = 1
        try:
            ring(2, bell="child")
            layer.wait_for(2)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_forked_while_another_thread_had_the_lock_rings_too(layer: Recorder) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with doorbell._lock:
            held.set()
            done.wait(DEADLINE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(DEADLINE)
    child = os.fork()
    if child == 0:
        rung = threading.Event()
        threading.Thread(target=lambda: (ring(1), rung.set()), daemon=True).start()
        os._exit(0 if rung.wait(DEADLINE / 2) and layer.wait_for(1) else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class CountingMemoryLayer(InMemoryChannelLayer):
    sent = 0

    async def group_send(self, group: str, message: Any) -> None:
        self.sent += 1
        await super().group_send(group, message)


async def test_in_memory_it_rings_the_loop_that_listens(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.CountingMemoryLayer"}}
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("group", channel)
    await asyncio.to_thread(ring, 1)
    doorbell.listen()
    await asyncio.to_thread(ring, 2)
    message = await asyncio.wait_for(layer.receive(channel), DEADLINE)
    assert (message["number"], layer.sent) == (2, 1), "the first had nobody to hear it"


async def test_rings_reach_another_loop_through_a_real_server(settings: Any) -> None:
    url = redis_url()
    if url is None:
        pytest.skip("no Valkey here")
    config = {"hosts": [{"address": url, "socket_timeout": None}]}
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    layer, group = get_channel_layer(), f"doorbell.{os.getpid()}"
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    await asyncio.to_thread(ring, 7, None, group)
    assert (await asyncio.wait_for(layer.receive(channel), DEADLINE))["number"] == 7
    await layer.flush()


class TestAfterCommit:
    pytestmark = on_sqlite

    def test_a_write_rings_when_it_is_committed(self, layer: Recorder, session_id: str) -> None:
        stash = StashSession(session_id)
        with transaction.atomic():
            stash.merge("shop", {"a": 1})
            stash.merge("other", {"a": 1})
            ring(0, bell="marker")
            assert numbers(layer.wait_for(1)) == [0], "the marker overtakes what is not committed yet"
        messages = layer.wait_for(3)[1:]
        assert [(message["view"], message["revision"]) for message in messages] == [("shop", 1), ("other", 1)]

    def test_what_is_rolled_back_never_rings(self, layer: Recorder, session_id: str) -> None:
        stash = StashSession(session_id)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            stash.merge("shop", {"a": 1})
            raise ZeroDivisionError
        ring(0)
        assert numbers(layer.wait_for(1)) == [0]

    def test_a_write_succeeds_whatever_the_layer_does(self, layer: Recorder, session_id: str) -> None:
        layer.error = RuntimeError("refused")
        stash = StashSession(session_id)
        assert stash.merge("shop", {"a": 1}) == 1
        assert layer.asked.acquire(timeout=DEADLINE)
        layer.gate.clear()
        started = time.monotonic()
        assert stash.merge("shop", {"a": 2}) == 2
        assert time.monotonic() - started < 1
        stash.destroy()
