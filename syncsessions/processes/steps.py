"""A session's operations as steps on its store: how a message is applied, and who is told of it."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions.exceptions import (
    CallTimeout,
    Conflict,
    InvalidValue,
    RateLimited,
    SessionNotFound,
    SyncSessionsError,
    UnknownAction,
)
from syncsessions.json_values import JSON
from syncsessions.processes import effects, registry, telling, timers
from syncsessions.processes.document import Document
from syncsessions.processes.effects import Effect
from syncsessions.processes.frozen import FrozenDict, frozen, frozen_args
from syncsessions.processes.history import checked_count
from syncsessions.processes.machine import Change, Machine, next_due
from syncsessions.processes.running import Blocking, Pause, Steps
from syncsessions.processes.subscriptions import Callback, Subscription, Subscriptions
from syncsessions.processes.table import Message
from syncsessions.processes.watching import Listener

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess
    from syncsessions.stores import BaseStore

TIMEOUT = 15.0  # seconds that a message may take, conflicts included
BACKOFF = (0.001, 0.03)  # seconds that rivals for one session wait after the second conflict: first, longest


class Known(NamedTuple):
    """A document and the revision of the record that holds it."""

    document: Document
    version: int


class Applied(NamedTuple):
    document: Document
    reply: JSON
    running: list[Effect]


class SessionSteps(ABC):
    """What every session does, wherever it lives."""

    __slots__ = ("__weakref__", "_effects", "_machine", "_subscriptions", "_timer", "_watches", "id", "process")

    def __init__(self, process: type[SessionProcess], session_id: str) -> None:
        self.process = process
        self.id = session_id
        self._machine: Machine | None = None
        self._subscriptions: Subscriptions | None = None
        self._watches: dict[Listener, None] = {}
        self._effects: effects.Running | None = None
        self._timer: float | None = None

    def __repr__(self) -> str:
        return f"<{self.process.__qualname__} session {self.id}>"

    # What the subclasses bring

    store: BaseStore

    @property
    @abstractmethod
    def key(self) -> tuple[str, str]:
        """The record's id and life."""

    @property
    def group(self) -> str | None:
        """The channel layer's group that is rung at changes; None where all who listen are in this process."""
        return None

    @abstractmethod
    def _load(self) -> Steps[Known]:
        """The document as the store has it. Raises `SessionNotFound`."""

    @abstractmethod
    def _recent(self) -> Known | None:
        """The document as this process last saw it."""

    @abstractmethod
    def _swap(self, known: Known, change: Change) -> Steps[Known | None]:
        """Put the change in place of what was known; None where something else is there by now."""

    @abstractmethod
    def _keep(self) -> Steps[None]: ...

    @abstractmethod
    def _terminate(self) -> Steps[None]: ...

    @abstractmethod
    def _entries(self, limit: int | None) -> Steps[Sequence[Mapping[str, Any]]]: ...

    @abstractmethod
    def _now(self) -> Steps[Callable[[], float]]:
        """The store's clock."""

    @abstractmethod
    def _gone(self) -> SessionNotFound:
        """It has stopped, as has been found out: what depends on it here ends. The error to raise."""

    @abstractmethod
    def _until(self, moment: float) -> float:
        """Seconds from now until a moment of the store's clock, which was read before."""

    @abstractmethod
    def _reason(self) -> Steps[str]:
        """Why a session that is gone has stopped."""

    # How a message is applied

    @property
    def machine(self) -> Machine:
        if self._machine is None:
            self._machine = Machine(self.process, self.id)
        return self._machine

    def _dispatch(self, type_: str, payload: Any) -> Steps[Applied]:
        machine, process = self.machine, self.process
        if not isinstance(type_, str):
            raise InvalidValue(_("An action's type must be text."), key="type")
        payload = frozen(payload, type_)
        needs_clock = process.needs_clock
        now = (yield from self._now()) if needs_clock else time.time
        began = telling.now()
        try:
            applied = yield from self._message(lambda known: machine.dispatch(known.document, type_, payload, now))
        except UnknownAction as error:
            telling.failed(process, self.id, "dispatch", type_, error)
            if process.unknown_action == "raise":
                raise
            if process.unknown_action == "log":
                telling.logger.warning("%s", error)
            yield from self._keep()
            return Applied((yield from self._current()).document, None, [])
        except SyncSessionsError as error:
            telling.failed(process, self.id, "dispatch", type_, error)
            raise
        telling.handled(process, self.id, "dispatch", type_, applied.document[1], began)
        return applied

    def _run(self, type_: str, payload: Any) -> Steps[Effect]:
        handlers = self.machine.effects_of(type_)
        throttled = [handler.key for handler in handlers if handler.throttle is not None]
        began = (yield from self._now())() if throttled else 0.0  # what is dropped is judged after this
        applied = yield from self._dispatch(type_, payload)
        if throttled and not applied.running and not self.store.in_transaction():
            until = applied.document[2].throttled
            wait = min(until.get(key, 0.0) for key in throttled) - began
            if wait > 0:
                raise RateLimited(retry_after=wait)
        return effects.joined(applied.running)

    def _call(self, name: str, args: Sequence[Any], timeout: float) -> Steps[JSON]:
        machine = self.machine
        message, plain = self._found(machine.table.calls, name), frozen_args(args)
        applied = yield from self._timed(
            "call", name, lambda known: machine.call(known.document, name, message, plain), message.blocking, timeout
        )
        return applied.reply

    def _cast(self, name: str, args: Sequence[Any]) -> Steps[None]:
        machine = self.machine
        message, plain = self._found(machine.table.casts, name), frozen_args(args)
        yield from self._timed(
            "cast", name, lambda known: machine.cast(known.document, name, message, plain), message.blocking, TIMEOUT
        )

    def _found(self, messages: Mapping[str, Message], name: str) -> Message:
        message = messages.get(name) if isinstance(name, str) else None
        if message is None:
            raise self.machine.unknown(str(name))
        return message

    def _timed(
        self, kind: str, name: str, change_of: Callable[[Known], Change], blocking: bool, timeout: float
    ) -> Steps[Applied]:
        ends = time.monotonic() + timeout
        began = telling.now()
        has_run = False

        def judged(known: Known) -> Change | Steps[Change]:
            nonlocal has_run
            if blocking:
                return _elsewhere(lambda: change_of(known), ends)
            change = change_of(known)
            if time.monotonic() > ends:
                raise Conflict if has_run else CallTimeout
            has_run = True
            return change

        try:
            applied = yield from self._message(judged, fresh=True, ends=ends)
        except SyncSessionsError as error:
            telling.failed(self.process, self.id, kind, name, error)
            raise
        telling.handled(self.process, self.id, kind, name, applied.document[1], began)
        return applied

    def _message(
        self, change_of: Callable[[Known], Change | Steps[Change]], *, fresh: bool = False, ends: float | None = None
    ) -> Steps[Applied]:
        """Apply what `change_of` makes of the document: again, of a newer one, until it is the document's next."""
        ends = time.monotonic() + TIMEOUT if ends is None else ends
        known = None if fresh else self._recent()
        was_recent = known is not None
        tries = 0
        while True:
            if known is None:
                known = yield from self._load()
            if known.document[2].pending:
                known = yield from self._settled(known)
            try:
                change = change_of(known)
                if isinstance(change, Generator):
                    change = yield from change
            except SyncSessionsError:
                if not was_recent:
                    raise
                known, was_recent = None, False  # what fails is judged by what is really there
                continue
            if change.document is known.document:
                if was_recent:  # and so is what does nothing
                    known, was_recent = None, False
                    continue
                yield from self._keep()
                return Applied(change.document, change.reply, [])
            swapped = yield from self._swap(known, change)
            if swapped is not None:
                return Applied(change.document, change.reply, self._tell(change))
            if time.monotonic() > ends:
                raise Conflict
            known, was_recent, tries = self._recent(), False, tries + 1
            if tries > 1:
                yield Pause(random.uniform(0.0, min(BACKOFF[0] * 2**tries, BACKOFF[1])))  # noqa: S311 - spreads them
                known = None  # by now there is a newer one

    def _current(self) -> Steps[Known]:
        """The document now, with every debounced action that is due."""
        known = yield from self._load()
        return (yield from self._settled(known)) if known.document[2].pending else known

    def _settled(self, known: Known) -> Steps[Known]:
        """Apply what is due; what is not due yet gets a timer here, in case the worker that took it is gone."""
        now = yield from self._now()
        while (found := next_due(known.document)) is not None:
            key, due = found
            if due > now():
                timers.set(self, due - now())
                break
            change = self.machine.apply_due(known.document, key, now())
            began = telling.now()
            swapped = yield from self._swap(known, change)
            if swapped is None:
                known = yield from self._load()
                continue
            known = swapped
            self._tell(change)
            if isinstance(change.reply, Exception):
                telling.failed(self.process, self.id, "dispatch", key, change.reply)
            else:
                telling.handled(self.process, self.id, "dispatch", key, change.document[1], began)
        return known

    def _tell(self, change: Change) -> list[Effect]:
        """Inside a transaction of the caller's, when that is committed: nobody can wait for its effects."""
        if not self.store.in_transaction():
            return self._told(change)

        def committed() -> None:
            self._told(change)

        self.store.after_commit(committed)
        return []

    def _told(self, change: Change) -> list[Effect]:
        """Tell all who listen of a change that was applied, and start what it causes."""
        state, revision, _rest = change.document
        if change.applied:
            self._has_changed(state, revision)
            self._ring(revision)
        if change.due is not None:
            timers.set(self, self._until(change.due))
        return [effects.start(self, cause, state) for cause in change.effects]

    def _has_changed(self, state: FrozenDict, revision: int) -> None:
        """Tell those in this process."""
        if self._subscriptions is not None:
            self._subscriptions.tell(state, revision)
        if self._watches:
            for watch in list(self._watches):
                watch.wake()

    @abstractmethod
    def _ring(self, revision: int) -> None:
        """Ring for those in other processes."""

    def _log(self) -> Steps[Sequence[Mapping[str, Any]]]:
        yield from self._current()
        return (yield from self._entries(None))

    def _travel(self, n: object) -> Steps[Applied]:
        def travelled(known: Known) -> Steps[Change]:
            entries = yield from self._entries(None)
            return self.machine.undo(known.document, entries[: checked_count(n, len(entries))])

        return (yield from self._message(travelled, fresh=True))

    def _subscribe(self, selector: Callable[[Any], Any] | None, callback: Callback) -> Steps[Subscription]:
        with registry.making:
            hub = self._subscriptions = self._subscriptions or Subscriptions(self)
        # There before the state is read: who changes or ends the session after that finds it.
        subscription = hub.add(selector or _whole, callback)
        registry.local[self.key] = self
        try:
            known = yield from self._current()
        except BaseException:
            subscription.cancel()
            raise
        state, revision, _rest = known.document
        if not hub.begin(subscription, state, revision):
            raise self._gone()
        self._follow()
        return subscription

    @abstractmethod
    def _follow(self) -> None:
        """See to it that this process notices the session's end, whoever brings it about."""

    def forget_if_idle(self) -> None:
        """Nobody here listens any more, or nothing here runs: nobody has to find this object."""
        if not self._is_busy and registry.local.get(self.key) is self:
            registry.local.pop(self.key, None)
            if self._is_busy:  # by now; who came before the pop would not be found
                registry.local[self.key] = self

    @property
    def _is_busy(self) -> bool:
        return bool(self._watches or self._effects or (self._subscriptions is not None and self._subscriptions.all))

    def stopped(self, reason: str) -> None:
        """It has ended: so does all that depends on it in this process."""
        registry.local.pop(self.key, None)
        if self._subscriptions is not None:
            self._subscriptions.clear()
        for watch in list(self._watches):
            watch.wake(reason)
        if self._effects is not None:
            self._effects.cancel()


def _elsewhere(function: Callable[[], Change], ends: float) -> Steps[Change]:
    change: Change = yield Blocking(function, max(ends - time.monotonic(), 0.0))
    return change


def _whole(state: Any) -> Any:
    return state
