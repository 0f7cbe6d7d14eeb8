"""Asking another site for a link, with a token of this side's or with the code of an invitation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, router, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from syncsessions import codes, conf, database
from syncsessions.commit import after_commit
from syncsessions.connections import announce, clock, flow, outbox, peer, site_url, steps, tokens
from syncsessions.connections.calls import Answer, call
from syncsessions.connections.models import TOKEN, Connection, ConnectionToken
from syncsessions.connections.refusals import error_of
from syncsessions.connections.standing import alook, look
from syncsessions.database import InThread, InThreadOfItsOwn
from syncsessions.exceptions import (
    AccessRefused,
    AlreadyExists,
    AlreadyUsed,
    InvalidCode,
    InvalidValue,
    NotFound,
    SiteUnavailable,
)
from syncsessions.secrets_at_rest import decrypted, encrypted

WITHIN = 15.0  # seconds for one try: the other site calls back before it answers
ALL_WITHIN = 30.0  # seconds for all tries
PAUSES = (0.0, 0.5, 1.5)  # seconds before each try
LONGEST_NAME = 100  # characters

__all__ = ["aask", "aconnect", "alook", "aprepare", "aredeem", "ask", "connect", "look", "prepare", "redeem"]

_SENTENCES = {
    "invalid_password": gettext_lazy("The other site wants a password, and this is not it. Ask its admin for it."),
    "denied": gettext_lazy("The other site takes no connections."),
    "disabled": gettext_lazy("The other site takes no part in connections: it has no SITE_URL."),
    "already_exists": gettext_lazy(
        "The other site has a connection to this site already. Have it deleted there, then connect again."
    ),
    "invalid_value": gettext_lazy("The other site cannot use this request. Can it reach this site at its SITE_URL?"),
    "invalid_code": gettext_lazy("The other site does not know this code. Check it, or ask for a new invitation."),
    "already_used": gettext_lazy("This code was used already. Ask for a new invitation."),
}
_EXISTS = gettext_lazy("There is a connection of this direction to this site already.")


@sensitive_variables()
def connect(url: str, *, name: str = "", password: str | None = None, by: Any = None) -> Connection:
    """Ask the site at `url` for a link by which it receives from this one; the row, as the other site has answered.

    Raises what `prepare` and `ask` raise. After a lost answer the same call goes on with the same token.
    """
    row = prepare(url, name=name, by=by)
    ask(row, password)
    return row


def prepare(url: str, *, name: str = "", by: Any = None) -> Connection:
    """The row that `ask` needs once it is committed: a new one, or that of an earlier call that was never answered.

    Raises `AccessRefused` (disabled) without a SITE_URL; `InvalidValue`; `AlreadyExists`.
    """
    own_site()
    return _row(Connection.Direction.SENDER, _other_site(url), _name(name), by)


@sensitive_variables()
def ask(connection: Connection, password: str | None = None) -> None:
    """Call the other site for a row that `prepare` has made; `connection` then shows it as it has become.

    An answer that is lost leaves the row to be asked with again; a refusal removes what was made for this call. Raises
    `SiteUnavailable`; `AccessRefused` (invalid_password, denied, disabled), `AlreadyExists`, `InvalidValue`,
    `RateLimited` as the other site refuses; `NotFound` where the row is deleted meanwhile; RuntimeError inside a
    transaction, where the other site would call back for a row that is not there yet.
    """
    alias = _committed(connection)
    token = database.run(alias, lambda _: _offered(alias, connection))
    own = own_site()
    name = "" if connection.name == _host(str(connection.site_url)) else connection.name
    fields = {"sender_url": own, "name": name, "token": token}
    if password is not None:
        fields["password"] = password
    try:
        answer, lost = _send(connection.site_url, "api/connections", fields)
    except SiteUnavailable as error:
        raise SiteUnavailable(
            _("The other site did not answer, and may have heard nevertheless. Connect again to go on with this."),
            offline=error.offline,
        ) from None
    if not _is_link(answer):
        if answer.status != 201 and not (lost and answer.status != 409):
            _take_back(alias, connection)
        raise error_of(answer.status, answer.fields, _SENTENCES)
    _hand_over(alias, connection, answer)


@sensitive_variables()
def redeem(url: str, code: str, *, name: str = "", by: Any = None, callback: bool = True) -> Connection:
    """Redeem an invitation of the site at `url`, from which this one then receives; the new row.

    Without a SITE_URL, or a `callback`, the link works for a site that nobody can reach. Raises `InvalidValue`,
    `InvalidCode`, `AlreadyUsed`, `AlreadyExists`, `RateLimited`, `AccessRefused` (denied, disabled),
    `SiteUnavailable`; RuntimeError inside a transaction.
    """
    alias = router.db_for_write(Connection)
    with transaction.atomic(using=alias, durable=True):
        pass  # inside a transaction this raises
    site, name, read = _other_site(url), _name(name), codes.normalise(code)
    if read is None:
        raise InvalidCode
    own = own_site() if callback and conf.current().SITE_URL else None
    fields = {"code": read, "name": name}
    row = _row(Connection.Direction.RECEIVER, site, name, by)
    row.made_to_ask = True  # an earlier one that was never answered is of no more use
    row.has_callback = own is not None
    if own:
        fields |= {"receiver_url": own, "token": database.run(alias, lambda _: _offered(alias, row))}
    try:
        answer, lost = _send(site, "api/connections/redeem", fields)
    except SiteUnavailable as error:
        _take_back(alias, row)
        raise SiteUnavailable(
            _("The other site did not answer. Try again; if the code then was used already, ask for a new one."),
            offline=error.offline,
        ) from None
    if not _is_link(answer):
        _take_back(alias, row)
        refused = error_of(answer.status, answer.fields, _SENTENCES)
        if lost and isinstance(refused, AlreadyUsed):
            raise AlreadyUsed(
                _(
                    "The other site's answer was lost, and the code with it. Have the new connection deleted there, "
                    "and ask for a new invitation."
                )
            )
        raise refused
    _hand_over(alias, row, answer)
    return row


aconnect = InThreadOfItsOwn(connect)
aprepare = InThread(prepare)
aask = InThreadOfItsOwn(ask)
aredeem = InThreadOfItsOwn(redeem)


def own_site() -> str:
    """This site's own address. Raises `AccessRefused` (disabled) where there is none, or none that can be used."""
    given = conf.current().SITE_URL
    try:
        if given:
            return site_url.normalised(given, insecure=settings.DEBUG)
    except InvalidValue:
        pass
    raise AccessRefused(
        "disabled",
        _(
            "Connections are disabled here. Set SYNCSESSIONS['SITE_URL'] to where other sites reach this one, like "
            "https://a.example/sync."
        ),
    )


def _other_site(url: str) -> str:
    site = site_url.normalised(url, insecure=settings.DEBUG)
    own = conf.current().SITE_URL
    try:
        is_own = bool(own) and site == site_url.canonical(own)
    except InvalidValue:
        is_own = False
    if is_own:
        raise InvalidValue(_("This is this site's own address: a connection leads to another site."), key="site_url")
    return site


def _name(text: str) -> str:
    name = text.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidValue(_("A name has at most 100 characters, in one line."), key="name")
    return name


def _host(url: str) -> str:
    return urlsplit(url).netloc[:LONGEST_NAME]


def _committed(connection: Connection) -> str:
    alias = steps.alias_of(connection)
    with transaction.atomic(using=alias, durable=True):
        return alias  # inside a transaction this raises


def _row(direction: str, site: str, name: str, by: Any, **fields: Any) -> Connection:
    alias = router.db_for_write(Connection)
    return database.run(alias, lambda _: _made(alias, direction, site, name, by, fields))


@sensitive_variables()
def _made(alias: str, direction: str, site: str, name: str, by: Any, fields: dict[str, Any]) -> Connection:
    row = Connection(name=name or _host(site), direction=direction, site_url=site, asked_here=True, **fields)
    row.offered_token = encrypted(TOKEN, token := tokens.draw())
    try:
        with transaction.atomic(using=alias):
            row.save(using=alias, force_insert=True)
            _keep(alias, row, token)
            now = clock.now(alias)
            steps.noted(alias, row, "", now, user_pk=None if by is None else by.pk, by_peer=False, reason="")
    except IntegrityError:
        rows = Connection.objects.using(alias)
        rows = rows.filter(direction=direction, site_hash=row.site_hash, status=flow.PENDING)
        found = rows.exclude(offered_token="").first()
        if found is None:
            raise AlreadyExists(_EXISTS) from None
        if name:
            found.name = name
            found.save(using=alias, update_fields=["name", "updated_at"])
        return found
    row.made_to_ask = True
    announce.rung(alias)
    return row


@sensitive_variables()
def _offered(alias: str, connection: Connection) -> str:
    """The token that this row offers to the other site."""
    with steps.locked(alias, connection.pk) as found:
        if not found.offered_token:
            raise AlreadyExists(_EXISTS)
        token = decrypted(TOKEN, found.offered_token)
        if token is None:  # it was encrypted under another SECRET_KEY
            token = tokens.draw()
            found.offered_token = encrypted(TOKEN, token)
            found.save(using=alias, update_fields=["offered_token"])
            _keep(alias, found, token)
        return token


@sensitive_variables()
def _keep(alias: str, row: Connection, token: str) -> None:
    ConnectionToken.objects.using(alias).create(connection=row, token_hash=tokens.digest(token))


@sensitive_variables()
def _send(site: str | None, path: str, fields: Mapping[str, str]) -> tuple[Answer, bool]:
    """The first answer that says something, and whether one before it was lost. Raises `SiteUnavailable`."""
    until, lost, offline = time.monotonic() + ALL_WITHIN, False, False
    for pause in PAUSES:
        time.sleep(pause)
        left = until - time.monotonic()
        if left <= 0:
            break
        try:
            answer = call("POST", site, path, json=dict(fields), within=min(WITHIN, left))
        except SiteUnavailable as error:
            lost, offline = True, error.offline
            continue
        if (answer.status < 500 and answer.status != 408) or answer.fields.get("code") == "disabled":
            return answer, lost
        lost, offline = True, False
    raise SiteUnavailable(offline=offline)


def _is_link(answer: Answer) -> bool:
    fields = answer.fields
    return answer.status == 201 and tokens.is_token(fields.get("token")) and fields.get("status") in flow.STATUSES


@sensitive_variables()
def _hand_over(alias: str, connection: Connection, answer: Answer) -> None:
    """Keep what the other site has answered to the offer of this row."""
    try:
        found = database.run(alias, lambda _: _handed_over(alias, connection, answer.fields))
    except NotFound:  # deleted meanwhile: the other site has to hear of it
        connection.peer_token = str(answer.fields["token"])
        database.run(alias, lambda _: outbox.put_removal(alias, connection))
        after_commit(alias, outbox.deliver_soon)
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
        if not found.heard_seq:  # else what was heard is newer than this answer
            peer.mirrored(found, str(fields["status"]), "", now)
        if found.status != fields["status"] and found.status != flow.PENDING and not found.set_by_peer:
            reason = found.suspended_reason if found.status == flow.SUSPENDED else found.revoked_reason
            if outbox.put(found, status=found.status, reason=reason):
                after_commit(alias, outbox.deliver_soon)
        announce.rung(alias)
    return found


def _take_back(alias: str, connection: Connection) -> None:
    if not connection.made_to_ask:
        return
    rows = Connection.objects.using(alias).filter(pk=connection.pk).exclude(offered_token="")
    database.run(alias, lambda _: rows.delete())
    announce.rung(alias)
