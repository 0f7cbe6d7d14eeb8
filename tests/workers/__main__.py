"""Runs scripts in forks, so that the start-up is paid once: reads lines of JSON, answers each with an exit code."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback

import django
from django.db import connections


def do(script: str, alias: str, arguments: list[str], output: str, errors: str, patience: int) -> int:
    """What `python -m tests.workers.<script>` would do, printing into these files; its exit code."""
    from tests.routers import StashRouter

    signal.alarm(patience)
    for number, path in enumerate((os.devnull, output, errors)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    StashRouter.alias = alias
    try:
        return importlib.import_module(f"tests.workers.{script}").main(*arguments) or 0
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def load() -> None:
    """Import what a fork would import at its first use of a database or of Redis."""
    connections.all()
    for name in ("redis.asyncio", "syncsessions.stores.redis.loops", "syncsessions.stores.database"):
        importlib.import_module(name)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(do(**json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    django.setup()
    load()
    main()
