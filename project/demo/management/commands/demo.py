"""`manage.py demo`: everything from an empty directory to a page that one can open."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from project.demo import catalogue, samples


class Command(BaseCommand):
    help = "Prepares the demo's database with a superuser and sample data, then serves the demo on daphne."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="the port to listen on (default: 8000)")
        parser.add_argument(
            "--password", help="the password of the user admin (default: a random one at the first start, then that)"
        )

    def handle(self, *, host: str, port: int, password: str | None, verbosity: int, **options: Any) -> None:
        check_free(host, port)
        call_command("migrate", interactive=False, verbosity=max(verbosity - 1, 0))
        password = make_admin(password)
        catalogue.fill()
        samples.make_users()
        sessions = samples.make_stashes()
        self.announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/", password, sessions)
        serve(host, port)

    def announce(self, url: str, password: str | None, sessions: int) -> None:
        lines = [
            "",
            self.style.SUCCESS(f"  The demo is ready, with {sessions} sample sessions."),
            "",
            f"    Open      {url}",
            f"    Admin     {url}admin/",
            "    User      admin",
            f"    Password  {password or 'as printed at the first start; --password sets another'}",
            "",
            f"  Stop it with Ctrl-C, or try what survives: kill -9 {os.getpid()}, then",
            f"  start it again: {command_line()}",
            "",
        ]
        self.stdout.write("\n".join(lines))


def check_free(host: str, port: int) -> None:
    """Raise `CommandError` where the address cannot be listened on, before anything is prepared."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        raise CommandError(
            f"Cannot listen on {host} port {port}: {error.strerror if isinstance(error, OSError) else error}. "
            "Choose another port with --port."
        ) from error


def make_admin(password: str | None) -> str | None:
    """The password of the user admin; None where it stays what it was, so that nobody is logged out by a restart."""
    users = get_user_model()._default_manager
    user, made = users.get_or_create(username="admin", defaults={"email": "admin@example.org"})
    password = password or (secrets.token_urlsafe(9) if made else None)
    user.is_staff = user.is_superuser = user.is_active = True
    if password and not user.check_password(password):
        user.set_password(password)
    user.save()
    return password


def command_line() -> str:
    """What was typed to start the demo, as it can be typed again."""
    python = Path(sys.executable)
    here = Path.cwd()
    shown = python.relative_to(here) if python.is_relative_to(here) else python
    return shlex.join([str(shown), *sys.argv])


def serve(host: str, port: int) -> None:
    """Become daphne: the process and its id stay the same."""
    sys.stdout.flush()
    sys.stderr.flush()
    paths = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    os.environ["DEMO_COMMAND"] = command_line()
    # Where it listens on all addresses, nobody can say by which of them a phone comes.
    os.environ["DEMO_HOST"] = "*" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    os.execv(  # noqa: S606 - no shell is wanted
        sys.executable,
        [sys.executable, "-m", "daphne", "-b", host, "-p", str(port), "project.asgi:application"],
    )
