"""The row that this side asks with: made before the call, taken back or handed over after it.

Two calls for one link share a row; who comes later takes it over, so that the first one's refusal leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, router, transaction
from django.views.decorators.debug import sensitive_variables

from syncsessions import database
from syncsessions.connections import announce, clock, flow, issuing, notices, own_site, peer, steps, tokens
from syncsessions.connections.models import EXISTS, TOKEN, Connection
from syncsessions.exceptions import AlreadyExists, NotFound
from syncsessions.secrets_at_rest import decrypted, encrypted

_TRIES = 3


def make(direction: str, site: str, name: str, by: Any) -> Connection:
    """A new row, or that of an earlier call that was never answered. Raises `AlreadyExists`."""
    alias = router.db_for_write(Connection)
    for _try in range(_TRIES):
        try:
            return database.run(alias, lambda _: _made(alias, direction, site, name, by))
        except NotFound:  # it was taken back just now
            continue
    raise AlreadyExists(EXISTS)


@sensitive_variables()
def _made(alias: str, direction: str, site: str, name: str, by: Any) -> Connection:
    row = Connection(name=name or own_site.host_of(site), direction=direction, site_url=site, asked_here=True)
    row.made_to_ask = True
    row.offered_token = encrypted(TOKEN, token := tokens.draw())
    try:
        with transaction.atomic(using=alias):
            row.save(using=alias, force_insert=True)
            issuing.keep(alias, row, token)
            now = clock.now(alias)
            steps.noted(alias, row, "", now, user_pk=None if by is None else by.pk, by_peer=False, reason="")
    except IntegrityError:
        return _taken_over(alias, row, name)
    announce.rung(alias)
    return row


@sensitive_variables()
def _taken_over(alias: str, row: Connection, name: str) -> Connection:
    rows = Connection.objects.using(alias)
    rival = rows.filter(direction=row.direction, site_hash=row.site_hash).first()
    if rival is None:
        raise NotFound
    with steps.locked(alias, rival.pk) as found:
        if found.status != flow.PENDING or not found.offered_token:
            raise AlreadyExists(EXISTS)
        _write_offer(alias, found, decrypted(TOKEN, found.offered_token))
        if name:
            found.name = name
            found.save(using=alias, update_fields=["name", "updated_at"])
    return found


@sensitive_variables()
def offered(alias: str, connection: Connection) -> str:
    """The token that this row offers to the other site. Raises `AlreadyExists` where that has answered."""
    return database.run(alias, lambda _: _offered(alias, connection))


@sensitive_variables()
def _offered(alias: str, connection: Connection) -> str:
    with steps.locked(alias, connection.pk) as found:
        if not found.offered_token:
            raise AlreadyExists(EXISTS)
        token = decrypted(TOKEN, found.offered_token)
        return token or _write_offer(alias, found, None)


@sensitive_variables()
def _write_offer(alias: str, found: Connection, token: str | None) -> str:
    """In another ciphertext, by which who took the row over is known; a new one where it cannot be read."""
    if token is None:  # it was encrypted under another SECRET_KEY
        token = tokens.draw()
        issuing.keep(alias, found, token)
    found.offered_token = encrypted(TOKEN, token)
    found.save(using=alias, update_fields=["offered_token"])
    return token


@sensitive_variables()
def hand_over(alias: str, connection: Connection, fields: Mapping[str, Any]) -> None:
    """Keep what the other site has answered to the offer of this row. Raises `NotFound` where it is deleted meanwhile,
    of which the other site then hears."""
    try:
        found = database.run(alias, lambda _: _handed_over(alias, connection, fields))
    except NotFound:
        connection.peer_token = str(fields["token"])
        database.run(alias, lambda _: notices.put_removal(alias, connection))
        raise
    steps.show(connection, found)


@sensitive_variables()
def _handed_over(alias: str, connection: Connection, fields: Mapping[str, Any]) -> Connection:
    with steps.locked(alias, connection.pk) as found:
        if not found.offered_token:  # another call was quicker, with an answer that is as good
            return found
        now = clock.now(alias)
        found.peer_token, found.offered_token, found.handed_over_at = str(fields["token"]), "", now
        found.has_callback = connection.has_callback
        changed = ["peer_token_at_rest", "offered_token", "handed_over_at", "has_callback", "updated_at"]
        found.save(using=alias, update_fields=changed)
        if found.heard_seq is None:  # else what was heard is newer than this answer
            peer.mirrored(found, str(fields["status"]), "", now)
        if found.status != fields["status"] and found.status != flow.PENDING and not found.set_by_peer:
            reason = found.suspended_reason if found.status == flow.SUSPENDED else found.revoked_reason
            notices.put(found, status=found.status, reason=reason)
        announce.rung(alias)
    return found


def take_back(alias: str, connection: Connection) -> None:
    """Remove the row, where it was made for this very call and nobody has taken it over."""
    if connection.made_to_ask:
        rows = Connection.objects.using(alias).filter(pk=connection.pk)
        rows = rows.filter(offered_token=connection.offered_token)
        database.run(alias, lambda _: rows.delete())
        announce.rung(alias)
