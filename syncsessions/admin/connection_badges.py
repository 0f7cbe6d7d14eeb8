"""The badges of a connection: its status here, and what the other site says of it."""

from __future__ import annotations

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncsessions.admin.live_page import connection_texts, connection_words
from syncsessions.connections import steps
from syncsessions.connections.models import Connection
from syncsessions.connections.status import can_be_asked


def local(connection: Connection) -> SafeString:
    status = "over" if steps.is_over(connection, timezone.now()) else connection.status
    return _badge(connection, "status", status, connection_texts()["by_peer"] if connection.set_by_peer else "")


def remote(connection: Connection) -> SafeString:
    """A page's script replaces it as soon as the other site has answered."""
    return _badge(connection, "remote", "checking" if can_be_asked(connection) else "unreachable")


def plain(status: str) -> SafeString:
    """Of a status that was."""
    return format_html(
        '<span class="syncsessions-badge" data-status="{}">{}</span>', status, Connection.Status(status).label
    )


def labelled(label: str, badge: SafeString) -> SafeString:
    """With a label for where no head of a column is seen."""
    return format_html('<span class="syncsessions-labelled" data-label="{}">{}</span>', label, badge)


def _badge(connection: Connection, shows: str, status: str, addition: str = "") -> SafeString:
    word, meaning = connection_words()[shows][status]
    return format_html(
        '<span class="syncsessions-badge" data-connection="{}" data-shows="{}" data-status="{}" title="{}">{}</span>',
        connection.pk,
        shows,
        status,
        f"{meaning} {addition}".strip(),
        word,
    )
