"""What may be stored: JSON that every backend gives back as it was. Judged here, before anything is sent.

`judge` returns a plain copy (what a JSON round trip gives) and its text; what is not JSON is refused by name and path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue

JSON = Any  # None | bool | int | float | str | list[JSON] | dict[str, JSON]
MAX_DEPTH = 200


def _encoder() -> Callable[[Any], str]:
    """`JSONEncoder.encode`, which makes a C encoder for each value: that takes longer than to encode a small one."""
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    # No look-out for circles (they end as RecursionError), no indent, nothing sorted, no key skipped, no NaN.
    chunks = make(None, encoder.default, json.encoder.encode_basestring, None, ": ", ", ", False, False, False)
    return lambda value: "".join(chunks(value, 0))


# One text for every backend: PostgreSQL writes jsonb with these separators too, so that sizes agree.
encode = _encoder()
_raw_decode = json.JSONDecoder().raw_decode
_encode_sorted = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True).encode


def fingerprint(value: JSON) -> str:
    """Equal for equal JSON and for no other: `1`, `1.0` and `true` differ, the order of keys does not matter."""
    return _encode_sorted(value)


def decode(text: str) -> JSON:
    """The value of a JSON text without blanks around it."""
    return _raw_decode(text)[0]


def depth(value: JSON) -> int:
    """How many lists and objects stand inside each other at most; 0 for a plain value."""
    if isinstance(value, dict | list):
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def size(text: str) -> int:
    """Bytes of a JSON text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def judge(
    values: Mapping[str, Any], skip: Callable[[InvalidValue], object] | None = None
) -> tuple[dict[str, JSON], str]:
    """A plain copy of `values` and its JSON text.

    Raises `InvalidValue` with `key` and `path` in its details; with `skip`, leaves the key out and hands the error on.
    """
    try:
        text = encode(values)
        plain = decode(text)
        if plain == values and _is_plain_text(text):
            return plain, text
    except (TypeError, ValueError, RecursionError, UnicodeError):
        pass
    kept: dict[str, JSON] = {}
    for key, value in values.items():
        try:
            name = _key(key, kept, top=True)
            kept[name] = _plain(value, name, "", 1)
        except InvalidValue as error:
            if skip is None:
                raise
            skip(error)
    return kept, encode(kept)


def check_text(text: object, what: object, limit: int) -> str:
    """`text` if it is storable text of at most `limit` characters; `InvalidValue` otherwise."""
    if not isinstance(text, str):
        raise InvalidValue(_("%(what)s must be text.") % {"what": what})
    if len(text) > limit:
        raise InvalidValue(_("%(what)s is longer than %(limit)d characters.") % {"what": what, "limit": limit})
    if _unstorable(text):
        raise InvalidValue(_("%(what)s has a NUL or a lone surrogate in it.") % {"what": what})
    return text


def _is_plain_text(text: str) -> bool:
    """Whether the encoded text is surely fine; in doubt, no: the slow walk then says what is wrong, if anything is."""
    if "\\u0000" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        return False
    if not text.isascii():
        text.encode()
    return True


def _plain(value: object, key: str, path: str, depth: int) -> JSON:
    if depth > MAX_DEPTH:
        raise _invalid(key, path[:80] + "…", _("it is nested too deeply"))
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        if _unstorable(value):
            raise _invalid(key, path, _("it has a NUL or a lone surrogate in it"))
        return str.__str__(value)
    if isinstance(value, int):
        try:
            int.__repr__(value)
        except ValueError:
            raise _invalid(key, path, _("the number has too many digits")) from None
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid(key, path, _("%(value)r is no JSON number") % {"value": float(value)})
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, key, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, dict):
        copy: dict[str, JSON] = {}
        for inner, item in value.items():
            name = _key(inner, copy, key, path)
            copy[name] = _plain(item, key, f"{path}.{name}" if path else name, depth + 1)
        return copy
    raise _invalid(key, path, _("%(type)s is not JSON") % {"type": type(value).__name__})


def _key(key: object, taken: Mapping[str, JSON], top_key: str = "", path: str = "", *, top: bool = False) -> str:
    shown = _shown(key)
    if not isinstance(key, str):
        problem = _("the key %(key)s is not text") % {"key": shown}
    elif _unstorable(key):
        problem = _("the key %(key)s has a NUL or a lone surrogate in it") % {"key": shown}
    elif str.__str__(key) in taken:
        problem = _("the key %(key)s stands there twice") % {"key": shown}
    else:
        return str.__str__(key)
    raise _invalid(shown if top else top_key, path, problem)


def _shown(key: object) -> str:
    """The key for an error's text, which any client can be sent."""
    try:
        return ascii(key)[:80]
    except (ValueError, RecursionError):  # a number of too many digits, a tuple of tuples of tuples
        return type(key).__name__


def _unstorable(text: str) -> bool:
    if "\x00" in text:
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _invalid(key: str, path: str, problem: str) -> InvalidValue:
    place = _("“%(key)s” at %(path)s") % {"key": key, "path": path} if path else f"“{key}”"
    message = _("%(place)s cannot be stored: %(problem)s.") % {"place": place, "problem": problem}
    return InvalidValue(message, key=key, path=path)
