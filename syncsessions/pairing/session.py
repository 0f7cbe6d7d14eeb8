"""A sync session as its readers see it, its statuses and the steps between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions import codes
from syncsessions.exceptions import InvalidTransition, InvalidValue, StoreUnavailable
from syncsessions.json_values import JSON, judge, size
from syncsessions.stores import Record

DIRECTIONS = ("send", "receive")
PENDING, CONNECTED, COMPLETED, FAILED = "pending", "connected", "completed", "failed"
NEXT: Mapping[str, frozenset[str]] = {
    PENDING: frozenset({CONNECTED, FAILED}),
    CONNECTED: frozenset({COMPLETED, FAILED}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
}
INFOS = {"send": ("sender_info", "receiver_info"), "receive": ("receiver_info", "sender_info")}
"""By direction: where the owner's info stands, and where the peer's."""
INFO_LIMIT = 4096
"""Bytes of JSON that an info may have: whoever lists the live sessions reads two of each."""
OWNER_GONE, PEER_GONE, LEASE_EXPIRED = "owner_gone", "peer_gone", "lease_expired"
ENDED_BY_ADMIN, LOGGED_OUT, DELETED = "ended_by_admin", "logged_out", "deleted"
SAME_BROWSER, DIFFERENT_USERS = "same_browser", "different_users"
RESERVED = frozenset(
    {OWNER_GONE, PEER_GONE, LEASE_EXPIRED, ENDED_BY_ADMIN, LOGGED_OUT, DELETED, SAME_BROWSER, DIFFERENT_USERS}
) | {StoreUnavailable.code}
"""Reasons that are the server's word: no client can give one."""


class Lease(NamedTuple):
    """A record that lives while its holder renews it. By its life no holder who is late hits the next one of its id."""

    namespace: str
    id: str
    life: str


@dataclass(frozen=True, slots=True)
class SyncSession:
    """`direction` is what the owner will do; `owner` and `peer` are channel names; the infos are what each side says
    of itself. `life` tells this session from any other of its code; `expires_at` is the end of its lease."""

    code: str
    direction: str
    status: str
    owner: str
    peer: str | None
    created_at: datetime
    connected_at: datetime | None
    sender_info: dict[str, JSON] | None
    receiver_info: dict[str, JSON] | None
    life: str
    expires_at: datetime
    peer_lease: Lease | None = None

    def __repr__(self) -> str:
        return f"<SyncSession {codes.masked(self.code)} {self.direction} {self.status}>"

    def as_frame(self, *, with_code: bool) -> dict[str, JSON]:
        """What a client is told; the code is for the owner alone."""
        names = ("direction", "status", "sender_info", "receiver_info")
        shown = {name: getattr(self, name) for name in names}
        return {"code": self.code, **shown} if with_code else shown


class Ending(NamedTuple):
    """How a session ended: `completed` with a result or None, or `failed` for a reason."""

    status: str
    reason: str | None
    result: JSON = None


def ended(session: SyncSession, ending: Ending) -> Ending:
    """How a session ends that is to end so: one whose status is final already has ended as that says."""
    return ending if NEXT[session.status] else Ending(session.status, None)


def new_data(direction: object, owner: str, info: object) -> dict[str, JSON]:
    """What the store keeps of a new session. Raises `InvalidValue`."""
    if direction not in DIRECTIONS:
        raise InvalidValue(_("The direction is “send” or “receive”."))
    own, _other = INFOS[str(direction)]
    data: dict[str, JSON] = {
        "direction": direction,
        "status": PENDING,
        "owner": owner,
        "peer": None,
        "connected_at": None,
        "sender_info": None,
        "receiver_info": None,
        "peer_lease": None,
    }
    return {**data, own: checked_info(info)}


def checked_info(info: object) -> dict[str, JSON] | None:
    """What a party may say of itself. Raises `InvalidValue`."""
    if info is None:
        return None
    if not isinstance(info, dict):
        raise InvalidValue(_("The info must be a JSON object."))
    plain, text = judge(info)
    if size(text) > INFO_LIMIT:
        raise InvalidValue(_("The info may have %(limit)d bytes of JSON.") % {"limit": INFO_LIMIT}, limit=INFO_LIMIT)
    return plain


def of_record(record: Record) -> SyncSession:
    data = record.data
    connected_at, peer_lease = data["connected_at"], data["peer_lease"]
    return SyncSession(
        code=record.id,
        direction=data["direction"],
        status=data["status"],
        owner=data["owner"],
        peer=data["peer"],
        created_at=record.created_at,
        connected_at=None if connected_at is None else datetime.fromtimestamp(connected_at, UTC),
        sender_info=data["sender_info"],
        receiver_info=data["receiver_info"],
        life=record.life,
        expires_at=record.expires_at,
        peer_lease=None if peer_lease is None else Lease(*peer_lease),
    )


def merged(record: Record, fields: Mapping[str, Any], now: float) -> dict[str, JSON]:
    """The record's data with these fields. Raises `InvalidValue` and `InvalidTransition`."""
    data = dict(record.data)
    for name, value in fields.items():
        _check_field(name, value)
        data[name] = value
    status = fields.get("status")
    if status is not None:
        check_step(record.data["status"], status)
        if status == CONNECTED:
            # Workers' clocks may lag behind the store's, by which created_at was read.
            data["connected_at"] = max(now, record.created_at.timestamp())
    return data


def check_step(old: str, new: str) -> None:
    """Raises `InvalidTransition`."""
    if new not in NEXT[old]:
        raise InvalidTransition(_("A sync session that is %(old)s cannot become %(new)s.") % {"old": old, "new": new})


def check_status(status: object, statuses: Collection[str] = NEXT) -> None:
    """Raises `InvalidValue` for what is none of these statuses."""
    if not isinstance(status, str) or status not in statuses:
        raise InvalidValue(_("%(status)r is not a status of a sync session.") % {"status": status})


def _check_field(name: str, value: object) -> None:
    if name in ("sender_info", "receiver_info"):
        checked_info(value)
    elif name == "owner":
        good = isinstance(value, str)
        if not good:
            raise InvalidValue(_("The owner must be a channel name."))
    elif name == "peer":
        if value is not None and not isinstance(value, str):
            raise InvalidValue(_("The peer must be a channel name, or None."))
    elif name == "direction":
        if value not in DIRECTIONS:
            raise InvalidValue(_("The direction is “send” or “receive”."))
    elif name == "status":
        check_status(value)
    else:
        raise InvalidValue(_("A sync session has no field %(name)r that can be updated.") % {"name": name})
