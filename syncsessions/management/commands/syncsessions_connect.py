"""`manage.py syncsessions_connect`: link this site with another one, by asking it or with its invitation's code."""

from __future__ import annotations

from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from syncsessions.connections import asking, flow
from syncsessions.connections.models import Connection
from syncsessions.exceptions import SyncSessionsError
from syncsessions.management.secret import ASK, told


class Command(BaseCommand):
    help = (
        "Links this site with another one that runs this app. Without a code this site asks, and will send to the "
        "other one; with the code of an invitation it will receive from there."
    )
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "url", metavar="URL", help="Where the other site has mounted the app, like https://b.example/sync."
        )
        parser.add_argument("--name", default="", help="What to call the link (default: the other site's host).")
        parser.add_argument(
            "--password",
            nargs="?",
            const=ASK,
            help="The password that the other site asks for. Without a value it is asked for here, or read from what "
            "is piped in, and does not stand in the list of processes.",
        )
        parser.add_argument(
            "--code",
            nargs="?",
            const=ASK,
            help="The code of an invitation of the other site, like A7X9-K2M4; without a value as --password.",
        )
        parser.add_argument(
            "--no-callback",
            action="store_true",
            help="With a code: a link by which the other site need not reach this one, though it might.",
        )

    @sensitive_variables()
    def handle(
        self, *args: Any, url: str, name: str, password: str | None, code: str | None, no_callback: bool, **options: Any
    ) -> None:
        if code is None and no_callback:
            raise CommandError(_("--no-callback goes with --code: who asks has to be reached."))
        if code is not None and password is not None:
            raise CommandError(_("Give --code or --password: an invitation needs no password."))
        try:
            if code is None:
                made = asking.connect(url, name=name, password=told(password, _("The other site's password")))
            else:
                known = told(code, _("Code of the invitation")) or ""
                made = asking.redeem(url, known, name=name, callback=not no_callback)
        except SyncSessionsError as error:
            raise CommandError(f"{error} ({error.code})") from None
        self.stdout.write(_sentence(made))


def _sentence(made: Connection) -> str:
    named = {"name": made.name, "site": made.site_url}
    lines = [_("Linked with %(site)s as “%(name)s”.") % named]
    if made.status == flow.PENDING:
        lines.append(_("It is pending until somebody approves it at the other site."))
    elif made.status == flow.ACTIVE:
        lines.append(
            _("It is active: this site will send.")
            if made.direction == Connection.Direction.SENDER
            else _("It is active: this site will receive.")
        )
    else:
        lines.append(_("Its status is “%(status)s”.") % {"status": made.get_status_display()})
    if not made.has_callback:
        lines.append(
            _(
                "The other site cannot call here: to hear of changes, run “manage.py syncsessions_deliver” now and "
                "then, or with --forever."
            )
        )
    elif made.direction == Connection.Direction.SENDER:
        lines.append(_("Keep “manage.py syncsessions_deliver --forever” running, so that each side hears of changes."))
    return "\n".join(lines)
