"""`stores`: each alias's store, made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import override_settings

from syncsessions.stores import BaseStore, InvalidStoreError, stores
from syncsessions.stores.memory import MemoryStore
from syncsessions.stores.operations import Operation

MEMORY = {"BACKEND": "syncsessions.stores.memory.MemoryStore"}


class ClosingStore(BaseStore):
    """Counts how often it was closed, and says which thread asks."""

    closed = 0

    def execute(self, operation: Operation) -> Any:
        return threading.get_ident()

    def close(self) -> None:
        self.closed += 1


CLOSING = {"BACKEND": f"{__name__}.ClosingStore", "LOCATION": "here", "OPTIONS": {"a": 1}}


def configured(**aliases: Any) -> Any:
    return override_settings(SYNCSESSIONS={"STORES": aliases})


def test_without_a_word_there_is_memory() -> None:
    with override_settings(SYNCSESSIONS={}):
        assert type(stores["default"]) is MemoryStore
        assert list(stores) == ["default"]


def test_a_store_knows_what_was_said_of_it() -> None:
    with configured(default=MEMORY, own=CLOSING):
        store = stores["own"]
        assert (store.alias, store.location, store.options) == ("own", "here", {"a": 1})
        assert stores["default"].options == {}
        assert stores.all() == [stores["default"], store]


def test_each_is_made_once_whoever_asks() -> None:
    for _ in range(20):
        with configured(default=MEMORY), ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _n: stores["default"], range(16)))
        assert len({id(store) for store in found}) == 1


def test_pairing_and_processes_fall_back_to_default() -> None:
    with configured(default=MEMORY):
        assert stores["pairing"] is stores["processes"] is stores["default"]
        assert len(stores.all()) == 1
    with configured(default=MEMORY, pairing=MEMORY):
        assert stores["processes"] is stores["default"] is not stores["pairing"]


@pytest.mark.parametrize("alias", ["other", "", "Default"])
def test_others_do_not(alias: str) -> None:
    with configured(default=MEMORY), pytest.raises(InvalidStoreError) as caught:
        stores[alias]
    assert repr(alias) in str(caught.value)


def test_without_a_default_nothing_falls_back() -> None:
    with configured(own=MEMORY), pytest.raises(InvalidStoreError):
        stores["pairing"]


@pytest.mark.parametrize("params", [None, {}, {"BACKEND": "no.Store"}, {"BACKEND": 7}, {"BACKEND": "json.dumps"}])
def test_a_backend_that_is_none(params: Any) -> None:
    with configured(default=params), pytest.raises(InvalidStoreError, match="default"):
        stores["default"]


def test_changed_settings_make_new_stores_and_close_the_old() -> None:
    with configured(default=CLOSING):
        old = stores["default"]
        with configured(default=CLOSING):
            assert stores["default"] is not old
        assert old.closed == 1
        assert stores["default"] is not old
        with override_settings(USE_TZ=False):
            kept = stores["default"]
        assert stores["default"] is kept


def test_close_all_closes_and_keeps_them() -> None:
    with configured(default=CLOSING, unused={"BACKEND": "no.Store"}):
        store = stores["default"]
        stores.close_all()
        assert store.closed == 1
        assert stores["default"] is store


@pytest.mark.django_db
async def test_a_backend_without_async_runs_in_a_thread() -> None:
    store = ClosingStore("default", {})
    assert await store.acount("n") != store.count("n") == threading.get_ident()
    assert store.check() == []
