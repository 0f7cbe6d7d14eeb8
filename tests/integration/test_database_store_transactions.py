"""A database store inside the caller's transaction: it belongs to it, and leaves it usable."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.db import connections, transaction

from syncsessions.exceptions import (
    AlreadyExists,
    Conflict,
    NotFound,
    RateLimited,
    SessionLimitReached,
    StoreUnavailable,
)
from syncsessions.stores.database import DatabaseStore, records
from syncsessions.stores.models import StoreCounter, StoreHit

everywhere = pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"], indirect=True)

PATIENCE = 10.0  # seconds


class RolledBack(Exception):
    """What ends the transactions of these tests."""


def wait_until_gone(store: DatabaseStore, namespace: str, name: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            store.get(namespace, name)
        except NotFound:
            return
        time.sleep(0.005)
    raise AssertionError("the record lives on")


def in_another_connection(store: DatabaseStore, act: Any) -> Any:
    def work() -> Any:
        try:
            return act()
        finally:
            connections[store.using].close()

    return ThreadPoolExecutor(1).submit(work)


@everywhere
def test_what_is_rolled_back_was_never_done(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    kept = store.create(namespace, "kept", {"n": 1}, ttl=60)
    kept = store.replace(namespace, "kept", {"n": 1}, revision=1, log="first")
    left = store.create(namespace, "left", {}, ttl=60)
    due = store.create(namespace, "due", {}, ttl=0.01)
    wait_until_gone(store, namespace, "due")
    with pytest.raises(RolledBack), transaction.atomic(using=store.using):
        store.create(namespace, "new", {}, ttl=60, limit=3, rate="1/h")
        store.replace(namespace, "kept", {"n": 2}, revision=2, ttl=600, log="second")
        store.touch(namespace, "kept", 6000)
        assert store.delete(namespace, "left") is True
        assert store.expire(namespace) == [due]
        store.hit(namespace, "1/h")
        assert [record.id for record in store.list(namespace)] == ["new", "kept"]
        assert store.read_log(namespace, "kept") == ["second", "first"]
        raise RolledBack
    assert store.list(namespace) == [left, kept]
    assert store.read_log(namespace, "kept") == ["first"]
    assert store.expire(namespace) == [due]
    store.hit(namespace, "1/h")
    store.create(namespace, "new", {}, ttl=60, limit=3, rate="1/h")


@everywhere
def test_what_is_committed_is_done(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    with transaction.atomic(using=store.using):
        store.create(namespace, "a", {}, ttl=60, rate="1/h")
        last = store.replace(namespace, "a", {"n": 2}, revision=1, log="entry")
    assert in_another_connection(store, lambda: store.get(namespace, "a")).result() == last
    with pytest.raises(RateLimited):
        store.create(namespace, "b", {}, ttl=60, rate="1/h")


@everywhere
@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
def test_who_counts_meanwhile_waits_for_the_transaction(
    plain_store: DatabaseStore, namespace: str, commits: bool
) -> None:
    store = plain_store
    try:
        with transaction.atomic(using=store.using):
            store.create(namespace, "mine", {}, ttl=60, limit=1)
            waiting = in_another_connection(store, lambda: store.create(namespace, "yours", {}, ttl=60, limit=1))
            if not commits:
                raise RolledBack
    except RolledBack:
        pass
    if commits:
        with pytest.raises(SessionLimitReached):
            waiting.result(PATIENCE)
    else:
        waiting.result(PATIENCE)
    assert store.count(namespace) == 1


@everywhere
def test_what_is_refused_leaves_the_transaction_usable(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    store.create(namespace, "a", {}, ttl=60, rate="1/h")
    with transaction.atomic(using=store.using):
        store.create(namespace, "b", {}, ttl=60)
        for refusal, act in [
            (AlreadyExists, lambda: store.create(namespace, "a", {}, ttl=60)),
            (SessionLimitReached, lambda: store.create(namespace, "c", {}, ttl=60, limit=2)),
            (RateLimited, lambda: store.create(namespace, "c", {}, ttl=60, rate="1/h")),
            (Conflict, lambda: store.replace(namespace, "a", {}, revision=7, log=1)),
            (NotFound, lambda: store.touch(namespace, "c", 60)),
            (NotFound, lambda: store.replace(namespace, "c", {}, revision=1)),
        ]:
            with pytest.raises(refusal):
                act()
        assert store.delete(namespace, "c") is False
        store.create(namespace, "c", {}, ttl=60, limit=3)
    assert [record.id for record in store.list(namespace)] == ["c", "b", "a"]


@everywhere
def test_a_failure_leaves_the_transaction_usable(
    plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL refuses everything after an error, until a savepoint is rolled back."""
    store = plain_store
    with transaction.atomic(using=store.using):
        opened = connections[store.using].connection
        store.create(namespace, "a", {}, ttl=60)
        with monkeypatch.context() as patch:
            patch.setattr(records, "RECORDS", "nowhere")
            for act in (store.get, store.delete):
                with pytest.raises(StoreUnavailable):
                    act(namespace, "a")
        store.create(namespace, "b", {}, ttl=60)
        assert connections[store.using].connection is opened
    assert store.count(namespace) == 2


@everywhere
def test_time_goes_on_in_a_transaction(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    with transaction.atomic(using=store.using):
        store.create(namespace, "a", {}, ttl=0.02)
        wait_until_gone(store, namespace, "a")
        assert store.count(namespace) == 0
        again = store.create(namespace, "a", {}, ttl=60, limit=1)
        (expired,) = store.expire(namespace)
        assert again.created_at >= expired.expires_at


@everywhere
def test_a_deletion_that_misses_keeps_the_count(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    store.create(namespace, "a", {}, ttl=60)
    with transaction.atomic(using=store.using):
        assert store.delete(namespace, "b") is False
    assert store.delete(namespace, "a", life="0" * 16) is False
    with pytest.raises(SessionLimitReached):
        store.create(namespace, "b", {}, ttl=60, limit=1)


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_a_snapshot_hides_nothing(plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeatable reads would show the revision that others have replaced, for as long as the transaction lasts."""
    store, connection = plain_store, connections[plain_store.using]
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"isolation_level": "repeatable read"})
    connection.close()
    store.create(namespace, "a", {}, ttl=60)
    with transaction.atomic(using=store.using):
        get_user_model().objects.using(store.using).count()  # takes the snapshot
        in_another_connection(store, lambda: store.replace(namespace, "a", {"n": 2}, revision=1, log="x")).result()
        in_another_connection(store, lambda: store.create(namespace, "b", {}, ttl=60)).result()
        assert store.get(namespace, "a").revision == 2
        assert store.count(namespace) == 2
        assert [record.id for record in store.list(namespace)] == ["b", "a"]
        assert store.read_log(namespace, "a") == ["x"]
        with pytest.raises(AlreadyExists):
            store.create(namespace, "b", {}, ttl=60)
        with pytest.raises(Conflict):
            store.replace(namespace, "a", {}, revision=1)
        assert store.replace(namespace, "a", {}, revision=2).revision == 3
    connection.close()


@everywhere
def test_idle_keys_go(plain_store: DatabaseStore, namespace: str) -> None:
    """Whoever sweeps a namespace takes along what no rate counts any more."""
    store = plain_store
    store.hit(f"{namespace}.idle", "5/s")
    store.unhit(f"{namespace}.back", store.hit(f"{namespace}.back", "5/s"))
    token = store.hit(f"{namespace}.busy", "5/h")
    store.create(namespace, "a", {}, ttl=60, rate="5/s")
    deadline = time.monotonic() + PATIENCE
    hits, counters = StoreHit.objects.using(store.using), StoreCounter.objects.using(store.using)
    while hits.count() > 1:
        assert time.monotonic() < deadline
        assert store.expire(namespace) == []
    assert hits.get().token == token
    assert counters.count() == 2
    with pytest.raises(RateLimited):
        store.hit(f"{namespace}.busy", "1/h")


@everywhere
def test_async_operations_of_sync_code_spare_its_transaction(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    with transaction.atomic(using=store.using):
        store.create(namespace, "sync", {}, ttl=60)
        async_to_sync(store.acreate)(namespace, "async", {}, ttl=60)
        assert store.count(namespace) == 2
    assert store.count(namespace) == 2
    with pytest.raises(RolledBack), transaction.atomic(using=store.using):
        async_to_sync(store.adelete)(namespace, "sync")
        raise RolledBack
    assert store.count(namespace) == 2
