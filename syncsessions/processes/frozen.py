"""JSON that nobody can change in place: what states, arguments and replies of session processes are made of.

What is frozen was judged once; a new tree that holds old subtrees costs by what is new in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON, MAX_DEPTH, judge

LARGE = 2**63  # an integer beyond is looked at more closely
MOST_KEYS = 10_000
_fine_keys: set[str] = set()  # keys that were judged already; a bounded memory


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("The state of a session cannot be changed in place: return a changed copy.")


class FrozenDict(dict[str, JSON]):
    """A dict that raises TypeError when changed. `dict(it)` and `it | {...}` give a copy that may be."""

    __slots__ = ("depth",)
    depth: int
    """How many lists and dicts stand inside each other, this one included."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __copy__(self) -> dict[str, JSON]:
        return dict(self)

    def __deepcopy__(self, memo: object) -> JSON:
        return thawed(self)


class FrozenList(list[JSON]):
    """A list that raises TypeError when changed. `[*it, more]` and `it + [...]` give a copy that may be."""

    __slots__ = ("depth",)
    depth: int

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __copy__(self) -> list[JSON]:
        return list(self)

    def __deepcopy__(self, memo: object) -> JSON:
        return thawed(self)


class _NotPlainError(Exception):
    """Something in a value needs the closer look of `judge`."""


def frozen(value: Any, name: str) -> JSON:
    """`value`, read-only all the way down. Raises `InvalidValue`, naming `name` and the path, for what is no JSON."""
    try:
        return _freeze_dict(value) if type(value) is dict else _freeze(value)
    except (_NotPlainError, RecursionError):
        # Its subclasses and tuples become plain there, or it is refused by name.
        return _freeze(judge({name: value})[0][name])


def frozen_args(args: Sequence[Any]) -> Sequence[JSON]:
    """The arguments of a call or cast, read-only."""
    for arg in args:
        kind = type(arg)
        if kind is not FrozenDict and arg is not None and not (kind is int and -LARGE < arg < LARGE):
            made: Sequence[JSON] = frozen(list(args), "args")
            return made
    return args


def frozen_dict(value: Any, name: str) -> FrozenDict:
    """`frozen` for what has to be a dict."""
    if type(value) is FrozenDict:
        return value
    made = frozen(value, name) if isinstance(value, dict) else None
    if type(made) is not FrozenDict:
        raise InvalidValue(_("“%(name)s” must be a dict.") % {"name": name}, key=name)
    return made


def merged(state: FrozenDict, changes: dict[str, JSON]) -> FrozenDict:
    """`state` with these frozen values in place of its own."""
    made = FrozenDict(state, **changes)
    depth = state.depth  # or less, where what was deepest has gone
    for value in changes.values():
        kind = type(value)
        if (kind is FrozenDict or kind is FrozenList) and value.depth >= depth:
            depth = value.depth + 1
    if depth > MAX_DEPTH:
        judge(made)
    made.depth = depth
    return made


def thawed(value: JSON) -> JSON:
    """A plain copy that may be changed."""
    if isinstance(value, dict):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thawed(item) for item in value]
    return value


def _freeze(value: Any) -> JSON:
    kind = type(value)
    if kind is str:
        if value.isascii() and "\x00" not in value:
            return value
        return _checked_text(value)
    if kind is int:
        return value if -LARGE < value < LARGE else _checked_number(value)
    if value is None or kind is bool or kind is FrozenDict or kind is FrozenList:
        return value
    if kind is dict:
        return _freeze_dict(value)
    if kind is list:
        return _freeze_list(value)
    if kind is float and value - value == 0.0:
        return value
    raise _NotPlainError


def _freeze_dict(value: dict[Any, Any]) -> FrozenDict:
    made = FrozenDict(value)
    depth = 0
    for key, item in value.items():
        if key not in _fine_keys:
            _judge_key(key)
        kind = type(item)
        if kind is not FrozenDict and kind is not FrozenList:
            if kind is bool or item is None or (kind is int and -LARGE < item < LARGE):
                continue
            new = _freeze(item)
            if new is item:
                continue
            dict.__setitem__(made, key, new)
            item = new
        if item.depth > depth:
            depth = item.depth
    made.depth = _deeper(depth)
    return made


def _freeze_list(value: list[Any]) -> FrozenList:
    made = FrozenList(value)
    depth = 0
    for index, item in enumerate(value):
        kind = type(item)
        if kind is not FrozenDict and kind is not FrozenList:
            if kind is bool or item is None or (kind is int and -LARGE < item < LARGE):
                continue
            new = _freeze(item)
            if new is item:
                continue
            list.__setitem__(made, index, new)
            item = new
        if item.depth > depth:
            depth = item.depth
    made.depth = _deeper(depth)
    return made


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise _NotPlainError
    return depth + 1


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NotPlainError from None
    if "\x00" in text:
        raise _NotPlainError
    return text


def _checked_number(number: int) -> int:
    try:
        int.__repr__(number)
    except ValueError:  # too many digits
        raise _NotPlainError from None
    return number


def _judge_key(key: object) -> None:
    if type(key) is not str:
        raise _NotPlainError
    _checked_text(key)
    if len(_fine_keys) < MOST_KEYS and len(key) <= 100:
        _fine_keys.add(key)
