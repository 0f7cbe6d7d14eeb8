"""The contract of every store, in both forms: sliding windows, for creates by namespace and for hits by key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from syncsessions.exceptions import AlreadyExists, InvalidValue, NotFound, RateLimited, SessionLimitReached
from tests.stores import PATIENCE, Store, passed

GRAIN = 0.01  # seconds that clocks may differ by
Span = tuple[float, float]  # when a call began and ended
Act = Callable[[], Awaitable[Any]]


async def timed(act: Act) -> Span:
    began = time.monotonic()
    await act()
    return began, time.monotonic()


async def eventually(act: Act) -> tuple[Span, list[tuple[Span, float]]]:
    """Try until it passes: when that was, and each refusal with its `retry_after`."""
    refusals = []
    deadline = time.monotonic() + PATIENCE
    while True:
        began = time.monotonic()
        assert began < deadline
        try:
            return await timed(act), refusals
        except RateLimited as error:
            refusals.append(((began, time.monotonic()), error.retry_after))
            await asyncio.sleep(0.005)


async def check_window(store: Store, act: Act) -> None:
    """`act` is counted by "2/s": the third passes when the first leaves the window, the fourth when the second does."""
    first = await timed(act)
    await passed(store, 0.6)
    second = await timed(act)
    third, refusals = await eventually(act)
    fourth, more = await eventually(act)
    assert third[1] >= first[0] + 1 - GRAIN
    assert fourth[1] >= second[0] + 1 - GRAIN
    for leaves, refused in [(first, refusals), (second, more)]:
        for (began, ended), retry_after in refused:
            assert 0 <= retry_after <= 1
            assert leaves[0] + 1 - ended - GRAIN <= retry_after <= leaves[1] + 1 - began + GRAIN
            assert began <= leaves[1] + 1 + GRAIN


async def test_hits_are_counted_in_a_sliding_window(store: Store, namespace: str) -> None:
    await check_window(store, lambda: store.hit(namespace, "2/s"))


async def test_creates_are_counted_in_a_sliding_window(store: Store, namespace: str) -> None:
    numbers = iter(range(100_000))

    async def create() -> None:
        await store.create(namespace, str(next(numbers)), {}, ttl=60, rate="2/s")

    await check_window(store, create)
    assert await store.count(namespace) == 4


@pytest.mark.parametrize(("rate", "window"), [("2/s", 1), ("2/m", 60), ("2/h", 3600)])
async def test_retry_after_is_in_seconds(store: Store, namespace: str, rate: str, window: float) -> None:
    first = await timed(lambda: store.hit(namespace, rate))
    await store.hit(namespace, rate)
    began = time.monotonic()
    with pytest.raises(RateLimited) as caught:
        await store.hit(namespace, rate)
    assert first[0] + window - time.monotonic() - GRAIN <= caught.value.retry_after
    assert caught.value.retry_after <= first[1] + window - began + GRAIN
    assert caught.value.as_dict()["retry_after"] == caught.value.retry_after


async def test_what_was_refused_is_not_counted(store: Store, namespace: str) -> None:
    await store.hit(namespace, "1/h")
    for _ in range(5):
        with pytest.raises(RateLimited):
            await store.hit(namespace, "1/h")
    for _ in range(4):
        await store.hit(namespace, "5/h")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "5/h")


async def test_each_key_has_its_own_window(store: Store, namespace: str) -> None:
    keys = [namespace + text for text in ("", "a", "A", "a ", "é", "e\u0301", "😀", "😁", "ß", "ss", "x" * 150)]
    for key in keys:
        await store.hit(key, "1/h")
    for key in keys:
        with pytest.raises(RateLimited):
            await store.hit(key, "1/h")


async def test_hits_creates_and_records_of_one_name_are_apart(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60, rate="1/h")
    await store.hit(namespace, "1/h")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "1/h")
    with pytest.raises(RateLimited):
        await store.create(namespace, "b", {}, ttl=60, rate="1/h")
    assert [record.id for record in await store.list(namespace)] == ["a"]


async def test_another_rate_of_the_same_key_counts_the_same_hits(store: Store, namespace: str) -> None:
    for _ in range(3):
        await store.hit(namespace, "100/m")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "3/m")
    await store.hit(namespace, "4/m")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "4/h")


async def test_a_hit_can_be_given_back(store: Store, namespace: str) -> None:
    token = await store.hit(namespace, "2/h")
    other = await store.hit(namespace, "2/h")
    assert token != other
    assert await store.unhit(namespace, token) is None
    await store.hit(namespace, "2/h")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "2/h")


async def test_it_is_given_back_once_and_to_its_own_key(store: Store, namespace: str) -> None:
    token = await store.hit(namespace, "2/h")
    await store.hit(namespace, "2/h")
    await store.unhit(f"{namespace}.other", token)
    await store.unhit(namespace, "no token")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "2/h")
    await store.unhit(namespace, token)
    await store.unhit(namespace, token)
    await store.hit(namespace, "2/h")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "2/h")


async def test_giving_back_no_token_leaves_the_window_as_it_was(store: Store, namespace: str) -> None:
    for _ in range(2):
        await store.hit(namespace, "2/h")
    await store.unhit(namespace, "")
    await passed(store, 1.1)
    await store.hit(namespace, "9/s")
    with pytest.raises(RateLimited):
        await store.hit(namespace, "3/h")


async def test_giving_back_what_has_left_the_window(store: Store, namespace: str) -> None:
    token = await store.hit(namespace, "1/s")
    await eventually(lambda: store.hit(namespace, "1/s"))
    await store.unhit(namespace, token)
    with pytest.raises(RateLimited):
        await store.hit(namespace, "1/s")


async def test_a_spent_rate_creates_nothing(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60, rate="2/h")
    await store.create(namespace, "b", {}, ttl=60, rate="2/h")
    with pytest.raises(RateLimited):
        await store.create(namespace, "c", {}, ttl=60, rate="2/h")
    with pytest.raises(NotFound):
        await store.get(namespace, "c")
    assert await store.count(namespace) == 2
    await store.create(namespace, "c", {}, ttl=60)
    await store.create(f"{namespace}.other", "c", {}, ttl=60, rate="1/h")


async def test_a_delete_gives_no_rate_back(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60, rate="1/h")
    await store.delete(namespace, "a")
    with pytest.raises(RateLimited):
        await store.create(namespace, "a", {}, ttl=60, rate="1/h")


async def test_what_is_refused_spends_no_rate(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60, rate="3/h")
    for _ in range(5):
        with pytest.raises(AlreadyExists):
            await store.create(namespace, "a", {}, ttl=60, rate="3/h")
        with pytest.raises(SessionLimitReached):
            await store.create(namespace, "b", {}, ttl=60, limit=1, rate="3/h")
        with pytest.raises(InvalidValue):
            await store.create(namespace, "b", {"bad": {1}}, ttl=60, rate="3/h")
    await store.create(namespace, "b", {}, ttl=60, rate="3/h")
    await store.create(namespace, "c", {}, ttl=60, rate="3/h")
    with pytest.raises(RateLimited):
        await store.create(namespace, "d", {}, ttl=60, rate="3/h")


@pytest.mark.parametrize("bad", ["", "5", "0/m", "5/d", "-1/m", "5/m ", "1.5/s", "٣/m", 5, b"5/m"], ids=repr)
async def test_rates_that_are_none(store: Store, namespace: str, bad: Any) -> None:
    with pytest.raises(InvalidValue):
        await store.hit(namespace, bad)
    with pytest.raises(InvalidValue):
        await store.create(namespace, "a", {}, ttl=60, rate=bad)
    assert await store.count(namespace) == 0
