"""What each operation asks of Redis and what it makes of the answer, without I/O.

A plan is a generator: it yields calls, is sent their answers, or thrown `StoreUnavailable`, and returns the result.
Times go as microseconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any, NamedTuple

from syncsessions.exceptions import (
    AlreadyExists,
    Conflict,
    NotFound,
    RateLimited,
    SessionLimitReached,
    StoreUnavailable,
    SyncSessionsError,
)
from syncsessions.json_values import decode
from syncsessions.stores import operations
from syncsessions.stores.operations import Operation
from syncsessions.stores.record import Record, moment
from syncsessions.stores.redis import scripts
from syncsessions.stores.redis.keys import Keys
from syncsessions.stores.redis.scripts import Script

PAGE = 250
"""Records that one script reads or removes at most: Redis does nothing else meanwhile."""
MOST = 2**31 - 1


class Call(NamedTuple):
    """One script to run: one round trip, one atomic step."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[str | bytes | int, ...] = ()
    repeatable: bool = True
    """Whether it may be sent again where nobody knows if it was carried out."""


Plan = Generator[Call, Any, Any]


def plan(keys: Keys, operation: Operation) -> Plan:
    """The plan of an operation."""
    return _PLANS[type(operation)](keys, operation)


def _create(keys: Keys, operation: operations.Create) -> Plan:
    space = keys.of(operation.namespace)
    rate = operation.rate
    answer = yield Call(
        scripts.CREATE,
        (
            space.record(operation.id),
            space.log(operation.id),
            space.deadlines,
            space.born,
            space.gone,
            space.creates,
        ),
        (
            operation.id,
            operation.life,
            operation.text,
            _micro(operation.ttl),
            "" if operation.limit is None else min(operation.limit, MOST),
            "" if rate is None else rate.most,
            "" if rate is None else _micro(rate.window),
        ),
    )
    created, ends = _accepted(answer)
    return Record(operation.namespace, operation.id, operation.life, operation.data, 1, _moment(created), _moment(ends))


def _get(keys: Keys, operation: operations.Get) -> Plan:
    space = keys.of(operation.namespace)
    answer = yield Call(scripts.GET, (space.record(operation.id), space.deadlines), (operation.id,))
    return _stored(operation.namespace, [operation.id.encode(), *_accepted(answer)])


def _replace(keys: Keys, operation: operations.Replace) -> Plan:
    space = keys.of(operation.namespace)
    answer = yield Call(
        scripts.REPLACE,
        (space.record(operation.id), space.log(operation.id), space.deadlines),
        (
            operation.id,
            operation.text,
            str(operation.revision),
            _life(operation.life),
            "" if operation.ttl is None else _micro(operation.ttl),
            secrets.token_bytes(8),
            min(operation.drop, MOST),
            min(operation.keep, MOST),
            *(() if operation.entry is None else (operation.entry,)),
        ),
    )
    if answer[0] == b"conflict" and len(answer) > 1:
        conflict = Conflict()
        conflict.record = _stored(operation.namespace, [operation.id.encode(), *answer[1:]])
        raise conflict
    life, revision, created, ends = _accepted(answer)
    return Record(
        operation.namespace,
        operation.id,
        life.decode(),
        operation.data,
        revision,
        _moment(created),
        _moment(ends),
    )


def _delete(keys: Keys, operation: operations.Delete) -> Plan:
    space = keys.of(operation.namespace)
    answer = yield Call(
        scripts.DELETE,
        (space.record(operation.id), space.log(operation.id), space.deadlines, space.born),
        (operation.id, _life(operation.life)),
        repeatable=False,
    )
    return answer == 1


def _touch(keys: Keys, operation: operations.Touch) -> Plan:
    space = keys.of(operation.namespace)
    answer = yield Call(
        scripts.TOUCH,
        (space.record(operation.id), space.deadlines),
        (operation.id, _life(operation.life), _micro(operation.ttl)),
    )
    _accepted(answer)


def _count(keys: Keys, operation: operations.Count) -> Plan:
    return (yield Call(scripts.COUNT, (keys.of(operation.namespace).deadlines,)))


def _list(keys: Keys, operation: operations.List) -> Plan:
    space = keys.of(operation.namespace)
    found: list[Record] = []
    most = MOST if operation.limit is None else operation.limit
    before, skip = b"+inf", min(operation.offset, MOST)
    while before and len(found) < most:
        before, skip, rows = yield Call(
            scripts.LIST,
            (space.deadlines, space.born),
            (space.records, before, skip, min(most - len(found), PAGE), PAGE),
        )
        found += [_stored(operation.namespace, row) for row in rows]
    return found


def _expire(keys: Keys, operation: operations.Expire) -> Plan:
    space = keys.of(operation.namespace)
    found: list[Record] = []
    left = operation.limit
    while left > 0:
        page = min(left, PAGE)
        try:
            taken, rows = yield Call(
                scripts.EXPIRE,
                (space.gone, space.deadlines, space.born),
                (space.records, space.logs, page),
                repeatable=False,
            )
        except StoreUnavailable:
            if found:  # nobody else will ever be given these
                break
            raise
        found += [_stored(operation.namespace, row) for row in rows]
        left -= page
        if taken < page:
            break
    return found


def _read_log(keys: Keys, operation: operations.ReadLog) -> Plan:
    space = keys.of(operation.namespace)
    most = MOST if operation.limit is None else min(operation.limit, MOST)
    answer = yield Call(
        scripts.READ_LOG,
        (space.record(operation.id), space.log(operation.id), space.deadlines),
        (operation.id, most),
    )
    (entries,) = _accepted(answer)
    return [decode(entry.decode()) for entry in entries]


def _hit(keys: Keys, operation: operations.Hit) -> Plan:
    rate = operation.rate
    args = (operation.token, rate.most, _micro(rate.window))
    _accepted((yield Call(scripts.HIT, (keys.hits(operation.key),), args)))
    return operation.token


def _unhit(keys: Keys, operation: operations.Unhit) -> Plan:
    yield Call(scripts.UNHIT, (keys.hits(operation.key),), (_bytes(operation.token),))


def _ping(keys: Keys, operation: operations.Ping) -> Plan:
    return (yield Call(scripts.PING, ())) / 1_000_000


_PLANS: dict[type[Operation], Callable[[Keys, Any], Plan]] = {
    operations.Create: _create,
    operations.Get: _get,
    operations.Replace: _replace,
    operations.Delete: _delete,
    operations.Touch: _touch,
    operations.Count: _count,
    operations.List: _list,
    operations.Expire: _expire,
    operations.ReadLog: _read_log,
    operations.Hit: _hit,
    operations.Unhit: _unhit,
    operations.Ping: _ping,
}

_REFUSALS: dict[bytes, type[SyncSessionsError]] = {
    b"absent": NotFound,
    b"conflict": Conflict,
    b"full": SessionLimitReached,
    b"taken": AlreadyExists,
}


def _accepted(answer: list[Any]) -> list[Any]:
    """What stands behind the word in front of a script's answer; raises where that word is no."""
    word, *rest = answer
    if word == b"ok":
        return rest
    if word == b"spent":
        raise RateLimited(retry_after=rest[0] / 1_000_000)
    raise _REFUSALS[word]


def _micro(seconds: float) -> int:
    return max(1, round(seconds * 1_000_000))


def _life(life: str | None) -> bytes:
    """A life that is asked for; empty where any will do."""
    return b"" if life is None else _bytes(f"={life}")


def _bytes(text: str) -> bytes:
    """Text that nobody has judged: what cannot be stored must merely match nothing."""
    return text.encode(errors="surrogatepass")


def _stored(namespace: str, row: list[Any]) -> Record:
    name, life, data, revision, created, ends = row
    plain = decode(data.decode())
    return Record(namespace, name.decode(), life.decode(), plain, int(revision), _moment(created), _moment(ends))


def _moment(micro: int | bytes) -> datetime:
    return moment(int(micro) / 1_000_000)
