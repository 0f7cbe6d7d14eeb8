"""Scripts that tests start as processes of their own, on the databases that the tests use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.db import connections

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60  # seconds


def environment(alias: str, **more: str) -> dict[str, str]:
    """For a process whose stash is on `alias`: the names that the test runner gave the databases."""
    names = {f"TEST_NAME_{each.alias.upper()}": str(each.settings_dict["NAME"]) for each in connections.all()}
    names["TEST_SQLITE_NAME"] = str(connections["default"].settings_dict["NAME"])
    return {**os.environ, **names, "TEST_STASH_ALIAS": alias, **more}


def start(script: str, alias: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start tests/workers/<script>.py; its output is a pipe of lines."""
    command = [sys.executable, "-W", "error", "-m", f"tests.workers.{script}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment(alias, **environ), stdout=subprocess.PIPE, text=True)


def run(script: str, alias: str, *arguments: str, **environ: str) -> str:
    """Run tests/workers/<script>.py to its end and return what it printed; an error if it failed."""
    command = [sys.executable, "-W", "error", "-m", f"tests.workers.{script}", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(alias, **environ), capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
