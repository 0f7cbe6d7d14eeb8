"""The connections of a RedisStore: shared by threads, not by processes, and gone with the loop that opened them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from syncsessions.exceptions import AlreadyExists, StoreUnavailable
from syncsessions.stores.redis import RedisStore
from tests.stores import PATIENCE
from tests.valkey import Valkey, _own_valkey, valkey  # noqa: F401 - fixtures


def made(url: str, **options: Any) -> RedisStore:
    return RedisStore("default", {"LOCATION": url, "OPTIONS": options})


def settled(look: Callable[[], bool]) -> None:
    """The server hears of a closed connection a moment later."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_loops_that_end_leave_no_connection(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url)
    store.create("n", "id", {}, ttl=60)
    for _ in range(50):
        assert async_to_sync(store.aget)("n", "id").revision == 1
    settled(lambda: valkey.connections() == 1)  # the threads' one
    store.close()
    settled(lambda: valkey.connections() == 0)
    gc.collect()  # an unclosed one would warn now


def test_a_loop_that_ends_amid_calls_leaves_no_connection(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url)

    async def leave() -> None:
        await store.aping()
        tasks = [asyncio.create_task(store.alist("n")) for _ in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    for _ in range(5):
        asyncio.run(leave())
    settled(lambda: valkey.connections() == 0)
    gc.collect()


def test_a_store_that_is_dropped_before_its_loop_ends_leaves_no_connection(valkey: Valkey) -> None:  # noqa: F811
    with asyncio.Runner() as runner:
        store = made(valkey.url)
        runner.run(store.aping())
        store.close()  # not while its loop rests
        del store
        gc.collect()
        assert valkey.connections() == 1
    settled(lambda: valkey.connections() == 0)
    gc.collect()


async def test_the_end_of_what_was_closed_leaves_what_came_after_it(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url)
    await store.aping()
    (first,) = store._clients[1]._clients.values()
    store.close()
    await store.aping()
    await first.ending.aclose()
    await store.aping()
    assert valkey.connections() == 1
    store.close()


def test_a_loop_shares_its_connections_among_its_tasks(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url, max_connections=3)

    async def ask() -> int:
        await asyncio.gather(*(store.aping() for _ in range(30)))
        return valkey.connections()

    assert asyncio.run(ask()) == 3


async def test_closed_from_its_own_loop_it_goes_on_with_new_connections(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url)
    await asyncio.gather(*(store.aping() for _ in range(3)))
    before = valkey.connections()
    store.close()
    deadline = time.monotonic() + PATIENCE
    while valkey.connections():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert before == 3
    await store.aping()
    assert valkey.connections() == 1
    store.close()


async def test_a_cancelled_call_leaves_its_answer_to_nobody(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url, max_connections=2)
    for number in range(9):
        await store.acreate("n", str(number), {"number": number}, ttl=60)
    for turn in range(100):
        task = asyncio.create_task(store.acount("n"))
        for _ in range(turn % 10):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        got = await asyncio.gather(*(store.aget("n", str(number)) for number in range(3)))
        assert [record.data["number"] for record in got] == [0, 1, 2]
    assert valkey.connections() <= 2
    store.close()


async def test_more_calls_than_connections_wait_their_turn_and_no_longer_than_the_timeout(
    valkey: Valkey,  # noqa: F811
) -> None:
    store = made(valkey.url, max_connections=1, timeout=0.3)
    await asyncio.gather(*(store.acreate("n", str(number), {}, ttl=60) for number in range(50)))
    assert await store.acount("n") == 50
    valkey.freeze()
    began = time.monotonic()
    refusals = await asyncio.gather(*(store.aping() for _ in range(20)), return_exceptions=True)
    assert {type(refusal) for refusal in refusals} == {StoreUnavailable}
    assert time.monotonic() - began < 2
    valkey.thaw()
    await store.aping()
    store.close()


def _claim(store: RedisStore, number: int) -> int:
    """How many of the ids were this one's to create; half are asked for in a loop."""
    won = 0
    for name in range(50):
        create = async_to_sync(store.acreate) if (name + number) % 10 == 0 else store.create
        with suppress(AlreadyExists):
            record = create("n", str(name), {"by": number}, ttl=60)
            assert record.data == {"by": number}
            won += 1
        assert store.get("n", str(name)).id == str(name)
    return won


def test_threads_share_a_store(valkey: Valkey) -> None:  # noqa: F811
    store = made(valkey.url, max_connections=4)
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda number: _claim(store, number), range(8)))
    assert sum(won) == 50
    assert valkey.connections() <= 4
    store.close()


def _claim_and_tell(store: RedisStore, number: int, results: Any) -> None:
    results.put(_claim(store, number))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_processes_share_a_store(valkey: Valkey) -> None:  # noqa: F811
    """As under a server that loads the project and then forks: no process reads another's answers."""
    store = made(valkey.url)
    store.ping()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=_claim_and_tell, args=(store, number, results)) for number in range(3)]
    for process in processes:
        process.start()
    won = _claim(store, 3)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert won + sum(results.get() for _ in processes) == 50
    store.close()
    settled(lambda: valkey.connections() == 0)
