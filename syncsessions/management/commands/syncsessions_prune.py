"""`manage.py syncsessions_prune`: remove stash slices that nobody has seen for long, and what has expired."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from django.core.checks import Tags
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, close_old_connections
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions import conf
from syncsessions.connections import pruning
from syncsessions.exceptions import StoreUnavailable
from syncsessions.management.arguments import seconds
from syncsessions.management.durations import duration
from syncsessions.management.ending import Ending
from syncsessions.management.expiry import ROOMS, expire
from syncsessions.stash.prune import BATCH, Pruned, prune
from syncsessions.status.locations import shown_error

LARGEST_BATCH = 10_000
EVERY = 3600.0  # seconds

Stop = Callable[[], bool]


class Work(NamedTuple):
    """A part of what there is to do: `do` ends early where it is told to, `undone` says that it could not be done."""

    do: Callable[[Stop], None]
    undone: str


def batch_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_BATCH:
        raise ArgumentTypeError(f"give a whole number from 1 to {LARGEST_BATCH}")
    return int(text)


class Command(BaseCommand):
    help = (
        "Removes stash slices that nobody has seen for SYNCSESSIONS['STASH_TTL'] seconds, and superseded versions "
        "that nobody has seen for a week; from the stores what is past its deadline; and marks connections as expired, "
        "with what is long done with around them. Run it now and then, or once with --forever."
    )
    requires_system_checks = [Tags.compatibility]  # our settings; the models' ask the database

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Only tell how much would be removed and expired, and leave the stores alone.",
        )
        parser.add_argument(
            "--batch-size",
            type=batch_size,
            default=BATCH,
            metavar="N",
            help="Rows to look at in one step (default: %(default)s).",
        )
        parser.add_argument(
            "--forever", action="store_true", help="Run again and again, until told to end by SIGTERM or Ctrl-C."
        )
        parser.add_argument(
            "--every",
            type=seconds,
            default=EVERY,
            metavar="SECONDS",
            help="With --forever: seconds between two runs (default: %(default)g).",
        )

    def handle(
        self, *args: Any, dry_run: bool, batch_size: int, forever: bool, every: float, verbosity: int, **options: Any
    ) -> None:
        def expire_store(alias: str, stop: Stop) -> None:
            expired = expire(alias, stop)
            if expired is not None:
                say(_expired(expired, alias))

        def prune_stash(stop: Stop) -> None:
            say(sentence(prune(dry_run=dry_run, batch=batch_size, stop=stop), dry_run))

        def prune_connections(stop: Stop) -> None:
            pruned = pruning.prune(dry_run=dry_run)
            if any(pruned):
                say(of_connections(pruned, dry_run))

        def say(line: str) -> None:
            if verbosity:
                self.stdout.write(line)
                self.stdout.flush()

        # A dry run leaves the stores alone: they tell what is past its deadline by removing it.
        works = [
            Work(prune_stash, _("The stash was not pruned")),
            Work(prune_connections, _("The connections were not pruned")),
        ]
        if not dry_run:
            undone = _("The records of %(room)s were not expired")
            works += [Work(partial(expire_store, alias), undone % {"room": alias}) for alias in ROOMS]
        if forever:
            self._repeat(works, every)
        elif errors := [error for work in works if (error := _failure(work))]:
            raise CommandError("\n".join(errors))

    def _repeat(self, works: list[Work], every: float) -> None:
        with Ending() as ending:
            while not ending.came_within(0):
                close_old_connections()
                for work in works:
                    error = _failure(work, lambda: ending.came_within(0))
                    if error:
                        self.stderr.write(error)
                        self.stderr.flush()
                close_old_connections()
                ending.came_within(every)


def _failure(work: Work, stop: Stop = lambda: False) -> str | None:
    """Do it; a sentence on why it could not be done, so that what comes next is done nevertheless."""
    try:
        work.do(stop)
    except (StoreUnavailable, Error, ImproperlyConfigured) as error:
        cause = f" ({shown_error(error)})" if error.__cause__ else ""
        return f"{work.undone}: {error}{cause}"
    return None


def _expired(count: int, room: str) -> str:
    sentence = ngettext(
        "Removed %(count)d expired record of %(room)s.", "Removed %(count)d expired records of %(room)s.", count
    )
    return sentence % {"count": count, "room": room}


def sentence(pruned: Pruned, dry_run: bool) -> str:
    """What was removed, for somebody who has never seen this command."""
    superseded = ngettext("%(count)d superseded version", "%(count)d superseded versions", pruned.superseded) % {
        "count": pruned.superseded
    }
    ttl = conf.current().STASH_TTL
    if ttl is None:
        whole = _("Would remove %(superseded)s.") if dry_run else _("Removed %(superseded)s.")
        kept = _("Other slices are kept for ever (STASH_TTL is None).")
        return f"{whole % {'superseded': superseded}} {kept}"
    unseen = ngettext(
        "%(count)d slice not seen for %(time)s", "%(count)d slices not seen for %(time)s", pruned.unseen
    ) % {"count": pruned.unseen, "time": duration(ttl)}
    whole = _("Would remove %(unseen)s and %(superseded)s.") if dry_run else _("Removed %(unseen)s and %(superseded)s.")
    return whole % {"unseen": unseen, "superseded": superseded}


def of_connections(pruned: pruning.Pruned, dry_run: bool) -> str:
    """The same for connections."""
    expired = ngettext("%(count)d connection", "%(count)d connections", pruned.expired)
    notices = ngettext("%(count)d undelivered notice", "%(count)d undelivered notices", pruned.notices)
    invitations = ngettext("%(count)d old invitation", "%(count)d old invitations", pruned.invitations)
    whole = (
        _("Would mark %(expired)s as expired, and remove %(notices)s and %(invitations)s.")
        if dry_run
        else _("Marked %(expired)s as expired, and removed %(notices)s and %(invitations)s.")
    )
    return whole % {
        "expired": expired % {"count": pruned.expired},
        "notices": notices % {"count": pruned.notices},
        "invitations": invitations % {"count": pruned.invitations},
    }
