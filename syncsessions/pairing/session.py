"""A sync session as its readers see it, its statuses and the steps between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions import codes
from syncsessions.exceptions import InvalidTransition, InvalidValue
from syncsessions.json_values import JSON
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
    peer_lease: str | None = None

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
    if info is not None and not isinstance(info, dict):
        raise InvalidValue(_("The info must be a JSON object."))
    return info


def of_record(record: Record) -> SyncSession:
    data = record.data
    connected_at = data["connected_at"]
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
        peer_lease=data["peer_lease"],
    )


def merged(record: Record, fields: Mapping[str, Any], now: float) -> dict[str, JSON]:
    """The record's data with these fields. Raises `InvalidValue` and `InvalidTransition`."""
    data = dict(record.data)
    for name, value in fields.items():
        _check_field(name, value)
        data[name] = value
    status = fields.get("status")
    if status is not None:
        if status not in NEXT[record.data["status"]]:
            raise InvalidTransition(
                _("A sync session that is %(old)s cannot become %(new)s.")
                % {"old": record.data["status"], "new": status}
            )
        if status == CONNECTED:
            # Workers' clocks may lag behind the store's, by which created_at was read.
            data["connected_at"] = max(now, record.created_at.timestamp())
    return data


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
        if not isinstance(value, str) or value not in NEXT:
            raise InvalidValue(_("%(status)r is not a status of a sync session.") % {"status": value})
    else:
        raise InvalidValue(_("A sync session has no field %(name)r that can be updated.") % {"name": name})
