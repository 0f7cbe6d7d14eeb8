"""Sessions in this process's memory: their documents stay Python values, and a message makes no JSON."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice
from typing import TYPE_CHECKING, Any

from syncsessions.exceptions import CallTimeout, Conflict, NotFound, SessionNotFound
from syncsessions.json_values import JSON, encode
from syncsessions.processes import background, registry, sweeping
from syncsessions.processes.document import Document, data_of
from syncsessions.processes.frozen import frozen, frozen_args
from syncsessions.processes.machine import Change
from syncsessions.processes.names import EXPIRED, NAMESPACE, TERMINATED
from syncsessions.processes.running import Steps
from syncsessions.processes.session import Session
from syncsessions.processes.steps import TIMEOUT, Known
from syncsessions.signals import message_failed, message_handled
from syncsessions.stores.memory.store import clock
from syncsessions.stores.operations import Delete, Touch

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess
    from syncsessions.stores.memory.space import Entry
    from syncsessions.stores.memory.store import MemoryStore

LOOK_EVERY = 2.0  # seconds; who listens is to hear of an expiry within five
_looking: Future[None] | None = None


async def _look() -> None:
    """Tell those who listen here of sessions that have expired, while anybody listens."""
    global _looking
    while True:
        await asyncio.sleep(LOOK_EVERY)
        with registry.making:
            live = [session for session in list(registry.local.values()) if isinstance(session, LiveSession)]
            if not live:
                _looking = None
                return
        for session in live:
            if session._is_over:
                session.stopped(EXPIRED)


def _start_anew() -> None:
    """In a forked child: the loop stayed behind."""
    global _looking
    _looking = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def text_of(document: Document) -> str:
    """The document as JSON, for whoever reads its record."""
    return encode(data_of(document))


class LiveSession(Session):
    """Every handle of a session in memory is this one object, kept with its entry."""

    __slots__ = ("_calls", "_casts", "_entry", "_simple", "_terminated", "_ttl", "store")

    def __init__(self, process: type[SessionProcess], session_id: str, store: MemoryStore, entry: Entry) -> None:
        super().__init__(process, session_id)
        self.store: MemoryStore = store
        self._entry = entry
        self._simple = process.simple
        self._calls = process.table.calls
        self._casts = process.table.casts
        self._ttl = process.lifetime()
        self._terminated = False

    @property
    def key(self) -> tuple[str, str]:
        return self._entry.id, self._entry.life

    def dispatch(self, type: str, payload: Any = None) -> int:  # noqa: A002
        plan = self._simple.get(type) if isinstance(type, str) else None
        if plan is None or message_handled.receivers or message_failed.receivers:
            return super().dispatch(type, payload)
        machine = self._machine or self.machine
        entry = self._entry
        if payload is not None:
            payload = frozen(payload, type)
        ends = None
        while True:
            version = entry.revision
            state, revision, rest = entry.content
            if rest.pending:
                return super().dispatch(type, payload)
            new = machine.reduce(plan, state, payload)
            try:
                if self.store.swap(NAMESPACE, entry, version, (new, revision + 1, rest), self._ttl):
                    break
            except NotFound:
                raise self._gone() from None
            ends = self._not_beyond(ends)
        if self._subscriptions is not None or self._watches:
            self._has_changed(new, revision + 1)
        return revision + 1  # type: ignore[no-any-return]

    def call(self, name: str, *args: Any, timeout: float = TIMEOUT) -> JSON:
        message = self._calls.get(name) if isinstance(name, str) else None
        if message is None or message.blocking or message_handled.receivers or message_failed.receivers:
            return super().call(name, *args, timeout=timeout)
        plain = frozen_args(args)
        began = time.monotonic()
        known = self._known()
        if known.document[2].pending:
            return super().call(name, *args, timeout=timeout)
        change = (self._machine or self.machine).call(known.document, name, message, plain)
        if time.monotonic() - began > timeout:
            raise CallTimeout
        if change.applied:
            try:
                if not self.store.swap(NAMESPACE, self._entry, known.version, change.document, self._ttl):
                    return super().call(name, *args, timeout=timeout)
            except NotFound:
                raise self._gone() from None
            self._has_changed(change.document[0], change.document[1])
        elif not self.store.keep(NAMESPACE, self._entry, self._ttl):
            raise self._gone()
        return change.reply

    def cast(self, name: str, *args: Any) -> None:
        message = self._casts.get(name) if isinstance(name, str) else None
        if message is None or message.blocking or message_handled.receivers or message_failed.receivers:
            super().cast(name, *args)
            return
        machine = self._machine or self.machine
        plain = frozen_args(args)
        entry = self._entry
        began = time.monotonic()
        has_run = False
        while True:
            version = entry.revision
            state, revision, rest = entry.content
            if rest.pending:
                super().cast(name, *args)
                return
            new = machine.cast_state(state, name, message, plain)
            if time.monotonic() - began > TIMEOUT:
                raise Conflict if has_run else CallTimeout
            has_run = True
            try:
                if self.store.swap(NAMESPACE, entry, version, (new, revision + 1, rest), self._ttl):
                    break
            except NotFound:
                raise self._gone() from None
        self._has_changed(new, revision + 1)

    async def adispatch(self, type: str, payload: Any = None) -> int:  # noqa: A002
        simple = isinstance(type, str) and type in self._simple
        return self.dispatch(type, payload) if simple else await super().adispatch(type, payload)

    def _load(self) -> Steps[Known]:
        return self._known()
        yield

    @property
    def _is_over(self) -> bool:
        return self._entry.deadline <= clock() or not self._entry.queued

    def _known(self) -> Known:
        if self._is_over:
            raise self._gone()
        entry = self._entry
        version = entry.revision
        return Known(entry.content, version)

    def _recent(self) -> Known | None:
        return None

    def _swap(self, known: Known, change: Change) -> Steps[Known | None]:
        try:
            swapped = self.store.swap(
                NAMESPACE,
                self._entry,
                known.version,
                change.document,
                self._ttl,
                change.entry,
                self.process.history,
                change.drop,
            )
        except NotFound:
            raise self._gone() from None
        return Known(change.document, known.version + 1) if swapped else None
        yield

    def _keep(self) -> Steps[None]:
        try:
            yield Touch(NAMESPACE, self._entry.id, self._ttl, self._entry.life)
        except (NotFound, Conflict):
            raise self._gone() from None

    def _terminate(self) -> Steps[None]:
        if not (yield Delete(NAMESPACE, self._entry.id, self._entry.life)):
            raise self._gone()
        self._terminated = True
        yield from sweeping.say_goodbye(self.process, self.id, self.key, self._entry.content[0], TERMINATED)

    def _entries(self, limit: int | None) -> Steps[Sequence[Mapping[str, Any]]]:
        return list(islice(reversed(list(self._entry.log or ())), limit))
        yield

    def _now(self) -> Steps[Callable[[], float]]:
        return clock
        yield

    def _until(self, moment: float) -> float:
        return moment - clock()

    def _follow(self) -> None:
        """Whoever terminates it is here, and tells; nobody may come when it expires."""
        global _looking
        with registry.making:
            if _looking is None or _looking.done():
                _looking = background.start(_look())

    def _ring(self, revision: int) -> None:
        """There are none in other processes."""

    def _reason(self) -> Steps[str]:
        # What has left before its deadline was terminated a moment ago.
        return TERMINATED if self._terminated or self._entry.deadline > clock() else EXPIRED
        yield

    def _gone(self) -> SessionNotFound:
        if self._subscriptions is not None:
            self._subscriptions.clear()
        return SessionNotFound()

    def _not_beyond(self, ends: float | None) -> float:
        now = time.monotonic()
        if ends is not None and now > ends:
            raise Conflict
        return now + TIMEOUT if ends is None else ends
