"""Expiry: whoever is there removes sessions past their deadline, and each end is told once."""

from __future__ import annotations

import random
from time import perf_counter
from typing import TYPE_CHECKING

from syncsessions.doorbell import ring
from syncsessions.exceptions import SyncSessionsError
from syncsessions.processes import registry, telling
from syncsessions.processes.document import of_data
from syncsessions.processes.frozen import FrozenDict, frozen_dict
from syncsessions.processes.names import ENDINGS, EXPIRED, NAMESPACE, group_of, split
from syncsessions.processes.running import Aside, Steps
from syncsessions.signals import emit, expiry_failed, processes_expired
from syncsessions.stores import stores
from syncsessions.stores.operations import Expire
from syncsessions.stores.record import Record

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess

BATCH = 200
SWEPT_EVERY = 100  # starts
FEW = 20  # records that somebody else's start may be held up for


def now_and_then() -> Steps[None]:
    """At every so many starts, sweep a few: nobody is held up for many."""
    if random.randrange(SWEPT_EVERY) or stores["processes"].in_transaction():  # noqa: S311 - any start will do
        return
    try:
        yield from sweep(FEW)
    except SyncSessionsError as error:
        telling.logger.warning("Expired sessions were not swept: %s", error)


def sweep(most: int | None = None) -> Steps[int]:
    """Remove what is past its deadline, at most so many; how many sessions that were."""
    began = perf_counter()
    count = 0
    try:
        while most is None or count < most:
            batch = BATCH if most is None else min(BATCH, most - count)
            records: list[Record] = yield Expire(NAMESPACE, batch)
            for record in records:
                yield from _tell(record)
            count += len(records)
            if len(records) < batch:
                break
        yield Expire(ENDINGS, BATCH)
    except SyncSessionsError as error:
        if expiry_failed.receivers:
            emit(expiry_failed, None, error=error)
        raise
    if count and processes_expired.receivers:
        emit(processes_expired, None, count=count, duration=perf_counter() - began)
    return count


def _tell(record: Record) -> Steps[None]:
    path, session_id = split(record.id)
    process = registry.class_of(path)
    try:
        state, _revision, rest = of_data(record.data)
        if process is not None and rest.vsn != process.vsn:
            state = process.migrated(session_id, rest.vsn, state)
    except Exception as error:  # a record that is not ours, a `migrate` that fails
        telling.logger.error("The state of an expired session could not be read", exc_info=error)
        process, state = None, frozen_dict({}, "state")
    yield from say_goodbye(process, session_id, (record.id, record.life), state, EXPIRED)


def say_goodbye(
    process: type[SessionProcess] | None, session_id: str, key: tuple[str, str], state: FrozenDict, reason: str
) -> Steps[None]:
    """The process's own `on_stop`, which may use the ORM, then all others: when the caller's transaction stands."""
    store = stores["processes"]

    def reported() -> None:
        if process is not None and process.says_goodbye:
            try:
                process(session_id).on_stop(session_id, state, reason)
            except Exception as error:
                telling.harmless(process, session_id, "on_stop", error)
        tell_of_stop(process, session_id, key, reason)

    if store.in_transaction():
        store.after_commit(reported)
    elif process is not None and process.says_goodbye:
        yield Aside(reported)
    else:
        reported()


def tell_of_stop(process: type[SessionProcess] | None, session_id: str, key: tuple[str, str], reason: str) -> None:
    """The signal, who listens here, and who listens elsewhere."""
    held = registry.local.get(key)
    if held is not None:
        held.stopped(reason)
    telling.stopped(process, session_id, reason)
    ring(group_of(*key), {"type": "process.changed", "stopped": reason})
