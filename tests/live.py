"""A real server for the tests: daphne or uvicorn in a process of its own, on a database file that survives it.

with LiveServer("daphne") as server:
    ...server.url, server.ws_url...
    server.kill()
    server.start()

What a server shares with others and how it is set, `on_redis` and tests.live_settings say.
"""

from __future__ import annotations

import atexit
import functools
import http.cookiejar
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from tests import secrecy

ROOT = Path(__file__).resolve().parent.parent
APPLICATION = "project.asgi:application"
DEADLINE = 30.0  # seconds that a server has to answer, or to end
PASSWORD = "only in tests"
REDIS_LAYER = "channels_redis.core.RedisChannelLayer"
PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"


class LiveServer:
    """Serves the demo project. Every start has the same port, database and environment.

    `env` is put over this process's environment; DJANGO_SETTINGS_MODULE is project.settings where it does not say so.
    `database` is the path of a migrated SQLite file, for servers that share one; each makes one of its own otherwise.
    `options` are put on the server's command line.
    """

    def __init__(
        self,
        server: Literal["daphne", "uvicorn"] = "daphne",
        *,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        database: Path | None = None,
        application: str = APPLICATION,
        options: Sequence[str] = (),
    ) -> None:
        self.server = server
        self.application = application
        self.options = options
        self.port = port or free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="syncsessions-live-"))
        self.database = database or shutil.copy(migrated_database(), self._folder / "live.sqlite3")
        self._env = {**_environment(self.database), **(env or {})}
        self._log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has printed, since its first start."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert self._process is None, "it runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=ROOT, env=self._env, stdout=log, stderr=subprocess.STDOUT
            )
        ends = time.monotonic() + DEADLINE
        while not self._answers():
            assert self._process.poll() is None, f"{self.server} ended at its start:\n{self.log}"
            assert time.monotonic() < ends, f"{self.server} does not answer:\n{self.log}"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, what a deploy sends; SIGKILL where the server then does not end."""
        self._end(signal.SIGTERM)

    def close(self) -> None:
        """End the server and remove its folder. Prints its log, which pytest shows where the test failed."""
        if self._process is not None:
            self.kill()
        secrecy.saw(self.log)
        print(f"--- {self.server} on port {self.port}\n{self.log}")
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_session(self, view: str = "demo.note") -> str:
        """A new browser: the Cookie header that it has after its first save by HTTP."""
        cookies = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        with browser.open(f"{self.url}/syncsessions/stash/?token", timeout=DEADLINE) as response:
            token = json.load(response)["token"]
        frame = json.dumps({"type": "stash.save", "view": view, "vsn": 1, "changes": {"first": True}})
        headers = {"Content-Type": "application/json", "X-CSRFToken": token}
        request = urllib.request.Request(f"{self.url}/syncsessions/stash/", frame.encode(), headers)
        with browser.open(request, timeout=DEADLINE) as response:
            assert json.load(response)["type"] == "stash.saved"
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)

    def log_in(self, username: str = "grace") -> str:
        """A new browser in which this user, made where there is none, has logged in: its Cookie header."""
        self.make_user(username)
        cookies = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        with browser.open(f"{self.url}/admin/login/", timeout=DEADLINE):
            token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
        fields = {"username": username, "password": PASSWORD, "csrfmiddlewaretoken": token or ""}
        body = urllib.parse.urlencode({**fields, "next": "/syncsessions/stash/?token"}).encode()
        with browser.open(f"{self.url}/admin/login/", body, timeout=DEADLINE):
            assert any(cookie.name == "sessionid" for cookie in cookies), "the login was refused"
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in cookies)

    def make_user(self, username: str) -> None:
        """A superuser with the password PASSWORD, where there is none."""
        row = {
            "username": username,
            # Of one round only: the login stores it anew.
            "password": PBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=1),
            "is_superuser": 1,
            "is_staff": 1,
            "is_active": 1,
            "date_joined": "2026-01-01",
            "first_name": "",
            "last_name": "",
            "email": "",
        }
        database = sqlite3.connect(self.database, timeout=DEADLINE)
        try:
            with database:
                names = ", ".join(row)
                marks = ", ".join("?" for _ in row)
                sql = f"INSERT OR IGNORE INTO auth_user ({names}) VALUES ({marks})"
                database.execute(sql, list(row.values()))
        finally:
            database.close()

    def _command(self) -> list[str]:
        if self.server == "daphne":
            options = ["daphne", "-b", "127.0.0.1", "-p", str(self.port)]
        else:
            options = ["uvicorn", "--host", "127.0.0.1", "--port", str(self.port), "--lifespan", "off"]
        return [sys.executable, "-m", *options, *self.options, self.application]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/syncsessions/stash/?token", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _end(self, sign: signal.Signals) -> None:
        process = self._process
        assert process is not None, "it does not run"
        process.send_signal(sign)
        try:
            process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(DEADLINE)
        self._process = None


def on_redis(
    url: str, *, layer: str = REDIS_LAYER, layer_url: str | None = None, loss: float = 0, **syncsessions: Any
) -> dict[str, str]:
    """The environment of workers that share a Redis as store and as channel layer, which may be another Redis.

    The layer drops the share `loss` of what is sent through it. `syncsessions` is put over SYNCSESSIONS.
    """
    store = {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": url}
    return {
        "DJANGO_SETTINGS_MODULE": "tests.live_settings",
        "TEST_LIVE_LAYER": layer,
        "TEST_LIVE_LAYER_URL": layer_url or url,
        "TEST_LIVE_LOSS": str(loss),
        "TEST_LIVE_SYNCSESSIONS": json.dumps({"STORES": {"default": store}, **syncsessions}),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@functools.cache
def migrated_database() -> Path:
    """A migrated SQLite file, made once in a process, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="syncsessions-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = folder / "migrated.sqlite3"
    manage(database, "migrate", "--verbosity", "0")
    return database


def manage(database: Path, *arguments: str, **env: str) -> str:
    """Run a management command of the demo project on this database; what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**_environment(database), **env},
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment(database: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DEMO_DATABASE": str(database),
        "PYTHONUNBUFFERED": "1",
    }
