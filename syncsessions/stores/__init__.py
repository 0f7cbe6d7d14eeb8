"""Where ephemeral records live: `stores[alias]`, one contract over memory, Redis and the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from syncsessions import conf
from syncsessions.stores.base import BaseStore
from syncsessions.stores.record import Record

__all__ = ["BaseStore", "InvalidStoreError", "Record", "stores"]

DEFAULT_STORE_ALIAS = "default"
FALLING_BACK = frozenset({"pairing", "processes"})


class InvalidStoreError(ImproperlyConfigured):
    """There is no such store in SYNCSESSIONS["STORES"], or its BACKEND cannot be used."""


class StoreHandler:
    """The stores of SYNCSESSIONS["STORES"] by alias, each made when first asked for and shared by all threads."""

    def __init__(self) -> None:
        self._stores: dict[str, BaseStore] = {}
        self._lock = threading.Lock()
        setting_changed.connect(self._setting_changed)

    def __getitem__(self, alias: str) -> BaseStore:
        found = self._stores.get(alias)
        return found if found is not None else self._make(alias)

    def __iter__(self) -> Iterator[str]:
        return iter(conf.current().STORES)

    def all(self) -> list[BaseStore]:
        """Every configured store."""
        return [self[alias] for alias in self]

    def close_all(self) -> None:
        """Let go of all connections; the next operation makes new ones."""
        for store in set(self._stores.values()):
            store.close()

    def _make(self, alias: str) -> BaseStore:
        configured = conf.current().STORES
        if alias not in configured:
            if alias not in FALLING_BACK or DEFAULT_STORE_ALIAS not in configured:
                raise InvalidStoreError(f"SYNCSESSIONS['STORES'] has no store {alias!r}.")
            default = self._stores[alias] = self[DEFAULT_STORE_ALIAS]
            return default
        with self._lock:
            if alias not in self._stores:
                self._stores[alias] = _build(alias, configured[alias])
            return self._stores[alias]

    def _setting_changed(self, *, setting: str, **kwargs: Any) -> None:
        if setting == "SYNCSESSIONS":
            self.close_all()
            self._stores = {}


def _build(alias: str, params: Any) -> BaseStore:
    try:
        backend = import_string(params["BACKEND"])
    except (KeyError, TypeError, AttributeError, ImportError) as error:
        raise InvalidStoreError(f"The store {alias!r} has no BACKEND that can be imported: {error}") from error
    if not isinstance(backend, type) or not issubclass(backend, BaseStore):
        raise InvalidStoreError(f"The BACKEND of the store {alias!r} is not a store's class.")
    if not isinstance(params.get("OPTIONS") or {}, Mapping):
        raise InvalidStoreError(f"The OPTIONS of the store {alias!r} are not a dict.")
    return backend(alias, params)


stores = StoreHandler()
