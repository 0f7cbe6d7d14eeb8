"""Selectors: functions of a session's state, and which of its top-level keys they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any

from syncsessions.json_values import JSON
from syncsessions.processes.frozen import FrozenDict
from syncsessions.signals import emit, selector_computed

Select = Callable[[Any], Any]
ALL = None
"""In place of keys: whatever changes."""
_NEVER_EMPTY: Any = object()
"""A key that nobody reads: the C encoder of `json` writes a dict without any as `{}`, whatever its methods say."""


class Selector:
    """`compute` of what its inputs select, computed again only where an input has changed."""

    def __init__(self, inputs: Sequence[Select], compute: Callable[..., Any]) -> None:
        if not inputs or not all(map(callable, (*inputs, compute))):
            raise TypeError("create_selector takes a list of functions of the state, and a function of their results.")
        self._inputs = tuple(inputs)
        self._compute = compute
        self._last: tuple[tuple[Any, ...], Any] | None = None

    def __call__(self, state: Any) -> Any:
        inputs = tuple([select(state) for select in self._inputs])
        last = self._last  # read once: another thread may put its own there
        hit = last is not None and _all_same(last[0], inputs)
        if not selector_computed.receivers:
            return last[1] if hit else self._renew(inputs)  # type: ignore[index]
        began = perf_counter()
        value = last[1] if hit else self._renew(inputs)  # type: ignore[index]
        emit(selector_computed, type(self), selector=self, hit=hit, duration=perf_counter() - began)
        return value

    def _renew(self, inputs: tuple[Any, ...]) -> Any:
        value = self._compute(*inputs)
        self._last = inputs, value
        return value


def create_selector(inputs: Sequence[Select], compute: Callable[..., Any]) -> Selector:
    """A memoised selector: `compute(*values)` of what `inputs` select from the state, remembered for the last values.

    Selectors nest: an input may be one. It remembers one result, whatever it is used on.
    """
    return Selector(inputs, compute)


def _all_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    for left, right in zip(one, other, strict=True):
        if left is not right and (type(left) is not type(right) or left != right):
            return False
    return True


class Tracked(FrozenDict):
    """A state of which one is told what else of it was read than the top-level keys given.

    Those keys are in the dict, where reading them costs nothing; others are missing in it, and fetched.
    """

    __slots__ = ("more", "state")

    def __init__(self, state: FrozenDict, keys: Iterable[str] = ()) -> None:
        super().__init__({key: state[key] for key in keys if key in state})
        dict.__setitem__(self, _NEVER_EMPTY, None)
        self.depth = state.depth
        self.state = state
        self.more: set[str] | None = set()
        """ALL where the whole was read."""

    def __missing__(self, key: str) -> JSON:
        if self.more is not ALL:
            self.more.add(key)
        return self.state[key]

    def get(self, key: str, default: Any = None) -> JSON:
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        if dict.__contains__(self, key):
            return True
        if self.more is not ALL and isinstance(key, str):
            self.more.add(key)
        return key in self.state

    def _whole(self) -> FrozenDict:
        self.more = ALL
        return self.state

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __eq__(self, other: object) -> bool:
        return self._whole() == other

    def __ne__(self, other: object) -> bool:
        return self._whole() != other

    __hash__ = None  # type: ignore[assignment]

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._whole())

    def __repr__(self) -> str:
        return repr(self._whole())

    def __or__(self, other: Any) -> Any:
        return self._whole() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._whole()

    def copy(self) -> Any:
        return self._whole().copy()

    def keys(self) -> Any:
        return self._whole().keys()

    def values(self) -> Any:
        return self._whole().values()

    def items(self) -> Any:
        return self._whole().items()
