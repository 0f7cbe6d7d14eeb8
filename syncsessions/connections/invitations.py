"""Invitations to pull from this site: a code that is good once, for a day, and of which a keyed hash is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, router, transaction
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from syncsessions import codes, database
from syncsessions.connections import announce, clock
from syncsessions.connections.models import Connection, ConnectionInvitation
from syncsessions.connections.validators import LONGEST_NAME
from syncsessions.database import InThread
from syncsessions.digests import fallback_digests, keyed_digest
from syncsessions.exceptions import AlreadyExists, AlreadyUsed, InvalidCode
from syncsessions.json_values import check_text

VALID_FOR = timedelta(hours=24)
_PURPOSE = "connections.invitation"
_TRIES = 8


def make(name: str, by: Any = None) -> tuple[ConnectionInvitation, str]:
    """A new invitation and its code, which cannot be shown again. Raises `InvalidValue` for a name that is none."""
    check_text(name, _("The name"), LONGEST_NAME)
    alias = router.db_for_write(ConnectionInvitation)
    return database.run(alias, lambda _connection: _make(alias, name, by))


async def amake(name: str, by: Any = None) -> tuple[ConnectionInvitation, str]:
    return await InThread(make)(name, by)


def withdraw(invitation: ConnectionInvitation) -> bool:
    """Remove an invitation; False where it was redeemed already, or is gone."""
    alias = router.db_for_write(ConnectionInvitation)
    rows = ConnectionInvitation.objects.using(alias).filter(pk=invitation.pk, used_at=None)
    gone = database.run(alias, lambda _connection: rows.delete()[0] > 0)
    if gone:
        announce.rung(alias)
    return gone


async def awithdraw(invitation: ConnectionInvitation) -> bool:
    return await InThread(withdraw)(invitation)


def _make(alias: str, name: str, by: Any) -> tuple[ConnectionInvitation, str]:
    for _try in range(_TRIES):
        code = codes.draw()
        now = clock.now(alias)
        invitation = ConnectionInvitation(
            name=name,
            code_hash=keyed_digest(_PURPOSE, code).hex(),
            created_at=now,
            created_by_id=None if by is None else by.pk,
            expires_at=now + VALID_FOR,
        )
        try:
            with transaction.atomic(using=alias):
                invitation.save(using=alias, force_insert=True)
        except IntegrityError:
            continue
        announce.rung(alias)
        return invitation, code
    raise AlreadyExists(_("No free code was found."))


@sensitive_variables("code", "text")
def find(text: str) -> ConnectionInvitation:
    """The invitation that this code is good for. Raises `InvalidCode` and `AlreadyUsed`."""
    code = codes.normalise(text)
    if code is None:
        raise InvalidCode
    alias = router.db_for_write(ConnectionInvitation)
    hashes = [digest.hex() for digest in (keyed_digest(_PURPOSE, code), *fallback_digests(_PURPOSE, code))]
    rows = ConnectionInvitation.objects.using(alias).filter(code_hash__in=hashes)
    found, now = database.run(alias, lambda _connection: (rows.first(), clock.now(alias)))
    if found is None or found.expires_at <= now:
        raise InvalidCode
    if found.used_at is not None:
        raise AlreadyUsed
    return found


def spelled(text: str) -> str:
    """The one spelling of a code that was found."""
    return codes.normalise(text) or ""


def use(alias: str, invitation: ConnectionInvitation) -> None:
    """In the caller's transaction, take the code away from everybody else. Raises `InvalidCode` and `AlreadyUsed`."""
    now = clock.now(alias)
    rows = ConnectionInvitation.objects.using(alias).filter(pk=invitation.pk)
    if rows.filter(used_at=None, expires_at__gt=now).update(used_at=now):
        return
    raise AlreadyUsed if rows.filter(used_at__isnull=False).exists() else InvalidCode


def used_for(alias: str, invitation: ConnectionInvitation, connection: Connection) -> None:
    """Note what came of it."""
    ConnectionInvitation.objects.using(alias).filter(pk=invitation.pk).update(connection=connection)
