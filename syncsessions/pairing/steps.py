"""The operations of pairing as steps on a store: each decides by compare-and-set, none by what it read before."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

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
    COMPLETED,
    CONNECTED,
    DELETED,
    FAILED,
    INFOS,
    LEASE_EXPIRED,
    NEXT,
    PENDING,
    Ending,
    Lease,
    SyncSession,
    check_status,
    check_step,
    checked_info,
    ended,
    merged,
    new_data,
    of_record,
)
from syncsessions.stores import Record, operations
from syncsessions.stores.steps import Steps

SESSIONS = "pairing"
PEERS = "pairing.peers"
"""The leases of peers that have promised to renew them."""
ENDINGS = "pairing.endings"
"""How sessions ended, by their life, for the party that was not there: the first word on it is the last."""
PLACES = "pairing.places"
"""A lease for each session that a user owns through a consumer."""
HANDOVERS = "pairing.handovers"
"""How far the handover in a session is, by the session's life: a lease of the owner's."""
BATCHES = {SESSIONS: 10, PEERS: 500, ENDINGS: 500, PLACES: 500, HANDOVERS: 500}
"""All namespaces of pairing, and how many records one sweep removes of each. For each session it also says that it has
ended, in an operation each: somebody waits meanwhile, and has a lease to renew."""
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
        promise = yield from take_lease(PEERS, secrets.token_hex(8))
    try:
        return (yield from _compete(code, peer, info, promise))
    except SyncSessionsError:
        if promise is not None:
            yield from drop_lease(promise)
        raise


def _compete(code: object, peer: str, info: object, promise: Lease | None) -> Steps[SyncSession]:
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


def take_lease(namespace: str, name: str, data: Mapping[str, JSON] | None = None) -> Steps[Lease]:
    """Raises `AlreadyExists`."""
    record = yield operations.create(namespace, name, data or {}, conf.current().PAIRING_LEASE, None, None)
    return Lease(namespace, name, record.life)


def look_up(lease: Lease) -> Steps[None]:
    """Raises `NotFound` where the lease is gone."""
    record = yield operations.get(lease.namespace, lease.id)
    if record.life != lease.life:
        raise NotFound


def renew_lease(lease: Lease) -> Steps[None]:
    """Raises `NotFound` where the lease is gone."""
    try:
        yield operations.touch(lease.namespace, lease.id, conf.current().PAIRING_LEASE, lease.life)
    except Conflict:
        raise NotFound from None


def drop_lease(lease: Lease) -> Steps[None]:
    yield operations.delete(lease.namespace, lease.id, lease.life)


def delete(code: object, life: str | None = None) -> Steps[tuple[SyncSession, Ending] | None]:
    """The session that was removed and how it ended; None where there was none, or somebody else was first."""
    try:
        session = yield from get(code, life)
    except NotFound:
        return None
    ending, first = yield from _settle(session, Ending(FAILED, DELETED))
    return (session, ending) if first else None


def end(session: SyncSession, ending: Ending) -> Steps[tuple[Ending, bool]]:
    """How the session ended (as who was first has said), and whether that was this call.

    Raises `InvalidValue` for a status that ends nothing, `InvalidTransition`.
    """
    check_status(ending.status, (COMPLETED, FAILED))
    with contextlib.suppress(NotFound):
        session = yield from get(session.code, session.life)
        if NEXT[session.status]:
            check_step(session.status, ending.status)
    return (yield from _settle(session, ending))


def _settle(session: SyncSession, ending: Ending) -> Steps[tuple[Ending, bool]]:
    told = yield from _say(session, ending)
    yield operations.delete(SESSIONS, session.code, session.life)
    return told


def _say(session: SyncSession, ending: Ending) -> Steps[tuple[Ending, bool]]:
    said = ended(session, ending)
    try:
        yield operations.create(ENDINGS, session.life, said._asdict(), _remembered(), None, None)
    except AlreadyExists:
        return (yield from ending_of(session)), False
    return said, True


def ending_of(session: SyncSession) -> Steps[Ending]:
    """How a session that is gone has ended: where nobody has said, its lease has."""
    try:
        record = yield operations.get(ENDINGS, session.life)
    except NotFound:
        return Ending(FAILED, LEASE_EXPIRED)
    return Ending(**record.data)


def take_place(user: str) -> Steps[Lease]:
    """One of the user's places, to be renewed and given back. Raises `SessionLimitReached`."""
    owner = text_hash(user)
    for number in range(conf.current().PAIRING_MAX_PER_USER):
        with contextlib.suppress(AlreadyExists):
            return (yield from take_lease(PLACES, f"{owner}:{number}"))
    raise SessionLimitReached(_("You have too many open sync sessions. End one, or wait a moment."))


def renew_place(place: Lease, user: str) -> Steps[Lease]:
    """Extend it; where it is gone, take another. Raises `SessionLimitReached`."""
    try:
        yield from renew_lease(place)
    except NotFound:
        return (yield from take_place(user))
    return place


class Swept(NamedTuple):
    """How many records a sweep has removed, which sessions ended so (first told here), whether there may be more."""

    removed: int
    ended: list[tuple[SyncSession, Ending]]
    more: bool


def expire() -> Steps[Swept]:
    """Remove a batch of what is past its deadline, of each namespace."""
    count, told, more = 0, [], False
    for namespace, batch in BATCHES.items():
        records = yield operations.expire(namespace, batch)
        count += len(records)
        more = more or len(records) == batch
        if namespace == SESSIONS:
            for record in records:
                session = of_record(record)
                ending, first = yield from _say(session, Ending(FAILED, LEASE_EXPIRED))
                if first:
                    told.append((session, ending))
    return Swept(count, told, more)


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
