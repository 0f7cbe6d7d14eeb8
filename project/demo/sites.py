"""Two sites of the demo in processes of their own: started, linked, and ended together."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

READY_WITHIN = 60.0  # seconds
ENDS_WITHIN = 5.0


class Site:
    """One of them. What it is asked to do, it does by `manage.py` with its own settings."""

    def __init__(self, number: int, host: str, port: int) -> None:
        self.number, self.host, self.port = number, host, port
        self.pid = 0

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    @property
    def database(self) -> Path:
        named = os.environ.get("DEMO_DATABASE")
        plain = Path(named) if named else settings.BASE_DIR / "demo.sqlite3"
        return plain if self.number == 1 else plain.with_stem(f"{plain.stem}-{self.number}")

    @property
    def is_prepared(self) -> bool:
        """Whether it was started before; to look for a table makes an empty file."""
        return self.database.exists() and self.database.stat().st_size > 0

    @property
    def command_line(self) -> str:
        """What starts this site alone."""
        return shlex.join([python(), *self._arguments])

    @property
    def _arguments(self) -> list[str]:
        return ["manage.py", "demo", "--site", str(self.number), "--host", self.host, "--port", str(self.port)]

    def start(self, password: str | None) -> subprocess.Popen[bytes]:
        """Its web server, which answers when this returns."""
        server = self._manage(*self._arguments[1:], "-v", "0", DEMO_PASSWORD=password or "")
        self.pid = server.pid
        ends = time.monotonic() + READY_WITHIN
        while not self._answers():
            if server.poll() is not None or time.monotonic() > ends:
                raise CommandError(f"Site {self.number} does not start.")
            time.sleep(0.1)
        return server

    def deliver(self) -> subprocess.Popen[bytes]:
        """What tells the other site, for as long as both run."""
        return self._manage("syncsessions_deliver", "--forever", "-v", "0")

    def connect(self, other: Site) -> None:
        """Ask the other one for a link, unless there is one."""
        self._manage("syncsessions_connect", f"{other.url}sync", "--name", "Print shops", silent=True).wait()

    def _manage(self, *arguments: str, silent: bool = False, **more: str) -> subprocess.Popen[bytes]:
        env = {
            **os.environ,
            "DEMO_SITE": str(self.number),
            "DEMO_SITE_URL": f"{self.url}sync",
            "DEMO_DATABASE": str(self.database),
            **more,
        }
        out = subprocess.DEVNULL if silent else None
        # A group of its own: Ctrl-C reaches this process alone, which then ends them in order.
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "manage.py", *arguments],
            cwd=settings.BASE_DIR,
            env=env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.host, self.port), timeout=1):
            return True
        return False


def python() -> str:
    """What to type for this Python."""
    here, found = Path.cwd(), Path(sys.executable)
    return str(found.relative_to(here) if found.is_relative_to(here) else found)


def run(sites: list[Site], password: str | None, announce: Callable[[list[Site], str | None], None]) -> None:
    """Serve both until SIGINT or SIGTERM. One that is stopped meanwhile may be started by hand again."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ExitStack() as running:
        for site in sites:
            running.callback(_end, site.start(password))
        for site in sites:
            running.callback(_end, site.deliver())
        sites[0].connect(sites[1])
        announce(sites, password)
        with suppress(KeyboardInterrupt):
            signal.pause()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
