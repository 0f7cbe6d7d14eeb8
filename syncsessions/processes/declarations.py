"""What a process is declared with: reducers and their actions, calls, casts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar, overload

from syncsessions.json_values import JSON

Method = TypeVar("Method", bound=Callable[..., Any])
MARK = "_syncsessions_message"


class Reply(NamedTuple):
    """What a call returns that answers `value` and changes the process's state to `state`."""

    value: JSON
    state: dict[str, JSON]


@dataclass(frozen=True)
class ActionMark:
    throttle: float | None = None
    debounce: float | None = None
    effect: bool = False


@dataclass(frozen=True)
class CallMark:
    blocking: bool = False


@dataclass(frozen=True)
class CastMark:
    blocking: bool = False


@overload
def action(method: Method) -> Method: ...
@overload
def action(
    *, throttle: float | None = None, debounce: float | None = None, effect: bool = False
) -> Callable[[Method], Method]: ...
def action(
    method: Any = None, *, throttle: float | None = None, debounce: float | None = None, effect: bool = False
) -> Any:
    """Make a reducer's method `(self, state, payload)` handle the action of its name: it returns the new slice.

    `throttle` runs it and then drops it for so many seconds; `debounce` runs it with the last payload, so many seconds
    after the last dispatch; both hold per session and action, across workers. An `effect`, `async (self, ctx,
    payload)`, runs as a task after the action was applied and returns no slice.
    """
    for name, seconds in (("throttle", throttle), ("debounce", debounce)):
        if seconds is not None and not 0 < seconds < math.inf:
            raise TypeError(f"{name} must be a positive number of seconds.")
    if throttle is not None and debounce is not None:
        raise TypeError("An action is throttled or debounced, not both.")
    return _marking(ActionMark(throttle, debounce, effect), method)


@overload
def call(method: Method) -> Method: ...
@overload
def call(*, blocking: bool = False) -> Callable[[Method], Method]: ...
def call(method: Any = None, *, blocking: bool = False) -> Any:
    """Make a process's method `(self, state, *args)` a call: it returns the reply, or a `Reply` that changes the state.

    A `blocking` one runs in a thread, and its caller is answered at the deadline.
    """
    return _marking(CallMark(blocking), method)


@overload
def cast(method: Method) -> Method: ...
@overload
def cast(*, blocking: bool = False) -> Callable[[Method], Method]: ...
def cast(method: Any = None, *, blocking: bool = False) -> Any:
    """Make a process's method `(self, state, *args)` a cast: it returns the new state."""
    return _marking(CastMark(blocking), method)


def _marking(mark: ActionMark | CallMark | CastMark, method: Any) -> Any:
    def put(method: Any) -> Any:
        wanted = isinstance(mark, ActionMark) and mark.effect
        if wanted != inspect.iscoroutinefunction(method):
            raise TypeError(f"{method.__name__}: effects are async functions, and nothing else here is.")
        setattr(method, MARK, mark)
        return method

    return put if method is None else put(method)


def marked(owner: type, kind: type[Any]) -> dict[str, tuple[Callable[..., Any], Any]]:
    """The methods of a class that carry a mark of this kind, by name; what overrides one without a mark is none."""
    found: dict[str, tuple[Callable[..., Any], Any]] = {}
    for name in dir(owner):
        method = inspect.getattr_static(owner, name)
        mark = getattr(method, MARK, None) if inspect.isfunction(method) else None
        if isinstance(mark, kind):
            found[name] = (method, mark)
    return found


class Reducer:
    """One slice of a process's state and the actions that change it.

    `name` is the slice's key in the state, `prefix` what stands before the dot in its actions' types (by default the
    name; "" receives every action), `initial_state` the slice that a session starts with. Handlers are sync and pure;
    they may run again, and see `self.session_id`.
    """

    name: ClassVar[str] = ""
    prefix: ClassVar[str | None] = None
    initial_state: ClassVar[JSON] = {}
    session_id: str

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
