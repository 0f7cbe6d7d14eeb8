"""What a connection's own page says beside its form: how it stands and since when, what is used, what waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from syncsessions.admin import connection_badges as badges
from syncsessions.admin.connection_actions import ASK_FIRST, BUTTONS, refusal
from syncsessions.admin.owners import user_names
from syncsessions.connections import delivery, flow, peer, steps
from syncsessions.connections.models import Connection, ConnectionChange, ConnectionNotice
from syncsessions.connections.status import can_be_asked

CHANGES_SHOWN = 50
OWN_WORDS = {
    steps.SEVERED: gettext_lazy("Remote site reports connection not found"),
    peer.REMOVED: gettext_lazy("The other site removed this connection"),
    delivery.NO_ANSWER: gettext_lazy("no answer"),
    delivery.UNREADABLE: gettext_lazy("this site's token cannot be read: SECRET_KEY was changed"),
}
"""What a program gave as the reason or the error, by what the row keeps of it."""


class Limit(NamedTuple):
    """`most` is None where there is none."""

    label: str
    used: int
    most: int | None
    text: str

    @property
    def shown(self) -> int:
        return min(self.used, self.most or 0)


def page_of(connection: Connection, rights: Iterable[str]) -> dict[str, Any]:
    """`rights` are the actions that the reader may take."""
    changes = list(ConnectionChange.objects.filter(connection=connection).order_by("-at", "-pk")[: CHANGES_SHOWN + 1])
    names = user_names(str(change.by_id) for change in changes if change.by_id is not None)
    actions = [(name, refusal(connection, name)) for name in rights]
    return {
        "connection": connection,
        "local": badges.local(connection),
        "remote": badges.remote(connection),
        "direction": _direction(connection),
        "asked": _("This site asked for it.") if connection.asked_here else _("The other site asked for it."),
        "last": _history(changes[:1], names),
        "reach": _reach(connection),
        "limits": _limits(connection),
        "waiting": _waiting(connection),
        "buttons": [(name, BUTTONS[name], name in ASK_FIRST) for name, why in actions if why is None],
        "why_not": _unanswered(connection) or [why for name, why in actions if why and _concerns(connection, name)],
        "changes": _history(changes[:CHANGES_SHOWN], names),
        "older": len(changes) > CHANGES_SHOWN,
    }


def _direction(connection: Connection) -> str:
    if connection.direction == Connection.Direction.SENDER:
        return _("This site sends, the other one receives.")
    return _("The other site sends, this one receives.")


def _reach(connection: Connection) -> str:
    if not can_be_asked(connection):
        return _("Not reachable: the other site cannot be called. It asks by itself for what is new.")
    if not connection.site_url:
        return _("Not reachable: it has no address.")
    if not connection.peer_token_at_rest:
        return _("Not reachable yet: the other site has given no token.")
    if not connection.has_callback:
        return _("Reachable from here. The other site cannot call this one: “manage.py syncsessions_deliver” asks it.")
    return _("Reachable.")


def _limits(connection: Connection) -> list[Limit]:
    used, most = connection.downloads_used, connection.max_downloads
    if most is None:
        downloads = ngettext("%(used)s download, no limit", "%(used)s downloads, no limit", used)
    else:
        downloads = ngettext("%(used)s of %(most)s download", "%(used)s of %(most)s downloads", most)
    read, most_read = connection.records_downloaded, connection.max_records_total
    if most_read is None:
        records = ngettext("%(used)s record, no limit", "%(used)s records, no limit", read)
    else:
        records = ngettext("%(used)s of %(most)s record", "%(used)s of %(most)s records", most_read)
    return [
        Limit(_("Downloads"), used, most, downloads % _grouped(used, most)),
        Limit(_("Records"), read, most_read, records % _grouped(read, most_read)),
    ]


def _grouped(used: int, most: int | None) -> dict[str, str]:
    return {name: number_format(number or 0, force_grouping=True) for name, number in (("used", used), ("most", most))}


def _waiting(connection: Connection) -> dict[str, Any] | None:
    notices = list(ConnectionNotice.objects.filter(connection_pk=connection.pk).order_by("seq")[:CHANGES_SHOWN])
    if not notices:
        return None
    text = ngettext("%(count)d change waits to be delivered", "%(count)d changes wait to be delivered", len(notices))
    error = next((notice.last_error for notice in notices if notice.last_error), "")
    return {"text": text % {"count": len(notices)}, "tries": notices[0].attempts, "error": OWN_WORDS.get(error, error)}


def _history(changes: Iterable[ConnectionChange], names: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "at": change.at,
            "previous": badges.plain(change.previous) if change.previous else "",
            "status": badges.plain(change.status),
            "who": _who(change, names),
            "reason": OWN_WORDS.get(change.reason, change.reason),
        }
        for change in changes
    ]


def _who(change: ConnectionChange, names: dict[str, str]) -> str:
    if change.by_peer:
        return _("by the other site")
    if change.by_id is not None:
        name = names.get(str(change.by_id)) or _("user %(pk)s") % {"pk": change.by_id}
        return _("by %(name)s") % {"name": name}
    return _("by this site")


def _unanswered(connection: Connection) -> list[str]:
    return [_("The other site has not answered yet. Connect again to ask it anew.")] if connection.offered_token else []


def _concerns(connection: Connection, name: str) -> bool:
    """Whether somebody may look for this button now."""
    return (connection.status, name) in ((flow.PENDING, "approve"), (flow.SUSPENDED, "reactivate"))
