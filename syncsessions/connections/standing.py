"""How it stands with a link at the other site, asked from here where that one cannot call."""

from __future__ import annotations

from contextlib import suppress

from django.db.models import QuerySet

from syncsessions.connections import flow, peer, steps
from syncsessions.connections.calls import Answer
from syncsessions.connections.models import Connection
from syncsessions.connections.status import NOT_FOUND, read_answer
from syncsessions.exceptions import InvalidTransition, NotFound


def silent(alias: str) -> QuerySet[Connection]:
    """The links that have to be asked how they stand, as the other side cannot call here."""
    rows = Connection.objects.using(alias).filter(direction=Connection.Direction.RECEIVER, has_callback=False)
    return rows.exclude(status__in=flow.FINAL).exclude(peer_token_at_rest="").order_by("pk")


def apply(asked: Connection, asked_with: str, answer: Answer) -> None:
    """Apply what the other site has answered, under the rules for what a peer says, to the row that is as it was when
    it was `asked` about: what was heard or done meanwhile is newer.

    A site that does not know the link severs it; one that does not answer usefully changes nothing.
    """
    status = read_answer(answer)
    with suppress(NotFound), steps.locked(steps.alias_of(asked), asked.pk) as found:
        if _state(found) != _state(asked):
            return
        if status == NOT_FOUND:
            steps.sever(found, asked_with)
        # What has expired was active before, though nobody may have looked then.
        for each in (flow.ACTIVE, flow.EXPIRED) if status == flow.EXPIRED else (status,):
            if each in flow.STATUSES:
                with suppress(InvalidTransition):  # it stands so already, or is not the peer's to set
                    peer.said(found, each)


def _state(row: Connection) -> tuple[object, ...]:
    return row.status, row.set_by_peer, row.heard_seq
