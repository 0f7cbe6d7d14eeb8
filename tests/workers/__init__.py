"""Scripts that tests start as processes of their own, on the databases that the tests use."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from django.db import connections

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60  # seconds
ALIAS = "TEST_STASH_ALIAS"


def environment(alias: str, **more: str) -> dict[str, str]:
    """For a process whose stash is on `alias`: the names that the test runner gave the databases."""
    names = {f"TEST_NAME_{each.alias.upper()}": str(each.settings_dict["NAME"]) for each in connections.all()}
    names["TEST_SQLITE_NAME"] = str(connections["default"].settings_dict["NAME"])
    return {**os.environ, **names, ALIAS: alias, **more}


def start(script: str, alias: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start tests/workers/<script>.py; its output is a pipe of lines."""
    command = [sys.executable, "-W", "error", "-m", f"tests.workers.{script}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment(alias, **environ), stdout=subprocess.PIPE, text=True)


def run(script: str, alias: str, *arguments: str) -> str:
    """Run tests/workers/<script>.py to its end and return what it printed; an error if it failed.

    It runs in the fork of a process that is ready: most of what a script would otherwise do is import Django.
    """
    names = environment(alias)
    ready = _ready(tuple(sorted((name, names[name]) for name in names if name.startswith("TEST_") and name != ALIAS)))
    assert ready.stdin is not None
    assert ready.stdout is not None
    with tempfile.TemporaryDirectory(prefix="syncsessions-work-") as folder, _one_at_a_time:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        work = {"script": script, "alias": alias, "arguments": arguments, "patience": PATIENCE}
        print(json.dumps({**work, "output": str(output), "errors": str(errors)}), file=ready.stdin, flush=True)
        code = ready.stdout.readline().strip()
        assert code == "0", f"{script} ended with {code}:\n{errors.read_text()}"
        return output.read_text()


_one_at_a_time = threading.Lock()


@functools.cache
def _ready(_environment: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    """The process that waits for work on just these databases and servers."""
    command = [sys.executable, "-W", "error", "-m", "tests.workers"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment("default"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(process.communicate)  # at the end of its input it ends
    return process
