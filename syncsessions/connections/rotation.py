"""New tokens for both sides of a link by one call, so that no lost answer locks either of them out.

Each side takes the other's new token before it lets its own old one go: what is offered may be presented from then on,
and the old one is valid until a later one is.
"""

from __future__ import annotations

from contextlib import suppress

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_variables

from syncsessions import database
from syncsessions.commit import outside_transactions
from syncsessions.connections import announce, flow, issuing, steps, tokens
from syncsessions.connections.calls import Answer, call
from syncsessions.connections.models import Connection, ConnectionToken
from syncsessions.connections.refusals import error_of, is_refusal
from syncsessions.exceptions import InvalidTransition, SiteUnavailable

_CROSSING = gettext_lazy("The other site rotates these tokens just now. Try again in a minute.")
_SENTENCES = {
    "invalid_token": gettext_lazy("The other site does not know this connection any more. Verify it."),
    "not_active": gettext_lazy("This connection is not active at the other site: only an active one is rotated."),
    "invalid_transition": _CROSSING,
}


@sensitive_variables()
def rotate(connection: Connection) -> None:
    """What `Connection.rotate_tokens` says."""
    alias = steps.alias_of(connection)
    outside_transactions(alias)
    asked_with, offered, offer_pk = database.run(alias, lambda _: _offer(alias, connection))
    try:
        answer = call("POST", connection.site_url, "api/connection/rotate", token=asked_with, json={"token": offered})
    except SiteUnavailable as error:
        raise SiteUnavailable(
            _("The other site did not answer; the link works as before. Try again later."), offline=error.offline
        ) from None
    issued = answer.fields.get("token") if answer.status in (200, 201) else None
    if not tokens.is_token(issued):
        raise _refused(alias, answer, offer_pk)
    kept = database.run(alias, lambda _: _take_up(alias, connection, asked_with, str(issued), offer_pk))
    connection.peer_token_at_rest = kept.peer_token_at_rest
    with suppress(SiteUnavailable):  # its first use ends the old one over there; any later one does so as well
        call("GET", kept.site_url, "api/status", token=kept.peer_token)


def refuse_crossing(alias: str, found: Connection) -> None:
    """Keep a peer's rotation off a locked row as long as this side's own may be under way: of two that cross, each side
    would drop what the other one takes up. Raises `InvalidTransition`."""
    if issuing.is_offering(alias, found):
        raise InvalidTransition(_CROSSING, status=found.status)


@sensitive_variables()
def _offer(alias: str, connection: Connection) -> tuple[str, str, int]:
    """What to present, what to offer, and the latter's row."""
    with steps.locked(alias, connection.pk) as found:
        if not found.is_reachable:
            raise InvalidTransition(
                _(
                    "This site cannot call the other one. Its tokens are rotated over there, with "
                    "“manage.py syncsessions_deliver --rotate”."
                ),
                status=found.status,
            )
        if found.status != flow.ACTIVE:
            raise InvalidTransition(_("The tokens of an active connection only are rotated."), status=found.status)
        asked_with = found.peer_token
        if asked_with is None:
            raise InvalidTransition(
                _(
                    "This site's token cannot be read: it was encrypted under another SECRET_KEY. Put that one into "
                    "SECRET_KEY_FALLBACKS."
                ),
                status=found.status,
            )
        offered = tokens.draw()
        connection.site_url = found.site_url
        issuing.drop_lost_offers(alias, found.pk)
        return asked_with, offered, issuing.keep(alias, found, offered, offered=True).pk


@sensitive_variables()
def _take_up(alias: str, connection: Connection, asked_with: str, issued: str, offer_pk: int) -> Connection:
    with steps.locked(alias, connection.pk) as found:
        # Another one may have come in between: of two answers the first counts, as the second one's token is younger
        # and, never being used, ends none.
        if found.peer_token == asked_with:
            found.peer_token = issued
            found.save(using=alias, update_fields=["peer_token_at_rest"])
        ConnectionToken.objects.using(alias).filter(pk=offer_pk).update(offered=False)
        announce.rung(alias)
    return found


def _refused(alias: str, answer: Answer, offer_pk: int) -> Exception:
    if is_refusal(answer.status):  # the offer was not taken
        database.run(alias, lambda _: ConnectionToken.objects.using(alias).filter(pk=offer_pk).delete())
    return error_of(answer.status, answer.fields, _SENTENCES)
