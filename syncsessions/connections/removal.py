"""A row that is deleted, in whatever way, is told to its peer."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import pre_delete

from syncsessions.connections import announce, notices, steps
from syncsessions.connections.models import Connection, ConnectionNotice
from syncsessions.exceptions import NotFound


def watch() -> None:
    pre_delete.connect(_on_delete, sender=Connection, dispatch_uid="syncsessions.connections.removal")


def _on_delete(sender: Any, instance: Connection, using: str, **kwargs: Any) -> None:
    """In the transaction that deletes."""
    try:
        with steps.locked(using, instance.pk) as found:
            announce.rung(using)
            if notices.put(found):
                # The token may have been rotated since a notice was written, which from now on has but its own.
                waiting = ConnectionNotice.objects.using(using).filter(connection_pk=found.pk)
                waiting.update(token_at_rest=found.peer_token_at_rest, site_url=found.site_url)
    except NotFound:  # deleted meanwhile, and told
        return
