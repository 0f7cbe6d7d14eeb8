"""Asking another site for a link, with a token of this side's or with the code of an invitation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django.db import router
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from syncsessions import codes, conf
from syncsessions.commit import outside_transactions
from syncsessions.connections import asking_rows, flow, own_site, steps, tokens
from syncsessions.connections.calls import Answer, call
from syncsessions.connections.models import Connection
from syncsessions.connections.refusals import error_of
from syncsessions.connections.validators import LONGEST_NAME
from syncsessions.connections.wire import NotPublic
from syncsessions.database import InThread, InThreadOfItsOwn
from syncsessions.exceptions import AlreadyUsed, InvalidCode, InvalidValue, SiteUnavailable

WITHIN = 15.0  # seconds for one try: the other site calls back before it answers
ALL_WITHIN = 30.0  # seconds for all tries
PAUSES = (0.0, 0.5, 1.5)  # seconds before each try

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
_UNPROVEN = _SENTENCES | {
    "invalid_value": gettext_lazy(
        "The other site cannot use this request. Can it reach this site at its SITE_URL? If it cannot, redeem "
        "the code with --no-callback or, in the admin, without “The other site can reach this one”."
    )
}


@sensitive_variables()
def connect(url: str, *, name: str = "", password: str | None = None, by: Any = None) -> Connection:
    """Ask the site at `url` for a link by which it receives from this one; the row, as the other site has answered.

    `name` is what the link is called on both sides; without one each is shown the other's host. Raises what `prepare`
    and `ask` raise. After a lost answer the same call goes on with the same token.
    """
    row = prepare(url, name=name, by=by)
    ask(row, password)
    return row


def prepare(url: str, *, name: str = "", by: Any = None) -> Connection:
    """The row that `ask` needs once it is committed: a new one, or that of an earlier call that was never answered.

    Raises `AccessRefused` (disabled) without a SITE_URL; `InvalidValue`; `AlreadyExists`.
    """
    own_site.required()
    return asking_rows.make(Connection.Direction.SENDER, own_site.other(url), _name(name), by)


@sensitive_variables()
def ask(connection: Connection, password: str | None = None) -> None:
    """Call the other site for a row that `prepare` has made; `connection` then shows it as it has become.

    An answer that is lost leaves the row to be asked with again; a refusal removes what was made for this call. Raises
    `SiteUnavailable`; `AccessRefused` (invalid_password, denied, disabled), `AlreadyExists`, `InvalidValue`,
    `RateLimited` as the other site refuses; `NotFound` where the row is deleted meanwhile; RuntimeError inside a
    transaction, where the other site would call back for a row that is not there yet.
    """
    alias = steps.alias_of(connection)
    outside_transactions(alias)
    token = asking_rows.offered(alias, connection)
    fields = {"sender_url": own_site.required(), "name": _shared_name(connection), "token": token}
    if password is not None:
        fields["password"] = password
    try:
        answer, lost = _send(connection.site_url, "api/connections", fields)
    except NotPublic:
        asking_rows.take_back(alias, connection)
        raise _not_public() from None
    except SiteUnavailable as error:
        raise SiteUnavailable(
            _("The other site did not answer, and may have heard nevertheless. Connect again to go on with this."),
            offline=error.offline,
        ) from None
    if not _is_link(answer):
        if answer.status != 201 and not (lost and answer.status != 409):
            asking_rows.take_back(alias, connection)
        raise error_of(answer.status, answer.fields, _SENTENCES)
    asking_rows.hand_over(alias, connection, answer.fields)


@sensitive_variables()
def redeem(url: str, code: str, *, name: str = "", by: Any = None, callback: bool = True) -> Connection:
    """Redeem an invitation of the site at `url`, from which this one then receives; the new row.

    `name` is as in `connect`. Without a SITE_URL, or a `callback`, the link works for a site that nobody
    can reach. Raises `InvalidValue`, `InvalidCode`, `AlreadyUsed`, `AlreadyExists`, `RateLimited`, `AccessRefused`
    (denied, disabled), `SiteUnavailable`; RuntimeError inside a transaction.
    """
    alias = router.db_for_write(Connection)
    outside_transactions(alias)
    site, name, read = own_site.other(url), _name(name), codes.normalise(code)
    if read is None:
        raise InvalidCode
    own = own_site.required() if callback and conf.current().SITE_URL else None
    row = asking_rows.make(Connection.Direction.RECEIVER, site, name, by)
    row.has_callback = own is not None
    fields = {"code": read, "name": _shared_name(row)}
    if own:
        fields |= {"receiver_url": own, "token": asking_rows.offered(alias, row)}
    try:
        answer, lost = _send(site, "api/connections/redeem", fields)
    except NotPublic:
        asking_rows.take_back(alias, row)
        raise _not_public() from None
    except SiteUnavailable as error:
        asking_rows.take_back(alias, row)
        raise SiteUnavailable(
            _("The other site did not answer. Try again; if the code then was used already, ask for a new one."),
            offline=error.offline,
        ) from None
    if not _is_link(answer):
        asking_rows.take_back(alias, row)
        refused = error_of(answer.status, answer.fields, _UNPROVEN if own else _SENTENCES)
        if lost and isinstance(refused, AlreadyUsed):
            raise AlreadyUsed(
                _(
                    "The other site's answer was lost, and the code with it. Have the new connection deleted there, "
                    "and ask for a new invitation."
                )
            )
        raise refused
    asking_rows.hand_over(alias, row, answer.fields)
    return row


aconnect = InThreadOfItsOwn(connect)
aprepare = InThread(prepare)
aask = InThreadOfItsOwn(ask)
aredeem = InThreadOfItsOwn(redeem)


def _shared_name(row: Connection) -> str:
    """What the other site is to call the link: as it was named here or, if it was not, by this site's own host."""
    return row.name if row.name != own_site.host_of(row.site_url) else own_site.name()


def _name(text: str) -> str:
    name = text.strip()
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidValue(_("A name has at most 100 characters, in one line."), key="name")
    return name


def _not_public() -> InvalidValue:
    return InvalidValue(
        _(
            "This host has a private address, which is not called. Check it; for sites in your own network set "
            "SYNCSESSIONS['ALLOW_PRIVATE_SITE_URLS']."
        ),
        key="site_url",
    )


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
        except NotPublic:
            raise
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
