"""The status of a connection: which steps there are, and which of them either side may take."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

PENDING, ACTIVE, SUSPENDED, REVOKED, EXPIRED = "pending", "active", "suspended", "revoked", "expired"
STATUSES = (PENDING, ACTIVE, SUSPENDED, REVOKED, EXPIRED)
FINAL = (REVOKED, EXPIRED)

NEXT = {
    PENDING: (ACTIVE, SUSPENDED, REVOKED),
    ACTIVE: (SUSPENDED, REVOKED, EXPIRED),
    SUSPENDED: (ACTIVE, REVOKED),
    REVOKED: (),
    EXPIRED: (),
}

_ALREADY: dict[str, str | Promise] = {
    PENDING: _("This connection is pending already."),
    ACTIVE: _("This connection is active already."),
    SUSPENDED: _("This connection is suspended already."),
    REVOKED: _("This connection is revoked, for good. Delete it here and at the other site, then connect again."),
    EXPIRED: _("This connection has expired, for good. Delete it here and at the other site, then connect again."),
}


class Standing(NamedTuple):
    """What a step is judged by. `asked_here`: this side asked for the link; `set_by_peer`: the peer set the status;
    `approved`: it was active once."""

    status: str
    asked_here: bool
    set_by_peer: bool
    approved: bool


def refusal(now: Standing, status: str, *, by_peer: bool, lifts: str | None = None) -> str | Promise | None:
    """Why this side (or the peer) may not set `status`; None where it may. `lifts` is the one status that a step to
    active is meant to end, where it is meant so."""
    if status == now.status or now.status in FINAL:
        return _ALREADY[now.status]
    if status not in NEXT[now.status]:
        return _("A connection that is %(status)s cannot become %(next)s.") % _named(now.status, status)
    if status != ACTIVE:
        return None
    if lifts is not None and lifts != now.status:
        return _ONLY_THIS_LIFTS[now.status]
    if not now.approved and now.asked_here != by_peer:
        return _("This side has yet to approve it.") if by_peer else _("Only the other site can approve it.")
    approves = not now.approved and not by_peer  # else nobody could lift what was suspended before it was approved
    if now.status == SUSPENDED and now.set_by_peer != by_peer and not approves:
        return _("Only the side that suspended it can lift that.")
    return None


_ONLY_THIS_LIFTS: dict[str, str | Promise] = {
    PENDING: _("This connection is pending: it has to be approved."),
    SUSPENDED: _("This connection is suspended: it has to be reactivated."),
}
_NAMES: dict[str, str | Promise] = {
    PENDING: _("pending"),
    ACTIVE: pgettext_lazy("syncsessions", "active"),
    SUSPENDED: _("suspended"),
    REVOKED: _("revoked"),
    EXPIRED: _("expired"),
}


def _named(status: str, following: str) -> dict[str, str]:
    return {"status": str(_NAMES[status]), "next": str(_NAMES[following])}
