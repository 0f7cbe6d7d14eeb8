"""What a message makes of a session's document: pure, so that it may run again on a conflict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions.exceptions import CallFailed, CastFailed, InvalidValue, SyncSessionsError, UnknownAction
from syncsessions.json_values import JSON
from syncsessions.processes import history
from syncsessions.processes.declarations import Reply
from syncsessions.processes.document import Document, Pending, started
from syncsessions.processes.frozen import FrozenDict, frozen, frozen_dict, merged
from syncsessions.processes.table import Handler, Message, Plan, Table

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess

DROP_ALL = 2**31 - 1
"""More entries than any history has."""


class Action(NamedTuple):
    """What a middleware is given. `action._replace(payload=...)` makes a rewritten one."""

    type: str
    payload: JSON


class Cause(NamedTuple):
    """An effect to start: which one, and with what."""

    handler: Handler
    payload: JSON


class Change(NamedTuple):
    """What a message does. The document is the same object where it does nothing."""

    document: Document
    reply: JSON = None
    applied: bool = True
    entry: Mapping[str, JSON] | None = None
    drop: int = 0
    """How many of the history's newest entries go."""
    effects: Sequence[Cause] = ()
    due: float | None = None
    """When a debounced action that it noted is due, in the store's time."""


class Machine:
    """The handlers of one session, bound to its id."""

    __slots__ = ("_middleware", "_process", "_reducers", "table")

    def __init__(self, process: type[SessionProcess], session_id: str) -> None:
        self.table: Table = process.table
        self._process = process(session_id)
        self._reducers = [reducer(session_id) for reducer in self.table.reducers]
        self._middleware: Sequence[Callable[..., Any]] = process.middleware

    def reduce(self, plan: Plan, state: FrozenDict, payload: JSON) -> FrozenDict:
        """The state after the plan's handlers, whatever their times."""
        changes: dict[str, JSON] = {}
        reducers = self._reducers
        handler: Handler
        try:
            for handler in plan:
                name = handler.slice
                # A slice may be missing: a deploy has added its reducer, or a cast has dropped it.
                old = state[name] if name in state else self.table.slices[name]
                new = handler.method(reducers[handler.owner], old, payload)
                if new is not old:
                    changes[name] = frozen(new, name)
        except InvalidValue:
            raise
        except Exception as error:
            raise self._failure(CastFailed, handler.key, error) from error
        return merged(state, changes) if changes else state

    def dispatch(self, document: Document, type_: str, payload: JSON, now: Callable[[], float]) -> Change:
        """Raises `UnknownAction`, `CastFailed`, and `InvalidValue` for a new slice that is no JSON."""
        state = document[0]
        run = _Run(self, document, now)
        if self._middleware:
            after = self._through_middleware(run, Action(type_, payload))
            dropped, after = after is state, state if after is run.unchanged else after
        else:
            after, dropped = run.finish(Action(type_, payload)), False
        _state, revision, rest = document
        rest = rest if not run.noted else rest._replace(throttled=run.throttled, pending=run.pending)
        if dropped or not run.applied:
            return Change((state, revision, rest) if run.due is not None else document, applied=False, due=run.due)
        entry = None
        if self._process.history:
            entry = history.entry(state, after, revision + 1, run.action.type, run.action.payload, now())
        return Change((after, revision + 1, rest), entry=entry, effects=run.effects, due=run.due)

    def _through_middleware(self, run: _Run, action: Action) -> FrozenDict:
        state = run.document[0]

        def passed(depth: int, action: Any) -> Any:
            if depth == len(self._middleware):
                return run.finish(_checked(action))
            each = self._middleware[depth]
            return each(self._process.session_id, action, state, lambda further: passed(depth + 1, further))

        try:
            return frozen_dict(passed(0, action), "state")
        except SyncSessionsError:
            raise
        except Exception as error:
            raise self._failure(CastFailed, action.type, error) from error

    def apply_due(self, document: Document, key: str, now: float) -> Change:
        """Apply what the debounce of this handler has held back."""
        state, revision, rest = document
        pending = rest.pending[key]
        rest = rest._replace(pending={each: kept for each, kept in rest.pending.items() if each != key})
        handler = self.table.handlers.get(key)
        if handler is None:  # a deploy has dropped it
            return Change((state, revision, rest), applied=False)
        effects: Sequence[Cause] = ()
        after = state
        if handler.effect:
            effects = [Cause(handler, pending.payload)]
        else:
            try:
                after = self.reduce((handler,), state, pending.payload)
            except SyncSessionsError as error:
                # Kept, it would fail again before every message to come.
                return Change((state, revision, rest), reply=error, applied=False)
        entry = None
        if self._process.history:
            entry = history.entry(state, after, revision + 1, pending.type, pending.payload, now)
        return Change((after, revision + 1, rest), entry=entry, effects=effects)

    def call(self, document: Document, name: str, message: Message, args: Sequence[JSON]) -> Change:
        """Raises `CallFailed`, and `InvalidValue` for a reply or state that is no JSON."""
        state, revision, rest = document
        try:
            reply = message.method(self._process, state, *args)
        except InvalidValue:
            raise
        except Exception as error:
            raise self._failure(CallFailed, name, error) from error
        if type(reply) is not Reply:
            return Change(document, frozen(reply, name), applied=False)
        after = frozen_dict(reply.state, name)
        return Change((after, revision + 1, rest), frozen(reply.value, name))

    def cast(self, document: Document, name: str, message: Message, args: Sequence[JSON]) -> Change:
        state, revision, rest = document
        return Change((self.cast_state(state, name, message, args), revision + 1, rest))

    def cast_state(self, state: FrozenDict, name: str, message: Message, args: Sequence[JSON]) -> FrozenDict:
        """Raises `CastFailed`, and `InvalidValue` for a state that is no JSON."""
        try:
            after = message.method(self._process, state, *args)
        except InvalidValue:
            raise
        except Exception as error:
            raise self._failure(CastFailed, name, error) from error
        return frozen_dict(after, name)

    def undo(self, document: Document, entries: Sequence[Mapping[str, Any]]) -> Change:
        """Time travel: without what these newest actions did."""
        state, revision, rest = document
        return Change((history.undone(state, entries), revision + 1, rest), drop=len(entries))

    def reset(self, document: Document) -> Change:
        """Back to the start, with an empty history; what waits for its time does not come any more."""
        _state, revision, rest = document
        if rest.start_vsn is not None:
            start = self._process.migrated_start(self._process.session_id, rest.start_vsn, rest.start)
            rest = rest._replace(start=start, start_vsn=None)
        rest = rest._replace(throttled={}, pending={})
        return Change((started(self.table, rest.start), revision + 1, rest), drop=DROP_ALL)

    def unknown(self, type_: str) -> UnknownAction:
        message = _("%(process)s handles no “%(name)s”.") % {"process": self._name, "name": str(type_)[:100]}
        return UnknownAction(message)

    def effects_of(self, type_: str) -> list[Handler]:
        """The effects among an action's handlers. Raises `UnknownAction`, and `InvalidValue` where there is none, or
        one that would start at another time and maybe in another process."""
        plan = self.table.plan(type_) if isinstance(type_, str) else None
        if plan is None:
            raise self.unknown(type_)
        found = [handler for handler in plan if handler.effect]
        if not found:
            raise InvalidValue(_("“%(name)s” is no effect: dispatch it.") % {"name": type_}, key=type_)
        if any(handler.debounce is not None for handler in found):
            said = _("“%(name)s” is debounced, so that its effect starts later: dispatch it.")
            raise InvalidValue(said % {"name": type_}, key=type_)
        return found

    @property
    def _name(self) -> str:
        return type(self._process).__qualname__

    def _failure(self, kind: type[CallFailed | CastFailed], message: str, error: Exception) -> CallFailed | CastFailed:
        said = {"process": self._name, "name": message, "type": type(error).__name__, "error": error}
        return kind(_("%(process)s: %(name)s failed: %(type)s: %(error)s") % said)


class _Run:
    """One dispatch on its way through the handlers."""

    def __init__(self, machine: Machine, document: Document, now: Callable[[], float]) -> None:
        self.machine = machine
        self.document = document
        self.now = now
        self.action = Action("", None)
        self.unchanged: FrozenDict | None = None
        self.applied = False
        self.noted = False
        self.throttled = document[2].throttled
        self.pending = document[2].pending
        self.due: float | None = None
        self.effects: list[Cause] = []

    def finish(self, action: Action) -> FrozenDict:
        """Apply the action, as far as it is time; the state after it."""
        state = self.document[0]
        plan = self.machine.table.plan(action.type)
        if plan is None:
            raise self.machine.unknown(action.type)
        self.action = action
        ready: list[Handler] = []
        for handler in plan:
            if self._is_time(handler, action):
                if handler.effect:
                    self.effects.append(Cause(handler, action.payload))
                else:
                    ready.append(handler)
        self.applied = bool(ready or self.effects)
        result = self.machine.reduce(tuple(ready), state, action.payload) if ready else state
        if result is state and self.machine._middleware:
            # A middleware that returns `state` drops; this one is told from that.
            result = self.unchanged = merged(state, {})
        return result

    def _is_time(self, handler: Handler, action: Action) -> bool:
        if handler.throttle is not None:
            now = self.now()
            if now < self.throttled.get(handler.key, 0.0):
                return False
            still = {key: until for key, until in self.throttled.items() if until > now}
            self.throttled = {**still, handler.key: now + handler.throttle}
            self.noted = True
        elif handler.debounce is not None:
            due = self.now() + handler.debounce
            self.pending = {**self.pending, handler.key: Pending(due, action.type, action.payload)}
            self.due = due if self.due is None else min(due, self.due)
            self.noted = True
            return False
        return True


def _checked(action: Any) -> Action:
    if not isinstance(action, Action):
        raise TypeError(f"next() takes the action, rewritten or not; it was given {type(action).__name__}.")
    if not isinstance(action.type, str):
        raise TypeError("An action's type must be text.")
    return Action(action.type, frozen(action.payload, action.type))


def next_due(document: Document) -> tuple[str, float] | None:
    """Which debounced action is due first, and when."""
    pending = document[2].pending
    if not pending:
        return None
    key = min(pending, key=lambda each: pending[each].due)
    return key, pending[key].due
