"""The contract of every store among rivals: processes, or threads and event loops where there is one process only."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest

from syncsessions.exceptions import RateLimited, SessionLimitReached
from syncsessions.pairing import steps
from syncsessions.stores import BaseStore
from syncsessions.stores.steps import run
from tests import workers
from tests.stores import Store, gone
from tests.workers import store_rivals
from tests.workers.store_rivals import LIMIT

RIVALS = 8

Compete = Callable[..., list[Any]]


@pytest.fixture
def compete(backend: str, params: dict[str, Any], plain_store: BaseStore, namespace: str) -> Compete:
    """Let the rivals do a work of tests/workers/store_rivals.py; what each found."""

    def in_processes(work: str, subject: str = namespace) -> list[Any]:
        told = workers.run("store_rivals", "default", json.dumps(params), work, subject, str(RIVALS))
        return [json.loads(line) for line in told.splitlines()]

    def in_threads(work: str, subject: str = namespace) -> list[Any]:
        start = threading.Barrier(RIVALS)

        def rival(number: int) -> Any:
            start.wait(30)
            return store_rivals.work(work, plain_store, subject, number, RIVALS)

        with ThreadPoolExecutor(RIVALS) as pool:
            return list(pool.map(rival, range(RIVALS)))

    return in_threads if backend == "memory" else in_processes


def test_of_1000_claims_one_wins(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    ids = ["one", *map(str, range(50))]
    for id in ids:  # noqa: A001
        plain_store.create(namespace, id, {}, ttl=600)
    won = compete("claim")
    assert len(won) == RIVALS
    assert Counter(chain.from_iterable(won)) == Counter(ids)
    for id in ids:  # noqa: A001
        record = plain_store.get(namespace, id)
        assert record.revision == 2
        assert plain_store.read_log(namespace, id) == [record.data["by"]]


def test_of_1000_who_claim_a_code_one_joins(compete: Compete, plain_store: BaseStore) -> None:
    session = run(plain_store, steps.create("send", "owner", None, None))
    (joined,) = chain.from_iterable(compete("claim_a_code", session.code))
    assert run(plain_store, steps.get(session.code)).peer == joined
    run(plain_store, steps.delete(session.code))


def test_2000_creates_within_a_limit(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    found = compete("create_within_limit")
    assert sum(created for created, _most in found) == LIMIT
    assert 0 < max(most for _created, most in found) <= LIMIT
    assert plain_store.count(namespace) == len(plain_store.list(namespace)) == LIMIT
    with pytest.raises(SessionLimitReached):
        plain_store.create(namespace, "more", {}, ttl=600, limit=LIMIT)


def test_2000_creates_within_a_rate(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    assert sum(compete("create_within_rate")) == LIMIT
    assert plain_store.count(namespace) == LIMIT
    with pytest.raises(RateLimited):
        plain_store.create(namespace, "more", {}, ttl=600, rate=f"{LIMIT}/h")


def test_who_comes_and_goes_is_never_one_too_many(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    found = compete("come_and_go")
    assert len(found) == RIVALS
    assert 1 <= max(found) <= 4
    assert plain_store.count(namespace) == 0
    for id in "abcd":  # noqa: A001
        plain_store.create(namespace, id, {}, ttl=600, limit=4)


async def test_each_expiry_is_told_once(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    store = Store(plain_store, "sync")
    ids = [str(number) for number in range(500)]
    for id in ids:  # noqa: A001
        await store.create(namespace, id, {}, ttl=0.01)
    await gone(store, namespace, ids[-1])
    found = await asyncio.to_thread(compete, "expire")
    assert sorted(chain.from_iterable(found)) == sorted(ids)
    assert await store.expire(namespace) == []


def test_hits_never_overshoot(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    assert sum(compete("hit")) == LIMIT
    with pytest.raises(RateLimited):
        plain_store.hit(namespace, f"{LIMIT}/h")


def test_hits_given_back_leave_nothing(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    assert compete("hit_and_give_back") == [0] * RIVALS
    for _ in range(RIVALS):
        plain_store.hit(namespace, f"{RIVALS}/h")
    with pytest.raises(RateLimited):
        plain_store.hit(namespace, f"{RIVALS}/h")


def test_no_acknowledged_replace_is_lost(compete: Compete, plain_store: BaseStore, namespace: str) -> None:
    plain_store.create(namespace, "sum", {"sum": 0}, ttl=600)
    assert len(compete("count_up")) == RIVALS
    record = plain_store.get(namespace, "sum")
    assert (record.data, record.revision) == ({"sum": 20 * RIVALS}, 20 * RIVALS + 1)
    assert len(plain_store.read_log(namespace, "sum")) == 100


async def test_coroutines_of_one_loop(store: Store, namespace: str) -> None:
    async def create(number: int) -> bool:
        try:
            await store.create(namespace, str(number), {}, ttl=600, limit=20)
        except SessionLimitReached:
            return False
        return True

    assert sum(await asyncio.gather(*(create(number) for number in range(200)))) == 20
    assert await store.count(namespace) == 20


def test_one_event_loop_after_another(plain_store: BaseStore, namespace: str) -> None:
    async def once(number: int) -> int:
        await plain_store.acreate(namespace, str(number), {}, ttl=600)
        return await plain_store.acount(namespace)

    assert [asyncio.run(once(number)) for number in range(3)] == [1, 2, 3]
    assert plain_store.count(namespace) == 3


def test_event_loops_beside_each_other(plain_store: BaseStore, namespace: str) -> None:
    start = threading.Barrier(4)

    async def some(number: int) -> None:
        start.wait(30)
        for each in range(20):
            await plain_store.acreate(namespace, f"{number}.{each}", {}, ttl=600)
            assert (await plain_store.aget(namespace, f"{number}.{each}")).revision == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: asyncio.run(some(number)), range(4)))
    assert plain_store.count(namespace) == 80
