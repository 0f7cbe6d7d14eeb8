"""How it stands with a link at the other site, asked from here where that one cannot call."""

from __future__ import annotations

from contextlib import suppress

from django.db.models import QuerySet

from syncsessions.connections import flow, peer, steps
from syncsessions.connections.calls import Answer, call
from syncsessions.connections.models import Connection
from syncsessions.connections.status import NOT_FOUND, read_answer
from syncsessions.database import InThreadOfItsOwn
from syncsessions.exceptions import InvalidTransition, NotFound, SiteUnavailable


def look(connection: Connection) -> None:
    """Ask the other site how it stands with a link and apply what it says, under the rules for what a peer says.

    A site that does not know the link severs it; one that does not answer, or not usefully, changes nothing.
    """
    token = connection.peer_token
    if token is None:
        return
    with suppress(SiteUnavailable):
        apply(connection, token, call("GET", connection.site_url, "api/status", token=token))


def apply(connection: Connection, asked_with: str, answer: Answer) -> None:
    """What `look` does with an answer."""
    status = read_answer(answer)
    if status == NOT_FOUND:
        steps.sever(connection, asked_with)
    # What has expired was active before, though nobody may have looked then.
    for each in (flow.ACTIVE, flow.EXPIRED) if status == flow.EXPIRED else (status,):
        if each in flow.STATUSES:
            with suppress(InvalidTransition, NotFound):  # it stands so already, or is not the peer's to set
                peer.said(connection, each)


def silent(alias: str) -> QuerySet[Connection]:
    """The links that have to be asked how they stand, as the other side cannot call here."""
    rows = Connection.objects.using(alias).filter(direction=Connection.Direction.RECEIVER, has_callback=False)
    return rows.exclude(status__in=flow.FINAL).exclude(peer_token_at_rest="")


alook = InThreadOfItsOwn(look)
