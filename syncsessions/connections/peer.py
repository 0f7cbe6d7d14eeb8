"""What the peer says of a link: its status, mirrored here as far as it is the peer's to set."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext_noop

from syncsessions import database
from syncsessions.connections import clock, flow, steps
from syncsessions.connections.models import Connection
from syncsessions.exceptions import InvalidTransition

REMOVED = gettext_noop("The other site removed this connection")


def said(connection: Connection, status: str, *, reason: str = "", seq: int | None = None) -> None:
    """The peer has set this status. A `seq` not above the last one seen does nothing.

    Raises `InvalidTransition` where the peer may not, `NotFound` where the row is gone.
    """
    alias = steps.alias_of(connection)
    refused = database.run(alias, lambda _: _said(alias, connection, status, reason, seq))
    if refused is not None:
        raise refused


def _said(alias: str, connection: Connection, status: str, reason: str, seq: int | None) -> InvalidTransition | None:
    with steps.locked(alias, connection.pk) as found:
        if seq is not None:
            if found.heard_seq is not None and seq <= found.heard_seq:
                return None
            found.heard_seq = seq
            found.save(using=alias, update_fields=["heard_seq"])
        return mirrored(found, status, reason, clock.now(alias))


def mirrored(found: Connection, status: str, reason: str, now: datetime) -> InvalidTransition | None:
    """Give a locked row the status that the peer has set, or what forbids it."""
    if steps.is_over(found, now):
        steps.write(found, flow.EXPIRED, now=now)
    refused = flow.refusal(found.standing, status, by_peer=True)
    if refused is not None:
        _note_approval(found, status, now)
        return InvalidTransition(refused, status=found.status)
    steps.write(found, status, now=now, by_peer=True, reason=reason)
    return None


def _note_approval(found: Connection, status: str, now: datetime) -> None:
    """The peer approves what this side has suspended meanwhile: it stays so, and this side may lift it."""
    if status == flow.ACTIVE and found.status == flow.SUSPENDED and found.asked_here and found.approved_at is None:
        found.approved_at = now
        found.save(update_fields=["approved_at", "updated_at"])


def removed(connection: Connection) -> None:
    """The peer's row is gone: this one is revoked, unless that or its expiry was its end already."""
    alias = steps.alias_of(connection)
    database.run(alias, lambda _: _removed(alias, connection))


def _removed(alias: str, connection: Connection) -> None:
    with steps.locked(alias, connection.pk) as found:
        if found.status not in flow.FINAL:
            steps.write(found, flow.REVOKED, now=clock.now(alias), by_peer=True, reason=REMOVED)
