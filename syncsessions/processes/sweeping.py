"""Expiry: whoever is there removes sessions past their deadline, and each end is told once."""

from __future__ import annotations

import random
from time import perf_counter
from typing import TYPE_CHECKING

from syncsessions.doorbell import ring
from syncsessions.exceptions import AlreadyExists, SyncSessionsError
from syncsessions.processes import registry, telling
from syncsessions.processes.document import of_data
from syncsessions.processes.frozen import FrozenDict, frozen_dict
from syncsessions.processes.names import ENDINGS, EXPIRED, NAMESPACE, TERMINATED, group_of, split
from syncsessions.processes.running import Aside, Steps
from syncsessions.signals import emit, expiry_failed, process_stopped, processes_expired
from syncsessions.stores import stores
from syncsessions.stores.operations import Create, Delete, Expire
from syncsessions.stores.record import Record

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess

REMEMBERED = 60.0  # seconds for which a termination can be told from an expiry
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
        failure = error
        if expiry_failed.receivers:
            yield Aside(lambda: emit(expiry_failed, None, error=failure))
        raise
    duration = perf_counter() - began
    if count and processes_expired.receivers:
        yield Aside(lambda: emit(processes_expired, None, count=count, duration=duration))
    return count


def _tell(record: Record) -> Steps[None]:
    process, session_id = registry.class_of(record), split(record.id)[1]
    try:
        state, _revision, rest = of_data(record.data)
        if process is not None and rest.vsn != process.vsn:
            state = process.migrated(session_id, rest.vsn, state)
    except Exception as error:  # a record that is not ours, a `migrate` that fails
        telling.logger.error("The state of an expired session could not be read", exc_info=error)
        process, state = None, frozen_dict({}, "state")
    yield from say_goodbye(process, session_id, (record.id, record.life), state, EXPIRED)


def terminate(
    process: type[SessionProcess] | None, session_id: str, key: tuple[str, str], state: FrozenDict
) -> Steps[bool]:
    """End a session, and leave word of that for those in other processes; False where it was gone."""
    record_id, life = key
    marked = True
    try:
        yield Create(ENDINGS, life, life, {}, "{}", REMEMBERED, None, None)
    except AlreadyExists:
        marked = False
    if not (yield Delete(NAMESPACE, record_id, life)):
        if marked:
            yield Delete(ENDINGS, life, None)
        # Somebody else was first, or it has expired at this moment: then nobody has terminated it.
        return False
    yield from say_goodbye(process, session_id, key, state, TERMINATED)
    return True


def say_goodbye(
    process: type[SessionProcess] | None, session_id: str, key: tuple[str, str], state: FrozenDict, reason: str
) -> Steps[None]:
    """The process's own `on_stop`, who listens here, the signal, who listens elsewhere: when the caller's transaction
    stands. `on_stop` and the signal's receivers may use the ORM, whoever has found the session's end.
    """
    store = stores["processes"]

    def reported() -> None:
        if process is not None and process.says_goodbye:
            try:
                process(session_id).on_stop(session_id, state, reason)
            except Exception as error:
                telling.harmless(process, session_id, "on_stop", error)
        held = registry.local.get(key)
        if held is not None:
            held.stopped(reason)
        telling.stopped(process, session_id, reason)
        ring(group_of(*key), {"type": "process.changed", "stopped": reason})

    if store.in_transaction():
        store.after_commit(reported)
    elif process_stopped.receivers or (process is not None and process.says_goodbye):
        yield Aside(reported)
    else:
        reported()
