"""`manage.py demo`: everything from an empty directory to a page that one can open."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from project.demo import catalogue, samples, sites


class Command(BaseCommand):
    help = "Prepares the demo's database with a superuser and sample data, then serves the demo on daphne."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, help="the port to listen on (default: 8000)")
        parser.add_argument(
            "--password", help="the password of the user admin (default: a random one at the first start, then that)"
        )
        parser.add_argument(
            "--sites",
            type=int,
            choices=[1, 2],
            default=1,
            help="2: two sites that are linked, on two ports, each with a database of its own",
        )
        parser.add_argument("--site", choices=["1", "2"], help="start this one of two sites alone, on its own port")

    def handle(
        self,
        *,
        host: str,
        port: int | None,
        password: str | None,
        sites: int,
        site: str | None,
        verbosity: int,
        **options: Any,
    ) -> None:
        if site and site != settings.SITE:
            become_site(site)
            return
        port = port or (8000 if site is None else 7999 + int(site))
        if sites == 2:
            self.serve_both(host, port, password)
            return
        password = password or os.environ.pop("DEMO_PASSWORD", None)
        check_free(host, port)
        call_command("migrate", interactive=False, verbosity=max(verbosity - 1, 0))
        password = make_admin(password)
        catalogue.fill()
        samples.make_users()
        sessions = samples.make_stashes()
        if verbosity:
            self.announce(address(host, port), password, sessions)
        serve(host, port, quiet=not verbosity)

    def serve_both(self, host: str, port: int, password: str | None) -> None:
        for offset in range(2):
            check_free(host, port + offset)
        two = [sites.Site(number, host, port + number - 1) for number in (1, 2)]
        if password is None and not all(each.is_prepared for each in two):
            password = secrets.token_urlsafe(9)
        sites.run(two, password, self.announce_both)

    def announce_both(self, two: list[sites.Site], password: str | None) -> None:
        second = two[1]
        lines = [
            "",
            self.style.SUCCESS("  Two sites are ready. Site 1 has asked site 2 for a lasting connection."),
            "",
            *(f"    Site {each.number}    {each.url}admin/syncsessions/connection/" for each in two),
            "    User      admin",
            f"    Password  {password or 'as printed at the first start; --password sets another'}",
            "",
            "  1. Open the connections of both sites, side by side. On site 1 the link waits for site 2.",
            "  2. Approve it on site 2, suspend it, reactivate it: site 1 follows.",
            f"  3. Stop site 2: kill -9 {second.pid}. Reload site 1: the other one is offline.",
            "     Change the link on site 1 meanwhile, then start site 2 again: it is told.",
            f"         {second.command_line}",
            "  4. Delete the link on site 2. On site 1 it is revoked, and the remote side knows of none.",
            "",
            "  Stop both with Ctrl-C.",
            "",
        ]
        self.stdout.write("\n".join(lines))

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


def become_site(number: str) -> None:
    """Start this command anew with the settings of that site."""
    os.environ["DEMO_SITE"] = number
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - no shell is wanted


def address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


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
    return shlex.join([sites.python(), *sys.argv])


def serve(host: str, port: int, *, quiet: bool = False) -> None:
    """Become daphne: the process and its id stay the same."""
    sys.stdout.flush()
    sys.stderr.flush()
    paths = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    os.environ["DEMO_COMMAND"] = command_line()
    os.environ.setdefault("DEMO_SITE_URL", f"{address(host, port)}sync")
    # Where it listens on all addresses, nobody can say by which of them a phone comes.
    os.environ["DEMO_HOST"] = "*" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    os.execv(  # noqa: S606 - no shell is wanted
        sys.executable,
        [
            *(sys.executable, "-m", "daphne", "-b", host, "-p", str(port)),
            *(["-v", "0"] if quiet else []),
            "project.asgi:application",
        ],
    )
