"""Stores for the tests: each backend in turn, its operations in sync and in async form."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.apps import apps
from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string

from syncsessions.exceptions import NotFound
from syncsessions.stores import BaseStore
from tests.servers import redis_url

BACKENDS = ["memory", "redis", "sqlite", "postgresql", "mysql"]
DATABASES = {"sqlite": "default", "postgresql": "postgresql", "mysql": "mysql"}
ASYNC_ON = {"memory", "redis", "postgresql"}
"""Where the `a` twins are tried: on every database they are the same calls in a thread."""
PATIENCE = 10.0  # seconds that a test waits for what must come


class Store:
    """A store whose operations are all awaited: its `a` twins, or its sync methods in a thread."""

    def __init__(self, plain: BaseStore, form: str) -> None:
        self.plain = plain
        self.form = form

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if self.form == "async":
            return getattr(self.plain, f"a{name}")
        return sync_to_async(getattr(self.plain, name))


class Clock:
    """Stands still unless it is set; given in place of a store's own."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def configuration(backend: str) -> dict[str, Any]:
    """What SYNCSESSIONS["STORES"] would say of a store of its own on this backend; skips where there is none here."""
    if backend == "memory":
        return {"BACKEND": "syncsessions.stores.memory.MemoryStore"}
    if backend == "redis":
        url = redis_url()
        if url is None:
            pytest.skip("no Redis here: name one in TEST_REDIS_URL")
        options = {"prefix": f"test-{secrets.token_hex(8)}"}
        return {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": url, "OPTIONS": options}
    alias = DATABASES[backend]
    if alias not in settings.DATABASES:
        pytest.skip(f"no {alias} here: name one in TEST_{alias.upper()}_URL")
    return {"BACKEND": "syncsessions.stores.database.DatabaseStore", "OPTIONS": {"using": alias}}


def made(params: dict[str, Any]) -> BaseStore:
    return import_string(params["BACKEND"])("default", params)


@pytest.fixture(params=BACKENDS)
def backend(request: Any) -> Iterator[str]:
    """Each backend's name in turn, its database open to the test and cleared afterwards."""
    configuration(request.param)
    if request.param not in DATABASES:
        yield request.param
        return
    request.getfixturevalue("django_db_setup")
    with request.getfixturevalue("django_db_blocker").unblock():
        try:
            yield request.param
        finally:
            _clear(DATABASES[request.param])


@pytest.fixture
def params(backend: str) -> Iterator[dict[str, Any]]:
    """The configuration of a store that no other test knows."""
    found = configuration(backend)
    yield found
    if backend == "redis":
        _forget(found["LOCATION"], found["OPTIONS"]["prefix"])


@pytest.fixture
def plain_store(params: dict[str, Any]) -> Iterator[BaseStore]:
    store = made(params)
    yield store
    store.close()


@pytest.fixture(params=["sync", "async"])
async def store(request: Any, plain_store: BaseStore) -> AsyncIterator[Store]:
    """An empty store on each backend, in each form that it has of its own."""
    yield Store(plain_store, request.param)
    plain_store.close()


@pytest.fixture
def own_store(settings: Any) -> None:
    """The site's store in memory, empty."""
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "STORES": {"default": configuration("memory")}}


@pytest.fixture
def namespace() -> str:
    return f"tests.{secrets.token_hex(8)}"


def is_of_its_own(item: pytest.Item) -> bool:
    """Whether no other test of a `store` does the same."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return params.get("store") != "async" or params["backend"] in ASYNC_ON


async def gone(store: Store, namespace: str, id: str) -> None:  # noqa: A002
    """Wait until the record is no longer live, by the store's own clock."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await store.get(namespace, id)
        except NotFound:
            return
        assert time.monotonic() < deadline, "the record lives on"
        await asyncio.sleep(0.005)


async def passed(store: Store, seconds: float) -> None:
    """Wait until the store's clock has gone on by so much: a record of its own marks the time."""
    namespace = f"marks.{secrets.token_hex(8)}"
    await store.create(namespace, "mark", {}, ttl=seconds)
    await gone(store, namespace, "mark")
    await store.expire(namespace)


def _clear(alias: str) -> None:
    tables = [model._meta.db_table for model in apps.get_app_config("syncsessions").get_models() if model._meta.managed]
    with connections[alias].cursor() as cursor:
        for table in dict.fromkeys(reversed(tables)):  # who refers to another comes after it
            cursor.execute(f"DELETE FROM {table}")
    close_connections()


def close_connections() -> None:
    """This thread's, and those of the thread that async code has its queries run in.

    A test that may not use databases fails where it finds an open one.
    """
    connections.close_all()
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def _forget(url: str, prefix: str) -> None:
    import redis

    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"*{prefix}*", count=1000):
            client.delete(key)
