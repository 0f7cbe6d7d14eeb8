"""The operations of a store as values: judged once, here, then carried out by whichever backend."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON, check_text, judge
from syncsessions.stores.record import Rate, parse_rate

MAX_ID = 200  # characters of an id, a namespace or a key
MAX_TTL = 100 * 365 * 86_400.0  # seconds
MAX_WHOLE = 2**53  # more comes to the same, and every backend can count so far
NAMESPACE, ID, KEY = gettext_lazy("A namespace"), gettext_lazy("An id"), gettext_lazy("A key")
NUMBERS = (int, float)
LIFE, TOKEN = gettext_lazy("A life"), gettext_lazy("A token")

# What tells lives and hits apart guards nothing and need not be waited for. No `random.seed()` reaches this source.
_source = random.Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_source.seed)


class Create(NamedTuple):
    namespace: str
    id: str
    life: str
    data: dict[str, JSON]
    text: str
    """`data` as JSON."""
    ttl: float
    limit: int | None
    rate: Rate | None


class Get(NamedTuple):
    namespace: str
    id: str


class Replace(NamedTuple):
    namespace: str
    id: str
    data: dict[str, JSON]
    text: str
    revision: int
    ttl: float | None
    life: str | None
    entry: str | None
    """A log entry as JSON."""
    keep: int
    drop: int


class Delete(NamedTuple):
    namespace: str
    id: str
    life: str | None


class Touch(NamedTuple):
    namespace: str
    id: str
    ttl: float
    life: str | None


class Count(NamedTuple):
    namespace: str


class List(NamedTuple):
    namespace: str
    offset: int
    limit: int | None


class Expire(NamedTuple):
    namespace: str
    limit: int


class ReadLog(NamedTuple):
    namespace: str
    id: str
    limit: int | None


class Hit(NamedTuple):
    key: str
    rate: Rate
    token: str


class Unhit(NamedTuple):
    key: str
    token: str


class Ping(NamedTuple):
    """Answered with the store's clock, in seconds since 1970."""


Operation = Create | Get | Replace | Delete | Touch | Count | List | Expire | ReadLog | Hit | Unhit | Ping


def _veiled(operation: object) -> str:
    """Ids can be codes, and data anything: an operation shows neither, in whatever log it comes to stand."""
    return f"<{type(operation).__name__}>"


for kind in get_args(Operation):
    kind.__repr__ = _veiled


def create(namespace: str, id: str, data: Mapping[str, Any], ttl: float, limit: int | None, rate: str | None) -> Create:  # noqa: A002
    plain, text = _judged(data)
    return Create(
        _named(namespace, NAMESPACE),
        _named(id, ID),
        _random(),
        plain,
        text,
        _seconds(ttl),
        None if limit is None else _whole(limit, "limit"),
        None if rate is None else parse_rate(rate),
    )


def replace(
    namespace: str,
    id: str,  # noqa: A002
    data: Mapping[str, Any],
    revision: int,
    ttl: float | None,
    life: str | None,
    log: JSON,
    keep: int,
    log_drop: int,
) -> Replace:
    plain, text = _judged(data)
    return Replace(
        _named(namespace, NAMESPACE),
        _named(id, ID),
        plain,
        text,
        _whole(revision, "revision"),
        None if ttl is None else _seconds(ttl),
        _life(life),
        None if log is None else judge({"log": log})[1][len('{"log": ') : -1],
        _whole(keep, "keep"),
        _whole(log_drop, "log_drop"),
    )


def get(namespace: str, id: str) -> Get:  # noqa: A002
    return Get(_named(namespace, NAMESPACE), _named(id, ID))


def delete(namespace: str, id: str, life: str | None) -> Delete:  # noqa: A002
    return Delete(_named(namespace, NAMESPACE), _named(id, ID), _life(life))


def touch(namespace: str, id: str, ttl: float, life: str | None) -> Touch:  # noqa: A002
    return Touch(_named(namespace, NAMESPACE), _named(id, ID), _seconds(ttl), _life(life))


def count(namespace: str) -> Count:
    return Count(_named(namespace, NAMESPACE))


def list_(namespace: str, offset: int, limit: int | None) -> List:
    return List(
        _named(namespace, NAMESPACE),
        _whole(offset, "offset"),
        None if limit is None else _whole(limit, "limit"),
    )


def expire(namespace: str, limit: int) -> Expire:
    return Expire(_named(namespace, NAMESPACE), _whole(limit, "limit"))


def read_log(namespace: str, id: str, limit: int | None) -> ReadLog:  # noqa: A002
    return ReadLog(
        _named(namespace, NAMESPACE),
        _named(id, ID),
        None if limit is None else _whole(limit, "limit"),
    )


def hit(key: str, rate: str) -> Hit:
    return Hit(_named(key, KEY), parse_rate(rate), _random())


def unhit(key: str, token: str) -> Unhit:
    return Unhit(_named(key, KEY), check_text(token, TOKEN, MAX_ID))


def _named(text: str, what: object) -> str:
    # Nearly all names are plain, and this is the one look that they cost.
    if type(text) is str and 0 < len(text) <= MAX_ID and text.isascii() and "\x00" not in text:
        return text
    if text == "":
        raise InvalidValue(_("%(what)s must not be empty.") % {"what": what})
    return str.__str__(check_text(text, what, MAX_ID))


def _life(life: str | None) -> str | None:
    return None if life is None else check_text(life, LIFE, MAX_ID)


def _random() -> str:
    return f"{_source.getrandbits(64):016x}"


def _judged(data: Mapping[str, Any]) -> tuple[dict[str, JSON], str]:
    if type(data) is not dict and not isinstance(data, Mapping):
        raise InvalidValue(_("A record's data must be a dict."))
    return judge(data)


def _seconds(ttl: float) -> float:
    number = type(ttl) in NUMBERS or (isinstance(ttl, NUMBERS) and not isinstance(ttl, bool))
    if not number or not 0 < ttl <= MAX_TTL:
        raise InvalidValue(_("A ttl must be a positive number of seconds."))
    return float(ttl)


def _whole(number: int, what: str) -> int:
    whole = type(number) is int or (isinstance(number, int) and not isinstance(number, bool))
    if not whole or number < 0:
        raise InvalidValue(_("“%(what)s” must be a whole number, 0 or more.") % {"what": what})
    return int(number) if number < MAX_WHOLE else MAX_WHOLE
