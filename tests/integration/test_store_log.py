"""The contract of every store, in both forms: the log that goes with a record."""

from __future__ import annotations

import pytest

from syncsessions.exceptions import Conflict, NotFound
from tests.stores import Store, gone

SOON = 0.2  # seconds, a ttl to wait for


async def logged(store: Store, namespace: str, entries: int, keep: int = 100) -> int:
    """A record with so many entries, 1 the first; its revision."""
    await store.create(namespace, "a", {}, ttl=60)
    for number in range(1, entries + 1):
        await store.replace(namespace, "a", {}, revision=number, log=number, keep=keep)
    return entries + 1


async def test_it_begins_empty(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60)
    assert await store.read_log(namespace, "a") == []
    await store.replace(namespace, "a", {}, revision=1)
    assert await store.read_log(namespace, "a") == []


async def test_newest_first(store: Store, namespace: str) -> None:
    await logged(store, namespace, 3)
    assert await store.read_log(namespace, "a") == [3, 2, 1]
    assert await store.read_log(namespace, "a", 2) == [3, 2]
    assert await store.read_log(namespace, "a", limit=99) == [3, 2, 1]
    assert await store.read_log(namespace, "a", limit=10**30) == [3, 2, 1]
    assert await store.read_log(namespace, "a", limit=0) == []


async def test_the_newest_are_kept(store: Store, namespace: str) -> None:
    revision = await logged(store, namespace, 5, keep=3)
    assert await store.read_log(namespace, "a") == [5, 4, 3]
    await store.replace(namespace, "a", {}, revision=revision, log=6, keep=1)
    assert await store.read_log(namespace, "a") == [6]
    await store.replace(namespace, "a", {}, revision=revision + 1, log=7, keep=10**30)
    assert await store.read_log(namespace, "a") == [7, 6]
    await store.replace(namespace, "a", {}, revision=revision + 2, log=8, keep=0)
    assert await store.read_log(namespace, "a") == []


async def test_a_hundred_are_kept_where_nothing_is_said(store: Store, namespace: str) -> None:
    revision = await logged(store, namespace, 105, keep=104)
    assert len(await store.read_log(namespace, "a")) == 104
    await store.replace(namespace, "a", {}, revision=revision)
    assert len(await store.read_log(namespace, "a")) == 104
    await store.replace(namespace, "a", {}, revision=revision + 1, log="last")
    assert await store.read_log(namespace, "a") == ["last", *range(105, 6, -1)]


async def test_the_newest_are_dropped_before_one_is_appended(store: Store, namespace: str) -> None:
    revision = await logged(store, namespace, 5)
    await store.replace(namespace, "a", {}, revision=revision, log="new", log_drop=2)
    assert await store.read_log(namespace, "a") == ["new", 3, 2, 1]
    await store.replace(namespace, "a", {}, revision=revision + 1, log_drop=1)
    assert await store.read_log(namespace, "a") == [3, 2, 1]
    await store.replace(namespace, "a", {}, revision=revision + 2, log="kept", log_drop=1, keep=2)
    assert await store.read_log(namespace, "a") == ["kept", 2]
    await store.replace(namespace, "a", {}, revision=revision + 3, log="alone", log_drop=99)
    assert await store.read_log(namespace, "a") == ["alone"]
    await store.replace(namespace, "a", {}, revision=revision + 4, log_drop=10**30)
    assert await store.read_log(namespace, "a") == []
    await store.replace(namespace, "a", {}, revision=revision + 5, log="more", log_drop=1)
    assert await store.read_log(namespace, "a") == ["more"]


async def test_what_is_refused_leaves_the_log(store: Store, namespace: str) -> None:
    revision = await logged(store, namespace, 2)
    with pytest.raises(Conflict):
        await store.replace(namespace, "a", {}, revision=1, log="late", log_drop=1)
    with pytest.raises(Conflict):
        await store.replace(namespace, "a", {}, revision=revision, life="another", log="late", log_drop=1)
    assert await store.read_log(namespace, "a") == [2, 1]


async def test_touch_leaves_the_log(store: Store, namespace: str) -> None:
    await logged(store, namespace, 2)
    await store.touch(namespace, "a", 600)
    assert await store.read_log(namespace, "a") == [2, 1]


@pytest.mark.parametrize("entry", [0, False, "", [], {}, 1.0, {"b": [1], "a": "ä😀"}], ids=repr)
async def test_entries_are_json(store: Store, namespace: str, entry: object) -> None:
    await store.create(namespace, "a", {}, ttl=60)
    await store.replace(namespace, "a", {}, revision=1, log=entry)
    assert repr(await store.read_log(namespace, "a")) == repr([entry])


async def test_it_goes_when_the_record_is_deleted(store: Store, namespace: str) -> None:
    await logged(store, namespace, 2)
    await store.delete(namespace, "a")
    with pytest.raises(NotFound):
        await store.read_log(namespace, "a")
    await store.create(namespace, "a", {}, ttl=60)
    assert await store.read_log(namespace, "a") == []


@pytest.mark.parametrize("swept", [False, True])
async def test_it_goes_when_the_record_expires(store: Store, namespace: str, swept: bool) -> None:
    await logged(store, namespace, 2)
    await store.touch(namespace, "a", SOON)
    await gone(store, namespace, "a")
    with pytest.raises(NotFound):
        await store.read_log(namespace, "a")
    if swept:
        assert len(await store.expire(namespace)) == 1
    await store.create(namespace, "a", {}, ttl=60)
    await store.replace(namespace, "a", {}, revision=1, log="new")
    assert await store.read_log(namespace, "a") == ["new"]
    await store.expire(namespace)
    assert await store.read_log(namespace, "a") == ["new"]


async def test_logs_are_apart(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60)
    await store.create(namespace, "b", {}, ttl=60)
    await store.replace(namespace, "a", {}, revision=1, log="a")
    await store.replace(namespace, "b", {}, revision=1, log="b")
    await store.delete(namespace, "a")
    assert await store.read_log(namespace, "b") == ["b"]
