"""Who hears of a session's changes in this process: subscriptions by the top-level keys that their selectors read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any

from syncsessions.processes import telling
from syncsessions.processes.frozen import FrozenDict
from syncsessions.processes.history import changes, same
from syncsessions.processes.selectors import ALL, Select, Tracked
from syncsessions.signals import emit, subscription_added, subscription_notified, subscription_removed

if TYPE_CHECKING:
    from syncsessions.processes.steps import SessionSteps

Callback = Callable[[Any], object]
PATIENCE = 15.0  # seconds that a message waits for the callbacks of others
_NOTHING = object()
_in_callbacks: ContextVar[bool] = ContextVar("syncsessions_in_callbacks", default=False)


class Subscription:
    """One callback, told the value that its selector gives, now and at each change. `cancel()` ends it."""

    __slots__ = ("active", "callback", "hub", "keys", "selector", "value")

    def __init__(self, hub: Subscriptions, selector: Select, callback: Callback) -> None:
        self.hub = hub
        self.selector = selector
        self.callback = callback
        self.active = False
        self.keys: frozenset[str] | None = frozenset()
        """The top-level keys that the selector has read so far; ALL where it has read everything."""
        self.value: Any = _NOTHING

    def cancel(self) -> None:
        """Hear no more. Harmless where it has ended."""
        self.hub.remove(self)


class Subscriptions:
    """The subscriptions of one session, told in the order of its revisions, one message at a time.

    Selectors and callbacks run in a turn. Whoever comes while another thread has it waits, so that it is told before
    its message returns; from within the callbacks of any session nobody waits, for those may be what the other thread
    waits for: the thread that has the turn then does the rest.
    """

    __slots__ = ("_by_key", "_groups", "_revision", "_state", "_turn", "_undone", "all", "session")

    def __init__(self, session: SessionSteps) -> None:
        self.session = session
        self.all: dict[Subscription, None] = {}
        # Those that read the same keys are looked for, and shown the state, together.
        self._groups: dict[frozenset[str] | None, dict[Subscription, None]] = {}
        self._by_key: dict[str, dict[frozenset[str], None]] = {}
        self._turn = threading.RLock()  # a callback may dispatch
        self._undone: deque[tuple[Callable[[Any, Any], None], Any, Any]] = deque()
        self._state: FrozenDict | None = None
        self._revision = -1

    def add(self, selector: Select, callback: Callback) -> Subscription:
        """One that hears nothing yet, and that the end of the session finds."""
        subscription = Subscription(self, selector, callback)
        self.all[subscription] = None
        return subscription

    def begin(self, subscription: Subscription, state: FrozenDict, revision: int) -> bool:
        """From now on it hears; first of this state, or of a newer one. False where it has been removed already."""
        subscription.active = True
        if subscription not in self.all:
            subscription.active = False
            return False
        if subscription_added.receivers:
            emit(subscription_added, self.session.process, session_id=self.session.id, subscription=subscription)
        self._do(self._begin, subscription, (state, revision))
        return True

    def remove(self, subscription: Subscription, *, waits: bool = True) -> None:
        """Where it `waits`, a callback of this subscription that runs at this moment has ended after it."""
        try:
            del self.all[subscription]
        except KeyError:
            return
        was_active, subscription.active = subscription.active, False
        self._do(self._ungroup, subscription, None, waits=waits)
        if was_active and subscription_removed.receivers:
            emit(subscription_removed, self.session.process, session_id=self.session.id, subscription=subscription)
        if not self.all:
            self.session.forget_if_idle()

    def clear(self) -> None:
        for subscription in list(self.all):
            self.remove(subscription, waits=False)

    def tell(self, state: FrozenDict, revision: int) -> None:
        """Tell of a message that made this state. One that comes after a later one's is passed over."""
        self._do(self._tell, state, revision)

    def _do(self, work: Callable[[Any, Any], None], one: object, other: object, *, waits: bool = True) -> None:
        """Do it in a turn: here, or in the thread that has it."""
        undone, turn = self._undone, self._turn
        undone.append((work, one, other))
        waits = waits and not _in_callbacks.get()
        while undone and (turn.acquire(False) or (waits and turn.acquire(timeout=PATIENCE))):
            token = _in_callbacks.set(True)
            try:
                while undone:
                    work, one, other = undone.popleft()
                    work(one, other)
            finally:
                _in_callbacks.reset(token)
                turn.release()

    def _begin(self, subscription: Subscription, now: tuple[FrozenDict, int]) -> None:
        if self._state is None or now[1] > self._revision:
            self._state, self._revision = now
        if subscription.active:
            self._select(subscription, Tracked(self._state))

    def _tell(self, state: FrozenDict, revision: int) -> None:
        before = self._state
        if revision <= self._revision:
            return
        self._state, self._revision = state, revision
        if before is None or state is before or not self.all:
            return
        groups: set[frozenset[str] | None] = {ALL}
        for key in changes(before, state):
            groups.update(self._by_key.get(key, ()))
        for keys in groups:
            if keys in self._groups:
                self._tell_group(keys)

    def _tell_group(self, keys: frozenset[str] | None) -> None:
        """One look at the state serves all who read the same keys."""
        state = self._state
        tracked = _tracked(state, keys)
        for subscription in list(self._groups[keys]):
            if self._state is not state:  # a callback has dispatched
                state = self._state
                tracked = _tracked(state, keys)
            if not subscription.active:
                continue
            try:
                value = subscription.selector(tracked)
            except Exception as error:
                self._failed(subscription, tracked, error)
                continue
            last = subscription.value
            if value is tracked or tracked.more or tracked.more is ALL or subscription_notified.receivers:
                self._show(subscription, tracked, value)
            elif value is not last and not _equal(value, last):
                subscription.value = value
                try:
                    subscription.callback(value)
                except Exception as error:
                    telling.harmless(self.session.process, self.session.id, "subscriber", error)

    def _select(self, subscription: Subscription, tracked: Tracked) -> None:
        try:
            value = subscription.selector(tracked)
        except Exception as error:
            self._failed(subscription, tracked, error)
        else:
            self._show(subscription, tracked, value)

    def _failed(self, subscription: Subscription, tracked: Tracked, error: Exception) -> None:
        self._note(subscription, tracked)
        telling.harmless(self.session.process, self.session.id, "selector", error)

    def _show(self, subscription: Subscription, tracked: Tracked, value: Any) -> None:
        """Call back where the value is another."""
        if value is tracked:
            value, tracked.more = tracked.state, ALL
        if tracked.more is ALL or tracked.more:
            self._note(subscription, tracked)
        last = subscription.value
        if value is last or _equal(value, last):
            return
        subscription.value = value
        try:
            if subscription_notified.receivers:
                self._call_and_emit(subscription, value)
            else:
                subscription.callback(value)
        except Exception as error:
            telling.harmless(self.session.process, self.session.id, "subscriber", error)

    def _call_and_emit(self, subscription: Subscription, value: Any) -> None:
        began = perf_counter()
        try:
            subscription.callback(value)
        finally:
            emit(
                subscription_notified,
                self.session.process,
                session_id=self.session.id,
                subscription=subscription,
                duration=perf_counter() - began,
            )

    def _note(self, subscription: Subscription, tracked: Tracked) -> None:
        """A selector has read keys that it had not read before: from now on it depends on them too."""
        more, tracked.more = tracked.more, set()
        if not subscription.active or subscription.keys is ALL:
            return
        keys = ALL if more is ALL else subscription.keys | more
        if keys == subscription.keys:
            return
        self._ungroup(subscription)
        subscription.keys = keys
        self._groups.setdefault(keys, {})[subscription] = None
        for key in keys or ():
            self._by_key.setdefault(key, {})[keys] = None  # type: ignore[index]

    def _ungroup(self, subscription: Subscription, _nothing: object = None) -> None:
        keys = subscription.keys
        group = self._groups.get(keys)
        if group is None:
            return
        group.pop(subscription, None)
        if group:
            return
        del self._groups[keys]
        for key in keys or ():
            groups = self._by_key[key]
            del groups[keys]  # type: ignore[arg-type]
            if not groups:
                del self._by_key[key]


def _tracked(state: FrozenDict | None, keys: frozenset[str] | None) -> Tracked:
    assert state is not None  # noqa: S101 - nobody is told of nothing
    return Tracked(state, state if keys is ALL else keys)


def _equal(value: Any, last: Any) -> bool:
    """Whether nobody can tell them apart: to Python `[1]`, `[1.0]` and `[True]` are equal."""
    if type(value) is not type(last) or value != last:
        return False
    return not isinstance(value, dict | list) or same(value, last)
