"""A process's messages by name, made once for its class: nothing else of it can be reached by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from syncsessions.json_values import JSON
from syncsessions.processes.declarations import ActionMark, CallMark, CastMark, Reducer, marked
from syncsessions.processes.frozen import frozen

SEPARATOR = "."
OPERATIONS = frozenset(
    (
        "start",
        "get",
        "get_or_start",
        "started",
        "restore",
        "init",
        "on_stop",
        "migrate",
        "store",
        "lifetime",
        "migrated",
    )
)
"""Names of a process class that no message may take."""


class Handler(NamedTuple):
    """One reducer's answer to an action."""

    slice: str
    """The key of the state that it changes."""
    owner: int
    """The reducer's place in the table."""
    method: Callable[..., Any]
    key: str
    """`slice.name`: what its times are kept under, in whatever way it was reached."""
    throttle: float | None
    debounce: float | None
    effect: bool

    @property
    def is_plain(self) -> bool:
        return self.throttle is None and self.debounce is None and not self.effect


Plan = tuple[Handler, ...]


class Message(NamedTuple):
    """A call or a cast."""

    method: Callable[..., Any]
    blocking: bool


class Table:
    """What a process class handles."""

    def __init__(self, process: type, reducers: Sequence[type[Reducer]] | Mapping[str, type[Reducer]]) -> None:
        self.calls = {
            name: Message(method, mark.blocking) for name, (method, mark) in marked(process, CallMark).items()
        }
        self.casts = {
            name: Message(method, mark.blocking) for name, (method, mark) in marked(process, CastMark).items()
        }
        for name in (*self.calls, *self.casts):
            if name in OPERATIONS:
                raise ImproperlyConfigured(f"{process.__qualname__}: {name!r} is an operation of every process.")
        self.reducers: list[type[Reducer]] = []
        self.slices: dict[str, JSON] = {}
        """What each slice starts as."""
        self.handlers: dict[str, Handler] = {}
        """By key."""
        self.simple: dict[str, Plan] = {}
        """The plans in which no time and no effect plays a part."""
        prefixed: dict[str, dict[str, list[Handler]]] = {}
        for name, reducer in _named(process, reducers):
            if name in self.slices:
                raise ImproperlyConfigured(f"{process.__qualname__} has two reducers named {name!r}.")
            self.slices[name] = frozen(reducer.initial_state, name)
            prefix = name if reducer.prefix is None else reducer.prefix
            of_prefix = prefixed.setdefault(prefix, {})
            for each, (method, mark) in marked(reducer, ActionMark).items():
                key = f"{name}{SEPARATOR}{each}"
                handler = Handler(name, len(self.reducers), method, key, mark.throttle, mark.debounce, mark.effect)
                self.handlers[key] = handler
                of_prefix.setdefault(each, []).append(handler)
            self.reducers.append(reducer)
        self._plans = _plans(prefixed)
        self._of_all = prefixed.get("", {})
        self.simple = {type_: plan for type_, plan in self._plans.items() if all(each.is_plain for each in plan)}

    def plan(self, type_: str) -> Plan | None:
        """Who handles an action of this type, in the reducers' order; None where nobody does."""
        found = self._plans.get(type_)
        if found is None and self._of_all and SEPARATOR in type_:
            handlers = self._of_all.get(type_.rpartition(SEPARATOR)[2])
            return tuple(handlers) if handlers else None
        return found


def _named(
    process: type, reducers: Sequence[type[Reducer]] | Mapping[str, type[Reducer]]
) -> Iterable[tuple[str, type[Reducer]]]:
    if isinstance(reducers, Mapping):
        pairs = list(reducers.items())
    else:
        pairs = [(getattr(each, "name", ""), each) for each in reducers]
    for name, reducer in pairs:
        if not (isinstance(reducer, type) and issubclass(reducer, Reducer)):
            raise ImproperlyConfigured(f"{process.__qualname__}: {reducer!r} is no Reducer.")
        if not name or not isinstance(name, str):
            raise ImproperlyConfigured(f"{reducer.__qualname__} has no name: give it one, or a key in `reducers`.")
    return pairs


def _plans(prefixed: Mapping[str, Mapping[str, list[Handler]]]) -> dict[str, Plan]:
    plans: dict[str, list[Handler]] = {}
    for prefix, actions in prefixed.items():
        for name, handlers in actions.items():
            plans.setdefault(name, []).extend(handlers)
            if prefix:
                others = prefixed.get("", {}).get(name, [])
                plans[f"{prefix}{SEPARATOR}{name}"] = [*handlers, *others]
    return {type_: tuple(sorted(handlers, key=lambda each: each.owner)) for type_, handlers in plans.items()}
