"""Whether the stores answer, and how many sync sessions there are in one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections

from syncsessions import conf
from syncsessions.client import NOTES, PROXY
from syncsessions.pairing import sync_sessions
from syncsessions.pairing.session import DIRECTIONS, NEXT
from syncsessions.processes import count_sessions
from syncsessions.status.locations import shown_location
from syncsessions.status.servers import Server, server_of
from syncsessions.stores import DEFAULT_STORE_ALIAS, BaseStore, stores
from syncsessions.stores.memory import MemoryStore
from syncsessions.stores.redis import RedisStore

COUNTED = 1000  # sync sessions
MOST_NOTES = 20
TRIES = 3  # of which the quickest counts: the probes share one processor
ROOMS = ("pairing", "processes")


@dataclass(frozen=True)
class StoreStatus:
    """`ping_ms` is None where the store does not answer; `used_by` names the rooms whose records are in it."""

    alias: str
    backend: str
    location: str | None
    used_by: list[str]
    reachable: bool = False
    ping_ms: float | None = None
    server: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class SyncSessionsStatus:
    """`active` is None where it is not known; the newest `counted` were counted by status and direction.

    Not `visible` are those in the memory of other processes.
    """

    store: str
    visible: bool = True
    active: int | None = None
    counted: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    by_direction: dict[str, int] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class ProcessesStatus:
    """`active` is None where it is not known; not `visible` are those in the memory of other processes."""

    store: str
    visible: bool = True
    active: int | None = None
    error: str | None = None


class ProxyNote(NamedTuple):
    """A peer whose forwarded header some process did not believe, and when that was first noted."""

    proxy: str
    since: datetime


class Pong(NamedTuple):
    ping_ms: float
    server: Server | None


def alias_of(room: str) -> str:
    """The alias of the store that a room uses."""
    return room if room in _configured() else DEFAULT_STORE_ALIAS


def configured_stores() -> list[StoreStatus]:
    """What the settings say of the stores."""
    return [
        StoreStatus(
            alias,
            str(params.get("BACKEND")),
            _location(params),
            [room for room in ROOMS if alias_of(room) == alias],
        )
        for alias, params in _configured().items()
    ]


def _configured() -> dict[str, Mapping[str, Any]]:
    """As far as it has the right shape: what is wrong with it is told when the store is asked."""
    given: Any = conf.current().STORES
    pairs = given.items() if isinstance(given, Mapping) else ()
    return {alias: params if isinstance(params, Mapping) else {} for alias, params in pairs}


def _location(params: Mapping[str, Any]) -> str | None:
    if params.get("LOCATION") is not None:
        return shown_location(params["LOCATION"])
    if not str(params.get("BACKEND")).endswith("DatabaseStore"):
        return None
    using = (params.get("OPTIONS") or {}).get("using", DEFAULT_DB_ALIAS)
    engine = str(connections.settings.get(using, {}).get("ENGINE"))
    return f"database {using!r} ({engine.rpartition('.')[2]})"


def ping(alias: str) -> Pong:
    """Raises `StoreUnavailable`, and `InvalidStoreError` where there is no such store to be made."""
    store = stores[alias]
    store.ping()  # connects
    return Pong(min(_timed(store.ping) for _try in range(TRIES)), _server(store))


def _timed(ask: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def _server(store: BaseStore) -> Server | None:
    """What a Redis is, by a short connection of our own; None where it does not say."""
    if not isinstance(store, RedisStore):
        return None
    import redis

    timeout = store.options.get("timeout", 2.0)
    options = {name: value for name, value in store.options.items() if name not in ("prefix", "timeout")}
    known = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **options}
    try:
        with redis.Redis.from_url(str(store.location), **known) as client:
            return server_of(client.info())
    except redis.RedisError:  # an account may be refused that
        return None


def ask_sync_sessions() -> SyncSessionsStatus:
    """Reads no more than the newest `COUNTED`. Raises `StoreUnavailable`."""
    alias = alias_of("pairing")
    if is_private(alias):
        return SyncSessionsStatus(alias, visible=False)
    newest = sync_sessions.list_active(limit=COUNTED)
    by_status = Counter(session.status for session in newest)
    by_direction = Counter(session.direction for session in newest)
    return SyncSessionsStatus(
        alias,
        active=len(newest) if len(newest) < COUNTED else sync_sessions.count_active(),
        counted=len(newest),
        by_status={status: by_status[status] for status in NEXT},
        by_direction={direction: by_direction[direction] for direction in DIRECTIONS},
    )


def ask_processes() -> ProcessesStatus:
    """Raises `StoreUnavailable`."""
    alias = alias_of("processes")
    if is_private(alias):
        return ProcessesStatus(alias, visible=False)
    return ProcessesStatus(alias, active=count_sessions())


def is_private(alias: str) -> bool:
    """Whether each process has records of its own under this alias."""
    return isinstance(stores[alias], MemoryStore)


def ask_notes() -> list[ProxyNote]:
    """Raises `StoreUnavailable`."""
    notes = stores["pairing"].list(NOTES, limit=MOST_NOTES)
    return [ProxyNote(note.id.removeprefix(PROXY), note.created_at) for note in notes if note.id.startswith(PROXY)]
