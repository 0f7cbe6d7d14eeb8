"""`manage.py syncsessions_deliver`: tell other sites what has changed here, and ask those that cannot call."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, close_old_connections, router
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions import database
from syncsessions.connections import flow, rotation, standing
from syncsessions.connections.delivery import Delivered, Delivery, deliver
from syncsessions.connections.models import Connection
from syncsessions.exceptions import StoreUnavailable, SyncSessionsError
from syncsessions.management.arguments import seconds
from syncsessions.management.ending import Ending
from syncsessions.management.unreadable import unreadable

EVERY = 1.0  # seconds
GLANCE = 0.2  # seconds between two looks for a signal to end, while calls are under way


class Command(BaseCommand):
    help = (
        "Tells other sites of the changes to their connections, each once and in order, and asks how it stands with "
        "those whose other side cannot call here. Run it now and then, or once with --forever."
    )
    requires_system_checks = [Tags.compatibility]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--forever",
            action="store_true",
            help="Go on, and try again where a site does not answer, until told to end by SIGTERM or Ctrl-C.",
        )
        parser.add_argument(
            "--every",
            type=seconds,
            default=EVERY,
            metavar="SECONDS",
            help="With --forever: seconds between two looks for new changes (default: %(default)g).",
        )
        parser.add_argument(
            "--rotate",
            action="store_true",
            help="First give new tokens to the active connections over which the other site cannot call here.",
        )

    def handle(self, *args: Any, forever: bool, every: float, rotate: bool, verbosity: int, **options: Any) -> None:
        self.verbosity = verbosity
        if rotate and forever:
            raise CommandError(_("--rotate is done once: run it without --forever."))
        if forever:
            self._repeat(every)
            return
        try:
            if rotate:
                self._rotate()
            self._say(sentence(deliver()))
        except StoreUnavailable as error:
            raise CommandError(unreadable(error)) from None

    def _rotate(self) -> None:
        alias = router.db_for_write(Connection)
        failed = []
        for row in database.run(alias, lambda _: list(standing.silent(alias).filter(status=flow.ACTIVE))):
            try:
                rotation.rotate(row)
            except SyncSessionsError as error:
                failed.append(f"“{row.name}”: {error} ({error.code})")
            else:
                self._say(_("“%(name)s” (%(site)s) has new tokens.") % {"name": row.name, "site": row.site_url})
        if failed:
            raise CommandError("\n".join(failed))

    def _repeat(self, every: float) -> None:
        delivery = Delivery(retries=True)
        told = refused = 0
        silent = False
        with Ending() as ending:
            while not ending.came_within(0):
                close_old_connections()
                try:
                    delivery.look()
                    delivery.begin()
                    delivery.settle(GLANCE if delivery.busy else 0)
                except (StoreUnavailable, Error) as error:
                    if not silent:  # once, until it answers again
                        self.stderr.write(unreadable(error))
                    silent = True
                    ending.came_within(every)
                    continue
                silent = False
                if (delivery.done, delivery.refused) != (told, refused):
                    self._say(_progress(delivery.done - told, delivery.refused - refused))
                    told, refused = delivery.done, delivery.refused
                if not delivery.busy:
                    ending.came_within(every)
            with suppress(StoreUnavailable, Error):  # then the leases end by themselves
                delivery.let_go()

    def _say(self, line: str) -> None:
        if self.verbosity:
            self.stdout.write(line)
            self.stdout.flush()


def sentence(delivered: Delivered) -> str:
    """What became of it, for somebody who has never seen this command."""
    parts = [_progress(delivered.done, delivered.refused)]
    if delivered.elsewhere:
        text = ngettext(
            "%(count)d is left to another process, which is delivering it.",
            "%(count)d are left to other processes, which are delivering them.",
            delivered.elsewhere,
        )
        parts.append(text % {"count": delivered.elsewhere})
    if waiting := delivered.waiting - delivered.elsewhere:
        text = ngettext(
            "%(count)d waits for a site that does not answer: run this again, or with --forever.",
            "%(count)d wait for sites that do not answer: run this again, or with --forever.",
            waiting,
        )
        parts.append(text % {"count": waiting})
    return " ".join(parts)


def _progress(done: int, refused: int) -> str:
    text = ngettext("Told of %(count)d change.", "Told of %(count)d changes.", done) % {"count": done}
    if refused:
        text += " " + ngettext(
            "%(count)d was refused by the other site: the connection in the admin says why.",
            "%(count)d were refused by the other sites: the connections in the admin say why.",
            refused,
        ) % {"count": refused}
    return text
