"""The memory store: what only it promises."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from syncsessions.exceptions import RateLimited
from syncsessions.stores.memory import MemoryStore, store
from syncsessions.stores.memory.space import SPARE
from tests.stores import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(store, "clock", clock)
    yield clock


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore("default", {})


def queue(memory: MemoryStore) -> int:
    return len(memory._spaces["n"]._queue)


def test_the_moment_itself_is_past(memory: MemoryStore, clock: Clock) -> None:
    memory.create("n", "a", {}, ttl=10)
    memory.hit("k", "1/s")
    clock.now += 9.5
    assert memory.count("n") == 1
    clock.now += 0.5
    assert memory.count("n") == 0
    clock.now += 1
    memory.hit("k", "1/s")
    clock.now += 0.75
    with pytest.raises(RateLimited) as caught:
        memory.hit("k", "1/s")
    assert caught.value.retry_after == 0.25
    clock.now += caught.value.retry_after
    memory.hit("k", "1/s")


def test_two_rates_of_one_key_keep_the_longer_window(memory: MemoryStore, clock: Clock) -> None:
    for _ in range(3):
        memory.hit("k", "3/h")
        clock.now += 1
        memory.hit("other", "1/s")
    memory.hit("k", "1/s")
    with pytest.raises(RateLimited) as caught:
        memory.hit("k", "4/h")
    assert caught.value.retry_after == 3600 - 3
    clock.now += 1
    memory.hit("k", "1/s")


def test_come_and_gone_leaves_nothing_in_the_queue(memory: MemoryStore) -> None:
    for number in range(5000):
        memory.create("n", str(number), {"k": number}, ttl=3600)
        memory.delete("n", str(number))
    assert queue(memory) <= 2 * SPARE


def test_touched_for_ever_takes_one_place(memory: MemoryStore, clock: Clock) -> None:
    memory.create("n", "a", {}, ttl=30)
    for _ in range(1000):
        clock.now += 10
        memory.touch("n", "a", 30)
        memory.count("n")
    assert queue(memory) == 1
    for ttl in range(5000, 0, -1):
        memory.touch("n", "a", ttl)
    assert queue(memory) <= 2 * SPARE
    clock.now += 1
    assert [record.id for record in memory.expire("n")] == ["a"]
    clock.now += 5000
    assert memory.expire("n") == []
    assert queue(memory) == 0


def test_windows_that_matter_no_more_do_not_pile_up(memory: MemoryStore, clock: Clock) -> None:
    memory.hit("long", "1/h")
    for number in range(20_000):
        memory.hit(str(number), "10/s")
        clock.now += 0.1
    assert len(memory._windows) <= store.FEW
    with pytest.raises(RateLimited):
        memory.hit("long", "1/h")


def test_namespaces_that_are_empty_do_not_pile_up(memory: MemoryStore, clock: Clock) -> None:
    memory.create("kept", "a", {}, ttl=1, rate="1/h")
    memory.create("live", "a", {}, ttl=86_400)
    memory.create("rate", "a", {}, ttl=1, rate="1/h")
    memory.delete("rate", "a")
    clock.now += 1
    for number in range(5000):
        memory.create(str(number), "a", {}, ttl=1)
        memory.delete(str(number), "a")
    assert len(memory._spaces) <= store.FEW
    assert len(memory.expire("kept")) == 1
    assert memory.count("live") == 1
    with pytest.raises(RateLimited):
        memory.create("rate", "a", {}, ttl=1, rate="1/h")


def test_readers_of_what_is_not_there_leave_nothing(memory: MemoryStore) -> None:
    for number in range(10):
        assert memory.count(str(number)) == 0
        assert memory.list(str(number)) == memory.expire(str(number)) == []
        memory.unhit(str(number), "token")
    assert not memory._spaces
    assert not memory._windows


def test_a_record_takes_little_memory(memory: MemoryStore) -> None:
    many = 10_000
    tracemalloc.start()
    try:
        for number in range(many):
            memory.create("n", f"id-{number}", {"k": number}, ttl=3600, limit=many)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / many < 1024


def test_the_async_form_waits_for_no_thread(memory: MemoryStore) -> None:
    before = threading.active_count()

    async def use() -> None:
        await memory.acreate("n", "a", {}, ttl=60)
        await memory.aget("n", "a")

    steps = use()
    with pytest.raises(StopIteration):
        steps.send(None)
    assert threading.active_count() == before
    asyncio.run(memory.adelete("n", "a"))


FORK = """
import os, threading
from syncsessions.stores.memory import MemoryStore
memory, stop = MemoryStore("default", {}), threading.Event()
def use():
    while not stop.is_set():
        memory.count("n")
thread = threading.Thread(target=use)
thread.start()
for _ in range(30):
    child = os.fork()
    if not child:
        memory.create("n", "a", {}, ttl=60)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print(memory.count("n"))
"""


def test_a_forked_process_finds_it_unlocked() -> None:
    told = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout == "0\n"
