"""`manage.py syncsessions_status`: whether all that syncsessions rests on answers, and how much is in it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from syncsessions.management.arguments import seconds
from syncsessions.management.ending import Ending
from syncsessions.management.status_text import block
from syncsessions.status import Status, look

EVERY = 2.0  # seconds
CLEAR = "\x1b[H\x1b[2J"


class Command(BaseCommand):
    help = (
        "Tells whether stores, channel layer and database answer, how much is in them, how the connections to other "
        "sites stand, and what is wrong. "
        "Ends with 1 when something does not answer."
    )
    requires_system_checks = []  # what they find is told below, and must not keep the rest from being told

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="One JSON object instead of text.")
        parser.add_argument(
            "--remote", action="store_true", help="Ask the other sites, too, how they see the connections."
        )
        parser.add_argument(
            "--watch", action="store_true", help="Look again and again, until told to end by SIGTERM or Ctrl-C."
        )
        parser.add_argument(
            "--every",
            type=seconds,
            default=EVERY,
            metavar="SECONDS",
            help="With --watch: seconds between two looks (default: %(default)g).",
        )

    def handle(self, *args: Any, as_json: bool, remote: bool, watch: bool, every: float, **options: Any) -> None:
        if not watch:
            status = look(remote=remote)
            self.stdout.write(_json(status, indent=2) if as_json else block(status, self.style))
            if not status.ok:
                raise SystemExit(1)
            return
        with Ending() as ending:
            while not ending.came_within(0):
                try:
                    self._show(look(remote=remote), as_json)
                except BrokenPipeError:  # whoever read has seen enough
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                    return
                ending.came_within(every)

    def _show(self, status: Status, as_json: bool) -> None:
        if as_json:
            text = _json(status)
        elif self.stdout.isatty():
            text = CLEAR + block(status, self.style)
        else:
            text = block(status, self.style) + "\n"
        self.stdout.write(text)
        self.stdout.flush()


def _json(status: Status, indent: int | None = None) -> str:
    return json.dumps(status.as_dict(), indent=indent, default=str)
