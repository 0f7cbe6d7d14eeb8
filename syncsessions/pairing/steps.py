"""The operations of pairing as steps on a store: each decides by compare-and-set, none by what it read before."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from syncsessions import codes, conf
from syncsessions.digests import text_hash
from syncsessions.exceptions import (
    AlreadyExists,
    AlreadyUsed,
    Conflict,
    InvalidCode,
    InvalidValue,
    NotFound,
    SessionLimitReached,
    SyncSessionsError,
)
from syncsessions.json_values import JSON
from syncsessions.pairing.session import (
    CONNECTED,
    INFOS,
    PENDING,
    Ending,
    SyncSession,
    checked_info,
    merged,
    new_data,
    of_record,
)
from syncsessions.stores import Record, operations
from syncsessions.stores.steps import Steps

SESSIONS = "pairing"
PEERS = "pairing.peers"
"""A record for each peer that has promised to renew it."""
ENDINGS = "pairing.endings"
"""How sessions ended, by their life, for the party that was not there: the first word on it is the last."""
PLACES = "pairing.places"
"""A record for each session that a user owns through a consumer."""
NAMESPACES = (SESSIONS, PEERS, ENDINGS, PLACES)
TRIES = 100  # at a code, or at a record that others keep changing


def create(direction: object, owner: str, info: object, code: str | None) -> Steps[SyncSession]:
    data = new_data(direction, owner, info)
    given = None
    if code is not None:
        given = codes.normalise(code)
        if given is None:
            raise InvalidValue(
                _("A code has %(length)d of the symbols %(symbols)s.")
                % {"length": codes.LENGTH, "symbols": codes.ALPHABET}
            )
    settings = conf.current()
    for _try in range(TRIES):
        drawn = given or codes.draw()
        try:
            record = yield operations.create(
                SESSIONS, drawn, data, settings.PAIRING_LEASE, settings.PAIRING_MAX_SESSIONS, None
            )
        except AlreadyExists:
            if given is not None:
                raise AlreadyExists(_("A session with this code is open already.")) from None
            continue
        return of_record(record)
    raise AlreadyExists(_("No free code was found."))


def get(code: object, life: str | None = None) -> Steps[SyncSession]:
    return of_record((yield from _read(code, life)))


def update(code: object, fields: Mapping[str, Any], life: str | None = None) -> Steps[SyncSession]:
    for _try in range(TRIES):
        record = yield from _read(code, life)
        data = merged(record, fields, time.time())
        try:
            return of_record((yield _replace(record, data)))
        except Conflict:
            continue
    raise Conflict


def claim(code: object, peer: str, info: object, address: str | None, *, lease: bool) -> Steps[SyncSession]:
    checked_info(info)
    if address is None:
        return (yield from _claim(code, peer, info, lease=lease))
    key = guess_key(address)
    token: str = yield operations.hit(key, conf.current().PAIRING_GUESS_RATE)
    try:
        session = yield from _claim(code, peer, info, lease=lease)
    except InvalidCode:
        raise  # a wrong guess, which counts
    except SyncSessionsError:
        yield operations.unhit(key, token)
        raise
    yield operations.unhit(key, token)
    return session


def guess_key(address: str) -> str:
    """What the wrong guesses of an address are counted under."""
    return f"pairing.guess:{text_hash(address)}"


def _claim(code: object, peer: str, info: object, *, lease: bool) -> Steps[SyncSession]:
    promise = None
    if lease:
        promise = secrets.token_hex(8)
        yield operations.create(PEERS, promise, {}, conf.current().PAIRING_LEASE, None, None)
    try:
        return (yield from _compete(code, peer, info, promise))
    except SyncSessionsError:
        if promise is not None:
            yield operations.delete(PEERS, promise, None)
        raise


def _compete(code: object, peer: str, info: object, promise: str | None) -> Steps[SyncSession]:
    for _try in range(TRIES):
        try:
            record = yield from _read(code, None)
        except NotFound:
            raise InvalidCode from None
        if record.data["status"] != PENDING:
            raise AlreadyUsed
        _own, other = INFOS[record.data["direction"]]
        fields = {"status": CONNECTED, "peer": peer, other: info}
        data = {**merged(record, fields, time.time()), "peer_lease": promise}
        try:
            return of_record((yield _replace(record, data)))
        except Conflict:
            continue
        except NotFound:
            raise InvalidCode from None
    raise Conflict


def renew(code: object, life: str | None = None) -> Steps[None]:
    found = _normal(code)
    try:
        yield operations.touch(SESSIONS, found, conf.current().PAIRING_LEASE, life)
    except Conflict:
        raise NotFound from None


def look_up(namespace: str, name: str) -> Steps[None]:
    """Raises `NotFound` where a peer's lease or a place is gone."""
    yield operations.get(namespace, name)


def renew_record(namespace: str, name: str) -> Steps[None]:
    """Extend a peer's lease, or a place."""
    yield operations.touch(namespace, name, conf.current().PAIRING_LEASE, None)


def delete(code: object, life: str | None = None) -> Steps[SyncSession | None]:
    """The session that was removed, if there was one."""
    try:
        record = yield from _read(code, life)
    except NotFound:
        return None
    if (yield operations.delete(SESSIONS, record.id, record.life)):
        return of_record(record)
    return None


def end(session: SyncSession, ending: Ending) -> Steps[tuple[Ending, bool]]:
    """How the session ended (as who was first has said), and whether that was this call."""
    first = True
    try:
        yield operations.create(ENDINGS, session.life, ending._asdict(), _remembered(), None, None)
    except AlreadyExists:
        ending, first = (yield from ending_of(session)), False
    yield operations.delete(SESSIONS, session.code, session.life)
    return ending, first


def ending_of(session: SyncSession) -> Steps[Ending]:
    """How a session that is gone has ended: where nobody has said, its lease has."""
    try:
        record = yield operations.get(ENDINGS, session.life)
    except NotFound:
        return Ending("failed", "lease_expired")
    return Ending(**record.data)


def take_place(user: str, most: int) -> Steps[str]:
    """One of the user's places, to be renewed and given back. Raises `SessionLimitReached`."""
    owner = text_hash(user)
    for number in range(most):
        place = f"{owner}:{number}"
        try:
            yield operations.create(PLACES, place, {}, conf.current().PAIRING_LEASE, None, None)
        except AlreadyExists:
            continue
        return place
    raise SessionLimitReached(_("You have too many open sync sessions. End one, or wait a moment."))


def drop_record(namespace: str, name: str) -> Steps[None]:
    yield operations.delete(namespace, name, None)


def expire() -> Steps[tuple[int, list[SyncSession]]]:
    """Sweep what is past its deadline: how many records, and the sessions whose end nobody has told yet."""
    count, ended = 0, []
    for namespace in NAMESPACES:
        while True:
            records = yield operations.expire(namespace, BATCH)
            count += len(records)
            if namespace == SESSIONS:
                for record in records:
                    session = of_record(record)
                    _ending, first = yield from end(session, Ending("failed", "lease_expired"))
                    if first:
                        ended.append(session)
            if len(records) < BATCH:
                break
    return count, ended


BATCH = 500  # records that one operation sweeps


def _remembered() -> float:
    return max(4 * conf.current().PAIRING_LEASE, 60.0)


def _normal(code: object) -> str:
    found = codes.normalise(code)
    if found is None:
        raise NotFound
    return found


def _read(code: object, life: str | None) -> Steps[Record]:
    record: Record = yield operations.get(SESSIONS, _normal(code))
    if life is not None and record.life != life:
        raise NotFound
    return record


def _replace(record: Record, data: Mapping[str, JSON]) -> operations.Replace:
    return operations.replace(SESSIONS, record.id, data, record.revision, None, record.life, None, 0, 0)
