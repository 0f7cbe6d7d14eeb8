"""The contract of every store, in both forms: counts, limits, lists and what has expired."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from syncsessions.exceptions import AlreadyExists, InvalidValue, RateLimited, SessionLimitReached
from tests.stores import Store, gone

SOON = 0.2  # seconds, a ttl to wait for


async def fill(store: Store, namespace: str, ids: str, ttl: float = 60) -> None:
    for id in ids:  # noqa: A001
        await store.create(namespace, id, {"is": id}, ttl=ttl)


async def listed(store: Store, namespace: str, **arguments: Any) -> str:
    return "".join(record.id for record in await store.list(namespace, **arguments))


async def expired(store: Store, namespace: str, **arguments: Any) -> list[str]:
    return sorted(record.id for record in await store.expire(namespace, **arguments))


async def test_list_is_newest_first(store: Store, namespace: str) -> None:
    await fill(store, namespace, "cabed")
    assert await listed(store, namespace) == "debac"
    await store.touch(namespace, "c", 600)
    await store.replace(namespace, "a", {}, revision=1, ttl=600)
    assert await listed(store, namespace) == "debac"
    await store.delete(namespace, "b")
    await fill(store, namespace, "b")
    assert await listed(store, namespace) == "bdeac"


async def test_list_gives_whole_records(store: Store, namespace: str) -> None:
    created = await store.create(namespace, "a", {"k": 1}, ttl=60)
    replaced = await store.replace(namespace, "a", {"k": 2}, revision=1, log="x")
    other = await store.create(namespace, "b", {}, ttl=60)
    assert await store.list(namespace) == [other, replaced]
    assert replaced.created_at == created.created_at


@pytest.mark.parametrize(
    ("offset", "limit", "found"),
    [
        *((0, None, "edcba"), (0, 2, "ed"), (2, 2, "cb"), (4, 2, "a"), (3, None, "ba")),
        *((5, 2, ""), (99, None, ""), (0, 0, ""), (0, 99, "edcba"), (1, 10**30, "dcba"), (10**30, 10**30, "")),
    ],
)
async def test_list_by_pages(store: Store, namespace: str, offset: int, limit: int | None, found: str) -> None:
    await fill(store, namespace, "abcde")
    assert await listed(store, namespace, offset=offset, limit=limit) == found


async def test_pages_and_counts_are_of_live_records_only(store: Store, namespace: str) -> None:
    await fill(store, namespace, "a")
    await fill(store, namespace, "xy", ttl=SOON)
    await fill(store, namespace, "b")
    await fill(store, namespace, "z", ttl=SOON)
    await fill(store, namespace, "c")
    await gone(store, namespace, "z")
    assert await listed(store, namespace) == "cba"
    assert await listed(store, namespace, offset=1, limit=1) == "b"
    assert await listed(store, namespace, offset=2) == "a"
    assert await store.count(namespace) == 3
    assert await expired(store, namespace) == ["x", "y", "z"]
    assert await store.count(namespace) == 3


async def test_what_has_expired_is_returned_once(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {"k": 1}, ttl=60)
    await fill(store, namespace, "b")
    assert await store.expire(namespace) == []
    last = await store.replace(namespace, "a", {"k": 2}, revision=1, ttl=SOON, log="entry")
    await gone(store, namespace, "a")
    assert await store.expire(namespace) == [last]
    assert await store.expire(namespace) == []
    assert await listed(store, namespace) == "b"


async def test_expire_takes_at_most_so_many(store: Store, namespace: str) -> None:
    await fill(store, namespace, "abcde", ttl=SOON)
    await gone(store, namespace, "e")
    assert await store.expire(namespace, limit=0) == []
    found = [await expired(store, namespace, limit=2) for _ in range(4)]
    assert [len(each) for each in found] == [2, 2, 1, 0]
    assert sorted(chain.from_iterable(found)) == list("abcde")


async def test_who_deletes_too_late_does_not_take_it_from_expire(store: Store, namespace: str) -> None:
    record = await store.create(namespace, "a", {}, ttl=SOON)
    await gone(store, namespace, "a")
    assert await store.delete(namespace, "a", life=record.life) is False
    assert await store.expire(namespace) == [record]


async def test_what_was_deleted_in_time_does_not_expire(store: Store, namespace: str) -> None:
    await fill(store, namespace, "ab", ttl=1)
    assert await store.delete(namespace, "a") is True
    await gone(store, namespace, "b")
    assert await expired(store, namespace) == ["b"]


async def test_an_expired_id_can_be_used_again_and_is_still_returned_once(store: Store, namespace: str) -> None:
    lives = []
    for number in range(3):
        record = await store.create(namespace, "a", {"number": number}, ttl=SOON)
        assert record.revision == 1
        lives.append(record)
        await gone(store, namespace, "a")
    new = await store.create(namespace, "a", {"number": "new"}, ttl=60)
    assert await store.count(namespace) == 1
    assert await store.list(namespace) == [new]
    found = await store.expire(namespace)
    assert sorted(found, key=lambda record: record.created_at) == lives
    assert await store.expire(namespace) == []
    assert await store.get(namespace, "a") == new


async def test_what_was_set_aside_counts_for_the_limit_of_expire(store: Store, namespace: str) -> None:
    await fill(store, namespace, "ab", ttl=SOON)
    await gone(store, namespace, "b")
    await fill(store, namespace, "a")
    found = [await expired(store, namespace, limit=1) for _ in range(3)]
    assert sorted(found) == [[], ["a"], ["b"]]
    assert found[2] == []
    assert await listed(store, namespace) == "a"


async def test_an_id_that_was_used_again_is_the_newest(store: Store, namespace: str) -> None:
    await fill(store, namespace, "a", ttl=SOON)
    await fill(store, namespace, "b")
    await gone(store, namespace, "a")
    await fill(store, namespace, "a")
    assert await listed(store, namespace) == "ab"


async def test_a_limit_of_live_records(store: Store, namespace: str) -> None:
    for id in "abc":  # noqa: A001
        await store.create(namespace, id, {}, ttl=60, limit=3)
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "d", {}, ttl=60, limit=3)
    assert await listed(store, namespace) == "cba"
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "d", {}, ttl=60, limit=2)
    await store.create(namespace, "d", {}, ttl=60, limit=4)
    await store.create(namespace, "e", {}, ttl=60)
    await store.delete(namespace, "a")
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "f", {}, ttl=60, limit=4)
    await store.create(namespace, "f", {}, ttl=60, limit=5)


async def test_a_limit_of_nothing(store: Store, namespace: str) -> None:
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "a", {}, ttl=60, limit=0)
    assert await store.count(namespace) == 0


async def test_an_expired_record_frees_its_place_at_once(store: Store, namespace: str) -> None:
    await fill(store, namespace, "abc")
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "d", {}, ttl=60, limit=3)
    await store.touch(namespace, "a", SOON)
    await store.touch(namespace, "b", SOON)
    await gone(store, namespace, "b")
    await store.create(namespace, "d", {}, ttl=60, limit=3)
    await store.create(namespace, "a", {}, ttl=60, limit=3)
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "b", {}, ttl=60, limit=3)
    assert await expired(store, namespace) == ["a", "b"]
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "b", {}, ttl=60, limit=3)


async def test_a_touched_record_keeps_its_place(store: Store, namespace: str) -> None:
    await fill(store, namespace, "ab", ttl=1)
    await store.touch(namespace, "a", 60)
    await gone(store, namespace, "b")
    await store.create(namespace, "c", {}, ttl=60, limit=2)
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "d", {}, ttl=60, limit=2)


async def test_a_taken_id_is_told_before_a_limit_and_a_limit_before_a_rate(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60, limit=1, rate="1/h")
    with pytest.raises(AlreadyExists):
        await store.create(namespace, "a", {}, ttl=60, limit=1, rate="1/h")
    with pytest.raises(SessionLimitReached):
        await store.create(namespace, "b", {}, ttl=60, limit=1, rate="1/h")
    with pytest.raises(RateLimited):
        await store.create(namespace, "b", {}, ttl=60, limit=2, rate="1/h")


@pytest.mark.parametrize("bad", [-1, "5", 1.0, True], ids=repr)
async def test_numbers_that_are_none(store: Store, namespace: str, bad: Any) -> None:
    with pytest.raises(InvalidValue):
        await store.create(namespace, "a", {}, ttl=60, limit=bad)
    with pytest.raises(InvalidValue):
        await store.list(namespace, limit=bad)
    with pytest.raises(InvalidValue):
        await store.list(namespace, offset=bad)
    with pytest.raises(InvalidValue):
        await store.expire(namespace, limit=bad)
    record = await store.create(namespace, "a", {}, ttl=60)
    with pytest.raises(InvalidValue):
        await store.read_log(namespace, "a", limit=bad)
    with pytest.raises(InvalidValue):
        await store.replace(namespace, "a", {}, revision=bad)
    with pytest.raises(InvalidValue):
        await store.replace(namespace, "a", {}, revision=1, log=1, keep=bad)
    with pytest.raises(InvalidValue):
        await store.replace(namespace, "a", {}, revision=1, log_drop=bad)
    assert await store.get(namespace, "a") == record
