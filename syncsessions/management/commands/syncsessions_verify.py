"""`manage.py syncsessions_verify`: suspend the links that their receivers do not know any more."""

from __future__ import annotations

from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand
from django.db import router
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions.connections.models import Connection
from syncsessions.connections.status import can_be_verified, verify_receiver_connections


class Command(BaseCommand):
    help = (
        "Asks each receiver that this site sends to whether it knows of the link, and suspends those that do not. A "
        "site that does not answer changes nothing."
    )
    requires_system_checks = [Tags.compatibility]

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Connection.objects.using(router.db_for_write(Connection))
        asked = [row for row in rows.all() if can_be_verified(row)]
        names = {row.pk: f"“{row.name}” ({row.site_url})" for row in asked}
        severed = 0
        for pk in verify_receiver_connections(asked):
            severed += 1
            self.stdout.write(_("%(link)s is suspended: that site knows of no such connection.") % {"link": names[pk]})
            self.stdout.flush()
        text = ngettext("Asked about %(count)d connection", "Asked about %(count)d connections", len(asked))
        found = ngettext("%(count)d was suspended", "%(count)d were suspended", severed)
        self.stdout.write(f"{text % {'count': len(asked)}}; {found % {'count': severed}}.")
