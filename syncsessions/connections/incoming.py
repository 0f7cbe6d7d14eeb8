"""What this side does when another site asks: a link to register, an invitation to redeem, tokens to rotate."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from django.contrib.auth.hashers import check_password
from django.db import IntegrityError, router, transaction
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from syncsessions import conf, database
from syncsessions.connections import announce, clock, flow, invitations, issuing, own_site, proof, rotation, steps
from syncsessions.connections.models import Connection, ConnectionToken
from syncsessions.digests import text_hash
from syncsessions.exceptions import AccessRefused, AlreadyExists, InvalidCode, NotFound
from syncsessions.stores import stores

AUTO_ACCEPT, REQUIRE_APPROVAL = "auto_accept", "require_approval"
REQUIRE_PASSWORD, DENY_ALL = "require_password", "deny_all"
MODES = (AUTO_ACCEPT, REQUIRE_APPROVAL, REQUIRE_PASSWORD, DENY_ALL)
PROVEN_RATE = "600/h"  # of one client address, whose sites may be as many as it likes

Found = TypeVar("Found")


@dataclass(frozen=True)
class Registration:
    """A site asks to send to this one."""

    sender_url: str
    name: str
    token: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Redemption:
    """A site asks to receive from this one, which has invited it."""

    code: str = field(repr=False)
    name: str
    receiver_url: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Accepted:
    """A link as the site that asked for it is answered."""

    status: str
    token: str = field(repr=False)


def mode() -> str:
    """INCOMING_MODE; what is none of them lets nobody in."""
    found = conf.current().INCOMING_MODE
    return found if found in MODES else DENY_ALL


@sensitive_variables()
def register(asked: Registration, *, client: str | None = None, called_at: str | None = None) -> Accepted:
    """Make the receiver's row of a link that a sender asks for, as INCOMING_MODE says.

    `client` is what limits count the caller by, `called_at` the address by which it knows this site. Raises
    `AccessRefused` (denied, invalid_password), `RateLimited`, `InvalidValue` where the address is not proven,
    `AlreadyExists`.
    """
    incoming = mode()
    if incoming == DENY_ALL:
        raise AccessRefused("denied")
    if incoming == REQUIRE_PASSWORD:
        _check_password(asked.password, client)
    proof.prove(asked.sender_url, asked.token, key="sender_url", own=_own(called_at), client=client)
    if client is not None:
        stores["default"].hit(f"connections.proven:{client}", PROVEN_RATE)
    active = incoming in (AUTO_ACCEPT, REQUIRE_PASSWORD)
    row = Connection(
        name=asked.name or own_site.host_of(asked.sender_url),
        direction=Connection.Direction.RECEIVER,
        site_url=asked.sender_url,
        status=flow.ACTIVE if active else flow.PENDING,
    )
    row.peer_token = asked.token
    alias = router.db_for_write(Connection)
    return database.run(alias, lambda _connection: _registered(alias, row, asked.token))


def _own(called_at: str | None) -> list[str]:
    """The names by which a caller may have known this site."""
    return list(dict.fromkeys(filter(None, (own_site.url(), called_at))))


def _registered(alias: str, row: Connection, offered: str) -> Accepted:
    for _try in range(3):
        try:
            with transaction.atomic(using=alias):
                return _made(alias, row)
        except IntegrityError:
            found = _rival(alias, row)
        if found is not None:
            try:
                return _answered_again(alias, found, offered)
            except NotFound:
                continue  # it was deleted just now
    raise _exists()


def _made(alias: str, row: Connection) -> Accepted:
    """Inside the caller's transaction. Raises `IntegrityError` where there is a link to this site."""
    now = clock.now(alias)
    if row.status == flow.ACTIVE:
        row.approved_at = now
    row.save(using=alias, force_insert=True)
    token = issuing.issue(alias, row)
    steps.noted(alias, row, "", now, user_pk=None, by_peer=True, reason="")
    announce.changed(alias, row, previous="", status=row.status, by=None, by_peer=True, reason="")
    return Accepted(row.status, token)


def _rival(alias: str, row: Connection) -> Connection | None:
    rows = Connection.objects.using(alias)
    return rows.filter(site_hash=text_hash(row.site_url or ""), direction=row.direction).first()


def _answered_again(alias: str, rival: Connection, offered: str) -> Accepted:
    """What is asked for once more, because the answer got lost, is answered anew: the row stays as it is."""
    with steps.locked(alias, rival.pk) as found:
        used = ConnectionToken.objects.using(alias).filter(connection=found, used_at__isnull=False).exists()
        known = found.peer_token
        if used or found.asked_here or known is None or not hmac.compare_digest(known, offered):
            raise _exists()
        return Accepted(found.status, issuing.issue(alias, found))


def _exists() -> AlreadyExists:
    return AlreadyExists(_("There is a connection between these sites already. It has to be deleted here first."))


@sensitive_variables()
def redeem(asked: Redemption, *, client: str | None = None, called_at: str | None = None) -> Accepted:
    """Make the sender's row of a link that this side has invited to, in one step with the use of its code.

    Raises `AccessRefused` (denied), `RateLimited`, `InvalidCode`, `AlreadyUsed`, `InvalidValue` where the address is
    not proven, `AlreadyExists`; whatever is raised, the code stays as good as it was.
    """
    if mode() == DENY_ALL:
        raise AccessRefused("denied")
    invitation = _guess(client, lambda: invitations.find(asked.code))
    if asked.receiver_url is not None:
        bearer = asked.token or invitations.spelled(asked.code)
        proof.prove(asked.receiver_url, bearer, key="receiver_url", own=_own(called_at), client=client)
    row = Connection(
        name=invitation.name or asked.name,
        direction=Connection.Direction.SENDER,
        site_url=asked.receiver_url,
        status=flow.ACTIVE,
        has_callback=asked.receiver_url is not None and asked.token is not None,
    )
    if row.has_callback:
        row.peer_token = asked.token
    alias = router.db_for_write(Connection)

    def work(_connection: object) -> Accepted:
        try:
            with transaction.atomic(using=alias):
                invitations.use(alias, invitation)
                row.handed_over_at = clock.now(alias) if row.has_callback else None
                accepted = _made(alias, row)
                invitations.used_for(alias, invitation, row)
                return accepted
        except IntegrityError:
            raise _exists() from None

    return database.run(alias, work)


@sensitive_variables()
def rotate(connection: Connection, offered: str) -> str:
    """Present `offered` to the peer from now on; a new token for it, which ends the older ones when it is first used.

    Raises `AccessRefused` (not_active), `InvalidTransition` while this side rotates, and `NotFound`.
    """
    alias = steps.alias_of(connection)

    def work(_connection: object) -> str:
        with steps.locked(alias, connection.pk) as found:
            if found.status != flow.ACTIVE:
                raise AccessRefused("not_active")
            rotation.refuse_crossing(alias, found)
            found.peer_token = offered
            changed = ["peer_token_at_rest", "updated_at"]
            if found.site_url and not found.has_callback:  # it was proven, and only a token was missing
                found.has_callback, found.handed_over_at = True, clock.now(alias)
                changed += ["has_callback", "handed_over_at"]
                announce.rung(alias)
            found.save(using=alias, update_fields=changed)
            return issuing.issue(alias, found)

    return database.run(alias, work)


@sensitive_variables()
def _check_password(password: str | None, client: str | None) -> None:
    wanted = conf.current().INCOMING_PASSWORD
    if not wanted or password is None:
        raise AccessRefused("invalid_password")

    def compare() -> None:
        if not check_password(password, wanted):
            raise AccessRefused("invalid_password")

    _guess(client, compare)


def _guess(client: str | None, judge: Callable[[], Found]) -> Found:
    """Count a guess against PAIRING_GUESS_RATE before it is looked at; unless it is wrong, it is given back."""
    if client is None:
        return judge()
    store, key = stores["default"], f"connections.guess:{client}"
    hit = store.hit(key, conf.current().PAIRING_GUESS_RATE)
    try:
        found = judge()
    except (AccessRefused, InvalidCode):
        raise
    except BaseException:
        store.unhit(key, hit)
        raise
    store.unhit(key, hit)
    return found
