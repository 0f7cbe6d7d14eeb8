"""How many statements each operation of a database store is, outside a transaction; BEGIN and COMMIT not counted."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from syncsessions.exceptions import AlreadyExists, NotFound
from syncsessions.stores.database import DatabaseStore

pytestmark = pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"], indirect=True)


class Count(CaptureQueriesContext):
    """The statements of a block; an error where they are not as many as wanted: `mysql` is MySQL's number."""

    def __init__(self, store: DatabaseStore, wanted: int, mysql: int | None = None) -> None:
        super().__init__(connections[store.using])
        connections[store.using].ensure_connection()
        self.wanted = mysql if mysql is not None and connections[store.using].vendor == "mysql" else wanted

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        said = [query["sql"] for query in self.captured_queries if " " in query["sql"].strip()]
        assert raised[0] is not None or len(said) == self.wanted, said


def test_a_record(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    for name in "ab":
        with Count(store, 3, mysql=4):
            life = store.create(namespace, name, {}, ttl=60, limit=9).life
    with Count(store, 1):
        store.get(namespace, "b")
    with Count(store, 1):
        store.touch(namespace, "b", 60, life=life)
    with Count(store, 1, mysql=2):
        store.replace(namespace, "b", {}, revision=1, life=life, ttl=60)
    with Count(store, 2, mysql=3):
        store.replace(namespace, "b", {}, revision=2, life=life, log="entry")
    with Count(store, 1):
        store.read_log(namespace, "b")
    with Count(store, 2, mysql=3):
        assert store.delete(namespace, "a")
    with Count(store, 3, mysql=4):
        assert store.delete(namespace, "b", life=life)


def test_a_namespace(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    store.create(namespace, "a", {}, ttl=60)
    with Count(store, 1):
        store.count(namespace)
    with Count(store, 1):
        store.list(namespace)
    with Count(store, 1):
        assert store.expire(namespace) == []


def test_what_comes_to_nothing(plain_store: DatabaseStore, namespace: str) -> None:
    store = plain_store
    with Count(store, 1):
        assert store.delete(namespace, "a") is False
    with Count(store, 1), pytest.raises(NotFound):
        store.get(namespace, "a")
    with Count(store, 2), pytest.raises(NotFound):
        store.touch(namespace, "a", 60)
    store.create(namespace, "a", {}, ttl=60)
    with Count(store, 3, mysql=4), pytest.raises(AlreadyExists):
        store.create(namespace, "a", {}, ttl=60)


def test_a_rate(plain_store: DatabaseStore, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncsessions.stores.database.rates.SWEPT_EVERY", 10**9)
    store = plain_store
    with Count(store, 3, mysql=4):
        token = store.hit(namespace, "5/m")
    with Count(store, 1):
        store.unhit(namespace, token)


def test_ping_really_asks(plain_store: DatabaseStore) -> None:
    with Count(plain_store, 1):
        plain_store.ping()
