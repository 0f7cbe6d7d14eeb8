"""`manage.py syncsessions_prune`: remove stash slices that nobody has seen for long."""

from __future__ import annotations

import select
import signal
import socket
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, close_old_connections
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions import conf
from syncsessions.exceptions import StoreUnavailable
from syncsessions.stash.prune import BATCH, Pruned, prune

LARGEST_BATCH = 10_000
EVERY = 3600.0  # seconds
DAY, HOUR, MINUTE = 86_400, 3600, 60


def batch_size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST_BATCH:
        raise ArgumentTypeError(f"give a whole number from 1 to {LARGEST_BATCH}")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 365 * DAY:  # refuses nan as well
        raise ArgumentTypeError("give a positive number of seconds, a year at most")
    return value


class Command(BaseCommand):
    help = (
        "Removes stash slices that nobody has seen for SYNCSESSIONS['STASH_TTL'] seconds, and superseded versions "
        "that nobody has seen for a week. Run it now and then, or once with --forever."
    )
    requires_system_checks = [Tags.compatibility]  # our settings; the models' ask the database

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only tell how many slices would be removed.")
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
        def once(stop: Callable[[], bool] = lambda: False) -> None:
            line = sentence(prune(dry_run=dry_run, batch=batch_size, stop=stop), dry_run)
            if verbosity:
                self.stdout.write(line)
                self.stdout.flush()

        if forever:
            self._repeat(once, every)
            return
        try:
            once()
        except StoreUnavailable as error:
            raise CommandError(str(error)) from error

    def _repeat(self, once: Callable[[Callable[[], bool]], None], every: float) -> None:
        with Ending() as ending:
            while not ending.came_within(0):
                close_old_connections()
                try:
                    once(lambda: ending.came_within(0))
                except (StoreUnavailable, Error) as error:
                    self.stderr.write(_("Not pruned, will try again: %(error)s") % {"error": error})
                    self.stderr.flush()
                close_old_connections()
                ending.came_within(every)


class Ending:
    """SIGTERM and SIGINT as something to wait for.

    Python writes each signal's number to a socket at once. A handler that sets an event would not do: it may interrupt
    the event's own lock, and a signal that comes just before the wait would be slept through.
    """

    SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._heard, told = (stack.enter_context(end) for end in socket.socketpair())
            told.setblocking(False)
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(told.fileno()))
            for number in self.SIGNALS:
                stack.callback(signal.signal, number, signal.signal(number, lambda *_received: None))
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._undo.close()

    def came_within(self, seconds: float) -> bool:
        """Whether one has come; waits for it for so long."""
        ends = time.monotonic() + seconds
        while not self._came:
            ready, _w, _x = select.select([self._heard], [], [], max(0.0, ends - time.monotonic()))
            if not ready:
                break
            self._came = not self.SIGNALS.isdisjoint(self._heard.recv(4096))
        return self._came


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


def duration(length: float) -> str:
    """Seconds as people say them, in the largest unit that needs no fraction."""
    if length % DAY == 0:
        text, count = ngettext("%(count)d day", "%(count)d days", int(length // DAY)), length / DAY
    elif length % HOUR == 0:
        text, count = ngettext("%(count)d hour", "%(count)d hours", int(length // HOUR)), length / HOUR
    elif length % MINUTE == 0:
        text, count = ngettext("%(count)d minute", "%(count)d minutes", int(length // MINUTE)), length / MINUTE
    else:
        text, count = ngettext("%(count)s second", "%(count)s seconds", 1 if length == 1 else 2), length
    return text % {"count": f"{count:g}" if "%(count)s" in text else int(count)}
