"""Two real sites for the tests: two servers on two ports, each with a database, a key and an address of its own.

with LinkedSite("a") as a, LinkedSite("b") as b:
    a.do("connect", url=b.address)
    b.row["status"]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.live import DEADLINE, ROOT, LiveServer, free_port
from tests.tapped import Tap

PATIENCE = 40.0  # seconds that a test waits for what has to come
SOON = 20.0  # seconds within which a change arrives once its peer is back


class Refused(Exception):
    """What a site would not do; `code` is the error's."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = error["code"]


class LinkedSite(LiveServer):
    """`known` off: a site that knows no address of its own, and that nobody can call. `tap` is what others reach it
    through."""

    def __init__(self, name: str, *, known: bool = True, tap: Tap | None = None, **syncsessions: Any) -> None:
        port = free_port()
        self.tap = tap
        if tap is not None:
            tap.leads_to = port
        self.address = f"http://127.0.0.1:{tap.port if tap else port}/sync"
        given = {"ALLOW_PRIVATE_SITE_URLS": True, "INCOMING_MODE": "require_approval", **syncsessions}
        if known:
            given["SITE_URL"] = self.address
        env = {
            "DJANGO_SETTINGS_MODULE": "tests.two_sites_settings",
            "DEMO_SECRET_KEY": f"of the tests' site {name}",
            "TEST_LIVE_SYNCSESSIONS": json.dumps(given),
        }
        super().__init__("daphne", env=env, port=port)

    def do(self, what: str, **fields: Any) -> Any:
        """Have the server do this. Raises `Refused`."""
        request = urllib.request.Request(f"{self.url}/two-sites/do/{what}/", json.dumps(fields).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE * 2) as response:
                return json.load(response)["did"]
        except urllib.error.HTTPError as error:
            if error.code == 400:
                raise Refused(json.load(error)) from None
            raise AssertionError(f"{what} ended with {error.code}:\n{self.log[-4000:]}") from None

    def step(self, what: str, **fields: Any) -> Any:
        """The same for the one connection that there is here."""
        return self.do(what, id=self.row["id"], **fields)

    @property
    def told(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/two-sites/tell/", timeout=PATIENCE) as response:
            found: dict[str, Any] = json.load(response)
        return found

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.told["rows"]
        return dict(row)

    def wait_for(self, true: Callable[[dict[str, Any]], bool], within: float = PATIENCE) -> dict[str, Any]:
        """Wait until this holds for the one connection here; the row."""
        deadline = time.monotonic() + within
        while not true(row := self.row):
            assert time.monotonic() < deadline, f"it stays {row}\n{self.log[-4000:]}"
            time.sleep(0.05)
        return row

    def wait_for_status(self, status: str, within: float = PATIENCE) -> dict[str, Any]:
        return self.wait_for(lambda row: row["status"] == status, within)

    def manage(self, *arguments: str, given: str | None = None) -> str:
        """Run a command on this site's database; what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "manage.py", *arguments],
            cwd=ROOT,
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            timeout=DEADLINE * 2,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that runs on; end it with `ended`."""
        command = [sys.executable, "-W", "error", "manage.py", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def ended(command: subprocess.Popen[str]) -> str:
    """What it printed until it was told to end; it has to do so at once."""
    command.terminate()
    output, _ = command.communicate(timeout=DEADLINE)
    assert command.returncode == 0, output
    return output
