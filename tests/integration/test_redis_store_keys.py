"""What a RedisStore keeps in Redis: whose keys are whose, what they cost, and that nothing stays behind."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from syncsessions.exceptions import NotFound, RateLimited
from syncsessions.stores.redis import RedisStore
from syncsessions.stores.redis.plans import PAGE
from tests.stores import Store, gone
from tests.valkey import Valkey, _own_valkey, valkey  # noqa: F401 - fixtures

TRICKY = ["a", "a:b", "a}b", "a}", "}", "{", "{a}", "a%3A", "a%3Ab", "a}:record:x", "a:record", "%", "*", "ä", " "]


def made(url: str, **options: Any) -> RedisStore:
    return RedisStore("default", {"LOCATION": url, "OPTIONS": options})


@pytest.fixture
def own(valkey: Valkey) -> Iterator[RedisStore]:  # noqa: F811
    store = made(valkey.url)
    yield store
    store.close()


def test_prefixes_keep_stores_apart(valkey: Valkey) -> None:  # noqa: F811
    stores = [made(valkey.url, prefix=prefix) for prefix in TRICKY]
    for number, store in enumerate(stores):
        store.create("n", "id", {"number": number}, ttl=60)
        store.hit("key", "1/h")
    for number, store in enumerate(stores):
        assert [record.data for record in store.list("n")] == [{"number": number}]
        with pytest.raises(RateLimited):
            store.hit("key", "1/h")
        store.close()


def test_no_prefix_and_namespace_is_another_pair_in_disguise(valkey: Valkey) -> None:  # noqa: F811
    pairs = [(prefix, namespace) for prefix in TRICKY for namespace in TRICKY]
    for number, (prefix, namespace) in enumerate(pairs):
        store = made(valkey.url, prefix=prefix)
        store.create(namespace, "y", {"number": number}, ttl=60)
        store.create(namespace, "x}:record:y", {"number": -1}, ttl=60)
        store.close()
    for number, (prefix, namespace) in enumerate(pairs):
        store = made(valkey.url, prefix=prefix)
        assert [record.data["number"] for record in store.list(namespace)] == [-1, number]
        store.close()


def test_all_keys_of_a_namespace_are_in_one_slot_of_a_cluster(valkey: Valkey) -> None:  # noqa: F811
    for prefix in ("syncsessions", "", "}", "{"):
        store = made(valkey.url, prefix=prefix)
        for namespace in TRICKY:
            valkey.ask("FLUSHALL")
            store.create(namespace, "id", {}, ttl=0.001, rate="9/h")
            store.create(namespace, "}:{", {}, ttl=60, rate="9/h")
            store.replace(namespace, "}:{", {}, revision=1, log=1)
            keys = valkey.ask("KEYS", "*")
            assert len(keys) == 6  # two records, a log, deadlines, born, creates
            assert len({key_slot(key.encode()) for key in keys}) == 1
        store.close()


async def test_nothing_stays_behind(valkey: Valkey, own: RedisStore) -> None:  # noqa: F811
    store = Store(own, "sync")
    for name in ("deleted", "ended", "again"):
        await store.create("n", name, {}, ttl=60)
        await store.replace("n", name, {}, revision=1, ttl=None if name == "deleted" else 0.001, log=1)
    await gone(store, "n", "again")
    assert await store.delete("n", "deleted")
    await store.create("n", "again", {}, ttl=60)
    assert await store.read_log("n", "again") == []
    assert await store.delete("n", "again")
    assert sorted(record.id for record in await store.expire("n")) == ["again", "ended"]
    assert valkey.ask("KEYS", "*") == []


def test_only_rates_are_left_to_end_by_themselves(valkey: Valkey, own: RedisStore) -> None:  # noqa: F811
    """A record that Redis itself removed could be announced by nobody."""
    own.create("n", "id", {}, ttl=60, rate="9/m")
    own.replace("n", "id", {}, revision=1, log=1)
    own.hit("key", "9/s")
    own.hit("key", "9/h")
    own.hit("key", "9/s")
    ends = {key: valkey.ask("PTTL", key) for key in valkey.ask("KEYS", "*")}
    creates, hits = "{syncsessions:n}:creates", "syncsessions:hits:key"
    assert 59_000 < ends.pop(creates) <= 60_000
    assert 3_599_000 < ends.pop(hits) <= 3_600_000  # the longest window that was asked for
    assert set(ends.values()) == {-1}


def test_times_are_whole_microseconds(valkey: Valkey, own: RedisStore) -> None:  # noqa: F811
    record = own.create("n", "id", {}, ttl=1.000001)
    assert (record.expires_at - record.created_at).total_seconds() == 1.000001
    assert own.get("n", "id") == record
    created = valkey.ask("HGET", "{syncsessions:n}:record:id", "created")
    assert created.isdigit()
    assert len(created) == 16
    longest = own.create("n", "long", {}, ttl=100 * 365 * 86_400.0)
    assert own.get("n", "long") == longest


async def test_many_ended_records_are_taken_in_pages(valkey: Valkey, own: RedisStore) -> None:  # noqa: F811
    store = Store(own, "sync")
    many = 3 * PAGE + 7
    for number in range(many):
        await store.create("n", f"{number}", {}, ttl=0.05)
    await gone(store, "n", f"{many - 1}")
    for number in range(PAGE + 3):  # set aside
        await store.create("n", f"{number}", {"again": True}, ttl=60)
    valkey.ask("CONFIG", "RESETSTAT")
    first = await store.expire("n", limit=PAGE + 5)
    assert len(first) == PAGE + 5
    assert all(int(record.id) < PAGE + 3 for record in first[: PAGE + 3])  # those set aside go first
    rest = await store.expire("n", limit=10**9)
    assert sorted(int(record.id) for record in first + rest) == list(range(many))
    assert valkey.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] <= many // PAGE + 4
    assert await store.expire("n") == []
    assert await store.count("n") == PAGE + 3
    assert len(await store.list("n")) == PAGE + 3


async def test_a_long_list_is_read_in_pages(own: RedisStore) -> None:
    many = 2 * PAGE + 10
    for number in range(many):
        own.create("n", f"{number}", {}, ttl=0.001 if number % 3 == 0 else 60)
    await gone(Store(own, "sync"), "n", f"{(many - 1) // 3 * 3}")
    live = [f"{number}" for number in reversed(range(many)) if number % 3]
    assert [record.id for record in own.list("n")] == live
    for offset, limit in ((0, 1), (PAGE - 1, 3), (PAGE + 1, PAGE), (len(live) - 1, 5), (len(live), 5), (3, 0)):
        assert [record.id for record in own.list("n", offset=offset, limit=limit)] == live[offset:][:limit]


def test_records_that_an_evicting_server_took_are_absent_and_nothing_worse(
    valkey: Valkey,  # noqa: F811
    own: RedisStore,
) -> None:
    for name in ("a", "b"):
        own.create("n", name, {}, ttl=60)
        valkey.ask("DEL", f"{{syncsessions:n}}:record:{name}")
        with pytest.raises(NotFound):
            own.get("n", name)
    assert own.list("n") == []
    assert own.delete("n", "a") is False
    assert own.create("n", "a", {"new": True}, ttl=60).revision == 1
    assert own.get("n", "a").data == {"new": True}


def test_what_an_operation_costs_does_not_grow(valkey: Valkey, own: RedisStore) -> None:  # noqa: F811
    """The commands of one operation are counted, and none of them is one that walks over all records."""

    def commands(number: int) -> dict[str, int]:
        name = secrets.token_hex(8)
        valkey.ask("CONFIG", "RESETSTAT")
        own.create("n", name, {}, ttl=60, limit=10**9, rate="1000000/h")
        own.get("n", name)
        own.replace("n", name, {}, revision=1, ttl=60, log=number)
        own.touch("n", name, 60)
        own.count("n")
        own.delete("n", name)
        stats = valkey.ask("INFO", "commandstats")
        return {key: value["calls"] for key, value in stats.items() if "config" not in key and "client" not in key}

    own.ping()
    commands(0)  # loads the scripts
    at_none = commands(1)
    _fill(valkey, own, 50_000)
    assert own.count("n") == 50_000
    assert commands(2) == at_none
    assert not {"cmdstat_zrange", "cmdstat_scan", "cmdstat_keys", "cmdstat_hgetall"} & set(at_none)


def _fill(valkey: Valkey, own: RedisStore, many: int) -> None:  # noqa: F811
    """Live records enough, as a template's copies: one by one they would take long."""
    own.create("n", "template", {}, ttl=3600)
    root = "{syncsessions:n}:"
    with redis.Redis.from_url(valkey.url, protocol=2) as client:
        ends = client.zscore(root + "deadlines", "template")
        fields = client.hgetall(root + "record:template")
        for start in range(1, many, 5000):
            batch = client.pipeline(transaction=False)
            for number in range(start, min(many, start + 5000)):
                batch.zadd(root + "deadlines", {f"copy{number}": ends})
                batch.zadd(root + "born", {f"copy{number}": number + 1})
                batch.hset(f"{root}record:copy{number}", mapping=fields)
            batch.execute()
    assert own.get("n", f"copy{many - 1}").data == {}
