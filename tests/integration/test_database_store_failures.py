"""Where the database does not do its part: a soon and certain error, and the next call works again."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, OperationalError, connections, transaction
from django.test import override_settings

from syncsessions import database
from syncsessions.exceptions import StoreUnavailable
from syncsessions.stores.database import DatabaseStore

everywhere = pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"], indirect=True)
on_servers = pytest.mark.parametrize("backend", ["postgresql", "mysql"], indirect=True)

KILL = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
    "mysql": ("SELECT CONNECTION_ID()", "KILL %s"),
}


def operations(store: DatabaseStore, namespace: str) -> list[Callable[[], object]]:
    return [
        store.ping,
        lambda: store.create(namespace, "x", {}, ttl=60, limit=5, rate="5/h"),
        lambda: store.get(namespace, "a"),
        lambda: store.replace(namespace, "a", {}, revision=1, log="x"),
        lambda: store.delete(namespace, "a"),
        lambda: store.touch(namespace, "a", 60),
        lambda: store.count(namespace),
        lambda: store.list(namespace),
        lambda: store.expire(namespace),
        lambda: store.read_log(namespace, "a"),
        lambda: store.hit(namespace, "5/h"),
        lambda: store.unhit(namespace, "0" * 16),
    ]


def kill(alias: str) -> None:
    """End this thread's connection to the database, from another one."""
    ask, end = KILL[alias]
    with connections[alias].cursor() as cursor:
        cursor.execute(ask)
        (number,) = cursor.fetchone()

    def work() -> None:
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute(end, [number])
        finally:
            connections[alias].close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


@on_servers
def test_after_a_killed_connection_the_next_call_works(plain_store: DatabaseStore, namespace: str) -> None:
    record = plain_store.create(namespace, "a", {}, ttl=60)
    for act in operations(plain_store, namespace):
        kill(plain_store.using)
        with pytest.raises(StoreUnavailable):
            act()
        plain_store.ping()
    assert plain_store.list(namespace) == [record]


@on_servers
def test_a_connection_killed_in_a_transaction(plain_store: DatabaseStore, namespace: str) -> None:
    with pytest.raises((StoreUnavailable, DatabaseError)), transaction.atomic(using=plain_store.using):
        plain_store.create(namespace, "a", {}, ttl=60)
        opened = connections[plain_store.using].connection
        kill(plain_store.using)
        try:
            plain_store.get(namespace, "a")
        finally:
            assert connections[plain_store.using].connection is opened
    plain_store.create(namespace, "a", {}, ttl=60, limit=1)


@everywhere
def test_a_database_that_is_away(plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = plain_store.create(namespace, "a", {}, ttl=60)
    connection = connections[plain_store.using]
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
        patch.setitem(connection.settings_dict, "PORT", "1")
        if connection.vendor == "sqlite":
            patch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all.sqlite3")
        start = time.monotonic()
        for act in operations(plain_store, namespace):
            with pytest.raises(StoreUnavailable):
                act()
        assert time.monotonic() - start < 5
    assert plain_store.get(namespace, "a") == record


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_all_who_wait_for_a_database_that_is_away_hear_so_at_once(
    plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for one thread, and a connection attempt may take its time."""
    record = await plain_store.acreate(namespace, "a", {}, ttl=60)
    await sync_to_async(lambda: connections[plain_store.using].close())()
    with socket.create_server(("127.0.0.1", 0)) as dumb, monkeypatch.context() as patch:
        settings = connections[plain_store.using].settings_dict
        patch.setitem(settings, "HOST", "127.0.0.1")
        patch.setitem(settings, "PORT", str(dumb.getsockname()[1]))
        patch.setitem(settings, "OPTIONS", {**settings["OPTIONS"], "connect_timeout": 2})
        for _again in range(2):
            start = time.monotonic()
            calls = [plain_store.aget(namespace, "a") for _ in range(20)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(answer) for answer in answers} == {StoreUnavailable}
            assert 1 < time.monotonic() - start < 4
    assert await plain_store.aget(namespace, "a") == record


@everywhere
async def test_the_async_form(plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = await plain_store.acreate(namespace, "a", {}, ttl=60)
    with monkeypatch.context() as patch:
        patch.setattr("syncsessions.stores.database.records.RECORDS", "nowhere")
        with pytest.raises(StoreUnavailable):
            await plain_store.aget(namespace, "a")
    assert await plain_store.aget(namespace, "a") == record


@everywhere
def test_who_lost_a_race_tries_again(
    plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter(["deadlock detected", "database is locked", "Record has changed since last read in table"])
    connection = connections[plain_store.using]

    def fail(execute: Callable[..., object], sql: str, *rest: object) -> object:
        message = next(failures, None) if sql.startswith("INSERT") else None
        if message is not None:
            raise OperationalError(message)
        return execute(sql, *rest)

    with connection.execute_wrapper(fail):
        plain_store.create(namespace, "a", {}, ttl=60)
        assert next(failures, None) is None
        failures = iter(["deadlock detected"])
        with pytest.raises(StoreUnavailable), transaction.atomic(using=plain_store.using):
            plain_store.create(namespace, "b", {}, ttl=60)
        monkeypatch.setattr(database, "RETRY_FOR", 0.0)
        failures = iter(["deadlock detected"] * 99)
        with pytest.raises(StoreUnavailable):
            plain_store.create(namespace, "b", {}, ttl=60)
    assert plain_store.count(namespace) == 1


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_locked_file_is_waited_for(
    plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = threading.Event()
    will_pass = database._will_pass

    def listen(error: Exception) -> bool:
        locked.set()
        return will_pass(error)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "_will_pass", listen)

    def create() -> object:
        try:
            with connections[plain_store.using].cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 0")
            return plain_store.create(namespace, "b", {}, ttl=60)
        finally:
            connections[plain_store.using].close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(using=plain_store.using):
            plain_store.create(namespace, "a", {}, ttl=60)
            waiting = pool.submit(create)
            assert locked.wait(10)
        waiting.result(10)
    assert plain_store.count(namespace) == 2


@everywhere
@pytest.mark.parametrize("use_tz", [True, False])
def test_times_whatever_the_time_zone(plain_store: DatabaseStore, namespace: str, use_tz: bool) -> None:
    connections[plain_store.using].close()
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Kolkata"):
        created = plain_store.create(namespace, "a", {}, ttl=90)
        record = plain_store.get(namespace, "a")
        connections[plain_store.using].close()
    assert record == created
    assert record.created_at.utcoffset() == timedelta()
    assert abs(datetime.now(UTC) - record.created_at) < timedelta(seconds=30)
    assert record.expires_at - record.created_at == timedelta(seconds=90)
