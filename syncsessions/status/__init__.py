"""How syncsessions is doing: all that it rests on is asked at once, and not for long."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.utils.translation import gettext as _

from syncsessions import __version__, conf
from syncsessions.stash.sql import database_alias
from syncsessions.status import problems
from syncsessions.status.connections import ConnectionsStatus, ask_connections, ask_other_sites
from syncsessions.status.connections import known as known_connections
from syncsessions.status.layer import LayerStatus, configured_layer, round_trip
from syncsessions.status.locations import shown_error
from syncsessions.status.probe import Probe
from syncsessions.status.problems import Problem
from syncsessions.status.stash import StashStatus, ask_stash
from syncsessions.status.stores import (
    ProcessesStatus,
    ProxyNote,
    StoreStatus,
    SyncSessionsStatus,
    alias_of,
    ask_notes,
    ask_processes,
    ask_sync_sessions,
    configured_stores,
    ping,
)

PATIENCE = 5.0  # seconds for all answers together
REMOTE_PATIENCE = 12.0  # seconds for those of other sites
SETTINGS = (
    *("PAIRING_LEASE", "PAIRING_MAX_SESSIONS", "PAIRING_MAX_PER_USER", "PAIRING_GUESS_RATE"),
    *("PROCESS_TTL", "MAX_PROCESSES", "PROCESS_START_RATE", "STASH_TTL", "TRUSTED_PROXIES"),
)
"""Those that decide what is let in, and for how long."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Status:
    """What was found at one moment; `as_dict` is the same as JSON, its keys are stable."""

    at: datetime
    stores: list[StoreStatus]
    sync_sessions: SyncSessionsStatus
    processes: ProcessesStatus
    stash: StashStatus
    connections: ConnectionsStatus
    channel_layer: LayerStatus | None
    settings: dict[str, Any]
    proxies: list[ProxyNote]
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        return not any(problem.level == "error" for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        found = {**asdict(self), "at": self.at.isoformat()}
        found["proxies"] = [{"proxy": note.proxy, "since": note.since.isoformat()} for note in self.proxies]
        found["problems"] = [problem._asdict() for problem in self.problems]
        return {"version": __version__, "ok": self.ok, **found}


def look(patience: float = PATIENCE, *, remote: bool = False) -> Status:
    """Ask everything; takes `patience` seconds at most. Raises nothing: what does not answer is a problem.

    With `remote` the other sites are asked how they see the connections, which may take `REMOTE_PATIENCE`.
    """
    at, until = datetime.now(UTC), time.monotonic() + patience
    asked_sites = Probe(ask_other_sites) if remote else None
    known_stores, known_layer, stash_alias = configured_stores(), configured_layer(), database_alias()
    pings = [Probe(partial(ping, store.alias)) for store in known_stores]
    asked_sessions, asked_processes = Probe(ask_sync_sessions), Probe(ask_processes)
    asked_notes, asked_stash = Probe(ask_notes), Probe(ask_stash)
    asked_connections = Probe(ask_connections)
    asked_layer = None if known_layer is None else Probe(round_trip)
    found = problems.of_checks()

    stores = [_pinged(store, probe, until, found) for store, probe in zip(known_stores, pings, strict=True)]
    sessions, error = _answered(asked_sessions, until)
    if sessions is None:
        sessions = SyncSessionsStatus(alias_of("pairing"), error=error)
        if all(store.reachable for store in stores if store.alias == sessions.store):
            found.append(problems.sync_sessions_unknown(str(error)))
    processes, error = _answered(asked_processes, until)
    if processes is None:  # a store that does not answer is told of above
        processes = ProcessesStatus(alias_of("processes"), error=error)
    stash, error = _answered(asked_stash, until)
    if stash is None:
        stash = StashStatus(stash_alias, error=error)
        found.append(problems.stash_silent(stash_alias, str(error)))
    links, error = _answered(asked_connections, until)
    if links is None:
        links = replace(known_connections(), error=error)
        if stash.error is None or links.database != stash.database:
            found.append(problems.connections_silent(links.database, str(error)))
    found += problems.of_connections(links)
    layer = known_layer
    if known_layer is not None and asked_layer is not None:
        layer = _went_round(known_layer, asked_layer, until, found)
    proxies = _answered(asked_notes, until)[0] or []
    if asked_sites is not None:
        told, error = _answered(asked_sites, until + REMOTE_PATIENCE - patience)
        links = replace(links, remote=told, error=links.error if told is not None else error)
    found += [problems.proxy_not_trusted(note.proxy) for note in proxies]

    current = conf.current()
    values = {name: getattr(current, name) for name in SETTINGS}
    values["TRUSTED_PROXIES"] = list(map(str, current.TRUSTED_PROXIES or ()))
    found.sort(key=lambda each: each.level)
    return Status(at, stores, sessions, processes, stash, links, layer, values, proxies, found)


def _answered(probe: Probe[Answer], until: float) -> tuple[Answer | None, str | None]:
    """The answer, or why there is none."""
    try:
        return probe.answer(until), None
    except Exception as error:
        return None, shown_error(error)


def _pinged(store: StoreStatus, probe: Probe[Any], until: float, found: list[Problem]) -> StoreStatus:
    pong, error = _answered(probe, until)
    if pong is None:
        found.append(problems.store_silent(store.alias, store.location, str(error), store.used_by))
        return replace(store, error=error)
    if pong.server is not None:
        found += problems.of_server(
            _("The store “%(alias)s”") % {"alias": store.alias}, pong.server, keeps_records=True
        )
    name = None if pong.server is None else pong.server.name
    return replace(store, reachable=True, ping_ms=round(pong.ping_ms, 2), server=name)


def _went_round(layer: LayerStatus, probe: Probe[Any], until: float, found: list[Problem]) -> LayerStatus:
    answer, error = _answered(probe, until)
    if answer is None:
        found.append(problems.layer_silent(layer.alias, layer.location, str(error)))
        return replace(layer, error=error)
    milliseconds, server = answer
    return replace(layer, round_trip_ms=round(milliseconds, 2), server=None if server is None else server.name)
