"""`manage.py syncsessions_verify`: suspend the links that their receivers do not know any more."""

from __future__ import annotations

from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions import database
from syncsessions.connections.models import Connection
from syncsessions.connections.status import can_be_verified, verify_receiver_connections
from syncsessions.exceptions import StoreUnavailable
from syncsessions.management.unreadable import unreadable


class Command(BaseCommand):
    help = (
        "Asks each receiver that this site sends to whether it knows of the link, and suspends those that do not. A "
        "site that does not answer changes nothing."
    )
    requires_system_checks = [Tags.compatibility]

    def handle(self, *args: Any, **options: Any) -> None:
        alias = router.db_for_write(Connection)
        rows = Connection.objects.using(alias)
        try:
            asked = database.run(alias, lambda _: [row for row in rows.all() if can_be_verified(row)])
        except StoreUnavailable as error:
            raise CommandError(unreadable(error)) from None
        names = {row.pk: f"“{row.name}” ({row.site_url})" for row in asked}
        severed = 0
        for pk in verify_receiver_connections(asked):
            severed += 1
            self.stdout.write(_("%(link)s is suspended: that site knows of no such connection.") % {"link": names[pk]})
            self.stdout.flush()
        text = ngettext("Asked about %(count)d connection", "Asked about %(count)d connections", len(asked))
        found = ngettext("%(count)d was suspended", "%(count)d were suspended", severed)
        self.stdout.write(f"{text % {'count': len(asked)}}; {found % {'count': severed}}.")
