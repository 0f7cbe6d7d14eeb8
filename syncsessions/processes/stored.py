"""Sessions in a store that other processes share: each message is compare-and-set on the record."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from syncsessions.doorbell import ring
from syncsessions.exceptions import Conflict, NotFound, SessionNotFound
from syncsessions.json_values import encode
from syncsessions.processes import background, registry, sweeping
from syncsessions.processes.document import completed, data_of, of_data
from syncsessions.processes.machine import Change
from syncsessions.processes.names import ENDINGS, EXPIRED, NAMESPACE, TERMINATED, group_of
from syncsessions.processes.running import Steps
from syncsessions.processes.session import Session
from syncsessions.processes.steps import Known
from syncsessions.processes.watching import wait_for_the_end
from syncsessions.stores.operations import Get, Ping, ReadLog, Replace, Touch
from syncsessions.stores.record import Record

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess
    from syncsessions.stores import BaseStore

CLOCK_AGES_AFTER = 30.0  # seconds after which the store's clock is asked for anew


class StoreClock:
    """A store's clock, told from this process's by what the store has last said."""

    __slots__ = ("_offset", "_read_at")

    def __init__(self) -> None:
        self._offset = 0.0
        self._read_at: float | None = None

    @property
    def is_fresh(self) -> bool:
        return self._read_at is not None and time.monotonic() - self._read_at < CLOCK_AGES_AFTER

    def set(self, now: float) -> None:
        """The store has just said that it is `now`, in seconds since 1970."""
        self._read_at = time.monotonic()
        self._offset = now - self._read_at

    def __call__(self) -> float:
        return time.monotonic() + self._offset


_clocks: weakref.WeakKeyDictionary[BaseStore, StoreClock] = weakref.WeakKeyDictionary()


def clock_of(store: BaseStore) -> StoreClock:
    return _clocks.setdefault(store, StoreClock())


class StoredSession(Session):
    """Handles of one life in this process are one object while somebody holds it."""

    __slots__ = ("_clock", "_following", "_known", "_life", "_record_id", "_ttl", "store")

    def __init__(self, process: type[SessionProcess], session_id: str, store: BaseStore, record: Record) -> None:
        super().__init__(process, session_id)
        self.store = store
        self._clock = clock_of(store)
        self._record_id = record.id
        self._life = record.life
        self._ttl = process.lifetime()
        self._known: Known | None = None
        self._following: Future[None] | None = None
        self._remember(self._known_of(record))

    @property
    def key(self) -> tuple[str, str]:
        return self._record_id, self._life

    @property
    def group(self) -> str:
        return group_of(self._record_id, self._life)

    def learn(self, record: Record) -> None:
        """Somebody has read the record."""
        if self._known is None or record.revision > self._known.version:
            self._remember(self._known_of(record))

    def _remember(self, known: Known) -> Known:
        # What a transaction has done may be rolled back, and another worker then take its revision.
        self._known = None if self.store.in_transaction() else known
        return known

    def _known_of(self, record: Record) -> Known:
        state, revision, rest = of_data(record.data)
        if rest.vsn != self.process.vsn:
            state = self.process.migrated(self.id, rest.vsn, state)
            rest = rest.of_version(self.process.vsn)
        return Known((completed(self.process.table, state), revision, rest), record.revision)

    def _load(self) -> Steps[Known]:
        try:
            record: Record = yield Get(NAMESPACE, self._record_id)
        except NotFound:
            raise self._gone() from None
        if record.life != self._life:
            raise self._gone()
        return self._remember(self._known_of(record))

    def _recent(self) -> Known | None:
        return self._known

    def _swap(self, known: Known, change: Change) -> Steps[Known | None]:
        data = data_of(change.document)
        entry = None if change.entry is None else encode(change.entry)
        try:
            record: Record = yield Replace(
                NAMESPACE,
                self._record_id,
                data,
                encode(data),
                known.version,
                self._ttl,
                self._life,
                entry,
                self.process.history,
                change.drop,
            )
        except NotFound:
            raise self._gone() from None
        except Conflict as conflict:
            found: Record | None = conflict.record
            self._known = None if found is None or found.life != self._life else self._known_of(found)
            return None
        self._clock.set(record.expires_at.timestamp() - self._ttl)
        return self._remember(Known(change.document, record.revision))

    def _keep(self) -> Steps[None]:
        try:
            yield Touch(NAMESPACE, self._record_id, self._ttl, self._life)
        except (NotFound, Conflict):
            raise self._gone() from None

    def _terminate(self) -> Steps[None]:
        known = yield from self._load()
        if not (yield from sweeping.terminate(self.process, self.id, self.key, known.document[0])):
            raise self._gone()

    def _entries(self, limit: int | None) -> Steps[Sequence[Mapping[str, Any]]]:
        try:
            return (yield ReadLog(NAMESPACE, self._record_id, limit))  # type: ignore[no-any-return]
        except NotFound:
            raise self._gone() from None

    def _now(self) -> Steps[Callable[[], float]]:
        if not self._clock.is_fresh:
            self._clock.set((yield Ping()))
        return self._clock

    def _until(self, moment: float) -> float:
        return moment - self._clock()

    def _reason(self) -> Steps[str]:
        try:
            yield Get(ENDINGS, self._life)
        except NotFound:
            return EXPIRED
        return TERMINATED

    def _follow(self) -> None:
        with registry.making:
            if self._following is None or self._following.done():
                self._following = background.start(self._notice_the_end())

    async def _notice_the_end(self) -> None:
        self.stopped(await wait_for_the_end(self))

    def forget_if_idle(self) -> None:
        with registry.making:
            subscribed = self._subscriptions is not None and self._subscriptions.all
            if self._following is not None and not subscribed:
                self._following.cancel()
                self._following = None
        super().forget_if_idle()

    def _ring(self, revision: int) -> None:
        ring(self.group, {"type": "process.changed", "revision": revision})

    def _gone(self) -> SessionNotFound:
        self._known = None
        if self._subscriptions is not None:
            self._subscriptions.clear()
        registry.local.pop(self.key, None)
        return SessionNotFound()
