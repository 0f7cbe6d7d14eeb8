"""Steps from status to status: judged by the row in the database, under its lock, and written with all that follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from syncsessions import database, staff
from syncsessions.connections import announce, clock, flow, notices
from syncsessions.connections.models import Connection, ConnectionChange
from syncsessions.connections.validators import LONGEST_REASON
from syncsessions.exceptions import InvalidTransition, NotFound
from syncsessions.json_values import check_text

SEVERED = gettext_noop("Remote site reports connection not found")
_AUDITED = {flow.ACTIVE: "approved", flow.SUSPENDED: "suspended", flow.REVOKED: "revoked"}
_SUSPENSION: dict[str, Any] = {"suspended_at": None, "suspended_by_id": None, "suspended_reason": ""}


def alias_of(connection: Connection) -> str:
    """Where its row is written, wherever it was read."""
    return router.db_for_write(Connection, instance=connection)


@contextmanager
def locked(alias: str, pk: Any) -> Iterator[Connection]:
    """The row as it is, in a transaction, nobody else's until its end. Raises `NotFound`."""
    with transaction.atomic(using=alias):
        rows = Connection.objects.using(alias).filter(pk=pk)
        if connections[alias].features.has_select_for_update:
            found = rows.select_for_update().first()
        else:  # SQLite locks by writing, and what was read before that may be old
            rows.update(name=F("name"))
            found = rows.first()
        if found is None:
            raise NotFound(_("This connection was deleted meanwhile."))
        yield found


def take(connection: Connection, status: str, *, by: Any = None, reason: str = "", lifts: str | None = None) -> None:
    """This side sets a status; `connection` then shows the row as it has become.

    Raises `InvalidTransition`, `NotFound`, and `InvalidValue` for a reason that is no text. A step on a row past its
    `expires_at` makes it expired, and is refused.
    """
    alias, reason = alias_of(connection), check_text(reason[:LONGEST_REASON], _("The reason"), LONGEST_REASON)
    found = database.run(alias, lambda _: _take(alias, connection.pk, status, by, reason, lifts))
    show(connection, found)
    if found.status != status:
        raise InvalidTransition(refusal(found, status), status=found.status)


def _take(alias: str, pk: Any, status: str, by: Any, reason: str, lifts: str | None) -> Connection:
    with locked(alias, pk) as found:
        now = clock.now(alias)
        if is_over(found, now):
            write(found, flow.EXPIRED, now=now)
            return found
        refused = flow.refusal(found.standing, status, by_peer=False, lifts=lifts)
        if refused is not None:
            raise InvalidTransition(refused, status=found.status)
        write(found, status, now=now, by=by, reason=reason)
    return found


def is_over(found: Connection, now: datetime) -> bool:
    return found.status == flow.ACTIVE and found.expires_at is not None and found.expires_at <= now


def refusal(found: Connection, status: str) -> Any:
    return flow.refusal(found.standing, status, by_peer=False)


def write(
    found: Connection,
    status: str,
    *,
    now: datetime,
    by: Any = None,
    by_peer: bool = False,
    reason: str = "",
    severed: bool = False,
) -> None:
    """Give a locked row its new status: audit, history, the peer's notice and, after the commit, the signal."""
    alias, previous = alias_of(found), found.status
    user_pk = None if by is None else by.pk
    reason = reason[:LONGEST_REASON]
    fields: dict[str, Any] = {"status": status, "set_by_peer": by_peer}
    if previous == flow.SUSPENDED and status == flow.ACTIVE:
        fields |= _SUSPENSION
    audited = _AUDITED.get(status)
    if audited and not (status == flow.ACTIVE and found.approved_at is not None):
        fields |= {f"{audited}_at": now, f"{audited}_by_id": user_pk, f"{audited}_reason": reason}
    if not by_peer and not severed:
        notices.put(found, status=status, reason=reason)
    for name, value in fields.items():
        setattr(found, name, value)
    found.save(using=alias, update_fields=[name.removesuffix("_id") for name in fields] + ["updated_at"])
    noted(alias, found, previous, now, user_pk=user_pk, by_peer=by_peer, reason=reason)
    if user_pk is not None:
        staff.note(user_pk, found, _in_words(previous, status, reason), gone=False)
    announce.changed(
        alias,
        found,
        severed=severed,
        previous=previous,
        status=status,
        by=by,
        by_peer=by_peer,
        reason=reason,
    )


def noted(
    alias: str, found: Connection, previous: str, now: datetime, *, user_pk: Any, by_peer: bool, reason: str
) -> None:
    ConnectionChange.objects.using(alias).create(
        connection=found,
        at=now,
        previous=previous,
        status=found.status,
        by_id=user_pk,
        by_peer=by_peer,
        reason=reason,
    )


def sever(connection: Connection, asked_with: str) -> bool:
    """Suspend a sender's row whose peer has said, to this token, that it knows no such link. False where the row is
    gone, no longer active or pending, or has another token by now: then the answer is an old one."""
    alias = alias_of(connection)
    try:
        return database.run(alias, lambda _: _sever(alias, connection.pk, asked_with))
    except NotFound:
        return False


def _sever(alias: str, pk: Any, asked_with: str) -> bool:
    with locked(alias, pk) as found:
        if found.status not in (flow.PENDING, flow.ACTIVE) or found.peer_token != asked_with:
            return False
        now = clock.now(alias)
        if is_over(found, now):
            write(found, flow.EXPIRED, now=now)
            return False
        write(found, flow.SUSPENDED, now=now, reason=SEVERED, severed=True)
    return True


def expire(*, dry_run: bool = False) -> int:
    """Turn what is active and past its `expires_at` expired; how many rows that were, or would be."""
    alias = router.db_for_write(Connection)
    now = clock.now(alias)
    over = Connection.objects.using(alias).filter(status=flow.ACTIVE, expires_at__lte=now)
    if dry_run:
        return over.count()
    return sum(database.run(alias, partial(_expire, pk)) for pk in list(over.values_list("pk", flat=True)))


def _expire(pk: Any, connection: BaseDatabaseWrapper) -> bool:
    alias = connection.alias
    try:
        with locked(alias, pk) as found:
            now = clock.now(alias)
            if not is_over(found, now):
                return False
            write(found, flow.EXPIRED, now=now)
    except NotFound:
        return False
    return True


def show(connection: Connection, found: Connection) -> None:
    """Let an object show the row as it was found to be."""
    for field in connection._meta.concrete_fields:
        setattr(connection, field.attname, getattr(found, field.attname))


def _in_words(previous: str, status: str, reason: str) -> str:
    text = _("Changed the status from %(previous)s to %(status)s.") % {
        "previous": Connection.Status(previous).label,
        "status": Connection.Status(status).label,
    }
    return f"{text} {reason}" if reason else text
