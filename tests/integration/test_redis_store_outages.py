"""What a RedisStore does when its server is killed, frozen, away, full or somebody's replica."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from syncsessions.exceptions import NotFound, StoreUnavailable
from syncsessions.stores.redis import RedisStore
from tests.stores import Store
from tests.valkey import Valkey, _own_valkey, valkey  # noqa: F401 - fixtures

PATIENT = 5.0  # seconds that a store has in which a busy machine must answer
TIMEOUT = 0.6  # and one that is to be refused
BOUND = 2 * TIMEOUT + 0.4  # one to connect and one to be answered
FORMS = pytest.mark.parametrize("form", ["sync", "async"])


def made(url: str, **options: Any) -> RedisStore:
    return RedisStore("default", {"LOCATION": url, "OPTIONS": {"timeout": PATIENT, **options}})


def calls(store: Store) -> list[Callable[[], Any]]:
    """Each operation once."""
    return [
        lambda: store.create("n", "id", {}, ttl=60, limit=9, rate="9/s"),
        lambda: store.get("n", "id"),
        lambda: store.replace("n", "id", {}, revision=1, log=1),
        lambda: store.delete("n", "id"),
        lambda: store.touch("n", "id", 60),
        lambda: store.count("n"),
        lambda: store.list("n"),
        lambda: store.expire("n"),
        lambda: store.read_log("n", "id"),
        lambda: store.hit("key", "9/s"),
        lambda: store.unhit("key", "token"),
        lambda: store.ping(),
    ]


async def refused(act: Callable[[], Any]) -> None:
    """It is refused in time. A busy machine may hold up one call, but not each of them."""
    took = []
    while not took or (took[-1] >= BOUND and len(took) < 5):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            await act()
        took.append(time.monotonic() - began)
        assert caught.value.__cause__ is not None
    assert took[-1] < BOUND


@FORMS
async def test_a_killed_server_and_its_return(valkey: Valkey, form: str) -> None:  # noqa: F811
    store = Store(made(valkey.url), form)
    await store.create("n", "id", {}, ttl=60)
    valkey.stop()
    for act in calls(store):
        await refused(act)
    valkey.start()
    with pytest.raises(NotFound):  # it came back empty
        await store.get("n", "id")
    assert (await store.create("n", "id", {"a": 1}, ttl=60)).revision == 1
    store.plain.close()


@FORMS
async def test_no_call_fails_over_connections_that_the_server_has_closed(valkey: Valkey, form: str) -> None:  # noqa: F811
    store = Store(made(valkey.url), form)
    await store.ping()
    for act in calls(store):
        assert valkey.kill_connections() == 1
        with suppress(NotFound):
            await act()
    valkey.stop()
    valkey.start()
    assert await store.delete("n", "id") is False
    store.plain.close()


@FORMS
async def test_every_call_after_all_connections_were_killed_succeeds(valkey: Valkey, form: str) -> None:  # noqa: F811
    store = Store(made(valkey.url), form)
    for turn in range(5):
        await asyncio.gather(*(store.create("n", f"{turn}.{number}", {}, ttl=60) for number in range(8)))
        assert valkey.kill_connections()
        await asyncio.gather(*(store.delete("n", f"{turn}.{number}") for number in range(8)))
    assert await store.count("n") == 0
    store.plain.close()


@FORMS
async def test_a_frozen_server(valkey: Valkey, form: str) -> None:  # noqa: F811
    """Bounded by the timeout, and what it answers when it goes on is no later call's answer."""
    store = Store(made(valkey.url, timeout=TIMEOUT), form)
    await store.create("n", "id", {"mine": True}, ttl=60)
    valkey.freeze()
    await refused(lambda: store.count("n"))
    if form == "async":
        await asyncio.gather(*(refused(lambda: store.list("n")) for _ in range(8)))
    for act in calls(store)[:3]:  # over new connections, too
        await refused(act)
    valkey.thaw()
    assert await store.hit("key", "9/s")
    assert (await store.get("n", "id")).data in ({"mine": True}, {})  # a replace may have been carried out late
    assert await store.count("n") == 1
    store.plain.close()


@FORMS
async def test_an_address_that_nobody_answers_at(form: str) -> None:
    with socket.socket() as listener:  # a backlog that is full: the system answers no further one
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        held = []
        for _ in range(4):
            held.append(socket.socket())
            held[-1].setblocking(False)
            held[-1].connect_ex(address)
        store = Store(made(f"redis://127.0.0.1:{address[1]}/0", timeout=TIMEOUT), form)
        await refused(lambda: store.ping())
        store.plain.close()
        for one in held:
            one.close()


@FORMS
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock", "redis://no-such-host.invalid"])
async def test_nothing_there(form: str, url: str) -> None:
    store = made(url, timeout=TIMEOUT)

    async def ask() -> None:
        await store.aping() if form == "async" else store.ping()

    with warnings.catch_warnings():  # redis-py 5.0 leaves a unix socket that found nobody to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        await refused(ask)
        gc.collect()
    store.close()


@FORMS
async def test_no_password_in_the_errors(valkey: Valkey, form: str) -> None:  # noqa: F811
    for url in (valkey.url.replace("://", "://somebody:s3cret@"), "redis://somebody:s3cret@127.0.0.1:1/0"):
        store = Store(made(url), form)
        with pytest.raises(StoreUnavailable) as caught:
            await store.ping()
        error: BaseException | None = caught.value
        while error is not None:
            assert "s3cret" not in str(error) + repr(error)
            error = error.__cause__ or error.__context__
        store.plain.close()


@FORMS
async def test_a_replica_refuses_whole_writes_and_reads_on(valkey: Valkey, form: str) -> None:  # noqa: F811
    store = Store(made(valkey.url), form)
    await store.create("n", "id", {}, ttl=60)
    valkey.ask("CONFIG", "SET", "replica-serve-stale-data", "yes")
    valkey.ask("REPLICAOF", "127.0.0.1", 1)
    await refused(lambda: store.create("n", "other", {}, ttl=60, rate="9/s"))
    await refused(lambda: store.replace("n", "id", {}, revision=1))
    await refused(lambda: store.delete("n", "id"))
    assert (await store.get("n", "id")).revision == 1
    valkey.ask("REPLICAOF", "NO", "ONE")
    assert (await store.replace("n", "id", {}, revision=1)).revision == 2
    store.plain.close()


@FORMS
async def test_a_full_server_applies_nothing_by_half(valkey: Valkey, form: str) -> None:  # noqa: F811
    store = Store(made(valkey.url), form)
    await store.create("n", "id", {"a": 1}, ttl=60)
    await store.create("n", "ended", {}, ttl=0.001)
    keys = sorted(valkey.ask("KEYS", "*"))
    valkey.ask("CONFIG", "SET", "maxmemory", 1)
    await refused(lambda: store.create("n", "other", {}, ttl=60, rate="9/s"))
    await refused(lambda: store.create("n", "ended", {}, ttl=60))
    await refused(lambda: store.replace("n", "id", {"a": 2}, revision=1, ttl=60, log="entry"))
    await refused(lambda: store.hit("key", "9/s"))
    assert sorted(valkey.ask("KEYS", "*")) == keys
    assert (await store.get("n", "id")).data == {"a": 1}
    assert [record.id for record in await store.expire("n")] == ["ended"]  # what makes room goes on
    assert await store.delete("n", "id")
    store.plain.close()


@FORMS
async def test_scripts_that_the_server_has_forgotten(valkey: Valkey, form: str) -> None:  # noqa: F811
    store = Store(made(valkey.url), form)
    await store.create("n", "id", {}, ttl=60)
    valkey.ask("SCRIPT", "FLUSH")
    await asyncio.gather(*(store.get("n", "id") for _ in range(8)))
    valkey.ask("CONFIG", "RESETSTAT")
    await store.get("n", "id")
    assert valkey.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 1
    store.plain.close()


class Breaking:
    """A server in between that hands a request on and then breaks the connection instead of answering."""

    def __init__(self, target: str) -> None:
        host, port = target.removeprefix("redis://").removesuffix("/0").split(":")
        self.target = host, int(port)
        self.break_after: bytes | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"
        self._in_thread(self._accept)

    def _in_thread(self, act: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=act, args=args, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self._in_thread(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server:
            while request := client.recv(65536):
                server.sendall(request)
                answer = server.recv(65536)
                if self.break_after is not None and self.break_after in request:
                    self.break_after = None
                    return
                client.sendall(answer)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@FORMS
async def test_what_may_have_been_carried_out_is_not_carried_out_twice(valkey: Valkey, form: str) -> None:  # noqa: F811
    between = Breaking(valkey.url)
    store = Store(made(between.url, max_connections=1), form)
    await warm(store)

    between.break_after = b"new"
    record = await store.create("m", "new", {"a": 1}, ttl=60, limit=1, rate="1/h")
    assert await store.get("m", "new") == record

    between.break_after = b"new"
    changed = await store.replace("m", "new", {"a": 2}, revision=1, log="once")
    assert changed.revision == 2
    assert await store.get("m", "new") == changed
    assert await store.read_log("m", "new") == ["once"]

    between.break_after = b"the key"
    token = await store.hit("the key", "2/h")
    await store.hit("the key", "2/h")
    between.break_after = b"the key"
    await store.unhit("the key", token)
    await store.hit("the key", "2/h")

    between.break_after = b"new"
    with pytest.raises(StoreUnavailable):  # whether it was there, nobody knows
        await store.delete("m", "new")
    assert between.break_after is None
    assert await store.delete("m", "new") is False
    store.plain.close()
    between.close()


async def warm(store: Store) -> None:
    """Have the scripts loaded: what is broken is then the call by hash."""
    for act in calls(store):
        with suppress(NotFound):
            await act()


def test_a_call_in_another_thread_does_not_wait_for_a_frozen_one(valkey: Valkey) -> None:  # noqa: F811
    """Of many that wait for the same dead server each is refused in time, not one after the other."""
    store = made(valkey.url, max_connections=4, timeout=TIMEOUT)
    store.ping()
    valkey.freeze()
    began = time.monotonic()
    refusals: list[StoreUnavailable] = []

    def ask() -> None:
        try:
            store.ping()
        except StoreUnavailable as error:
            refusals.append(error)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 20
    assert time.monotonic() - began < BOUND + TIMEOUT
    valkey.thaw()
    async_to_sync(store.aping)()
    store.close()
