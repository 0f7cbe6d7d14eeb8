"""One benchmark process: everything on one database in one folder. Writes its results to a file, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection
from django.test.utils import override_settings

from tests.servers import redis_url

Layers = dict[str, dict[str, Any]]
SERVER_GIVEN = "TEST_POSTGRES_URL" in os.environ  # asked before the settings start one


def main(rounds: int, pairs: int, file: str) -> None:
    django.setup()
    name = settings.DATABASES["default"]["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        results = _measure(rounds, pairs)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    Path(file).write_text(json.dumps(results))


def _measure(rounds: int, pairs: int) -> dict[str, Any]:
    # Models: importable once Django is set up.
    from tests.benchmarks.lost_writes import lost_writes
    from tests.benchmarks.rivals import readings, rivals
    from tests.benchmarks.timing import race

    results: dict[str, Any] = {"database": _describe()}
    if rounds:
        found = rivals()
        results["writes"] = [timing._asdict() for timing in race(found, rounds)]
        around = race(readings(), rounds)
        for name, layers in _layers():
            with override_settings(CHANNEL_LAYERS=layers), _listening():
                around += race({f"merge, {name}": found["merge"]}, rounds)
        results["around"] = [timing._asdict() for timing in around]
    if pairs:
        results["lost_writes"] = [lost._asdict() for lost in lost_writes(pairs)]
    return results


def _describe() -> dict[str, Any]:
    with connection.cursor() as cursor:

        def ask(sql: str) -> str:
            cursor.execute(sql)
            return str(cursor.fetchone()[0])

        if connection.vendor == "sqlite":
            settled = {name: ask(f"PRAGMA {name}") for name in ("journal_mode", "synchronous")}
            settled["transaction_mode"] = connection.transaction_mode or "DEFERRED"
            version = ask("SELECT sqlite_version()")
        else:
            settled = {name: ask(f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")}
            version = ask("SHOW server_version")
    elsewhere = SERVER_GIVEN and connection.vendor == "postgresql"
    return {
        "vendor": connection.vendor,
        "version": version,
        "settings": settled,
        "folder": "the server of TEST_POSTGRES_URL" if elsewhere else tempfile.gettempdir(),
        "fsync": None if elsewhere else _fsync(),
    }


def _fsync() -> float:
    """Seconds that the folder's disk takes to make 100 bytes durable."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(51):
            file.write(b"x" * 100)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _layers() -> list[tuple[str, Layers]]:
    found: list[tuple[str, Layers]] = [
        ("in-memory layer", {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
    ]
    url = redis_url()
    if url:
        hosts = [{"address": url, "socket_timeout": None}]
        redis = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
        found.append(("channels_redis", {"default": redis}))
    return found


@contextmanager
def _listening() -> Iterator[None]:
    """A loop with listeners, as a server with open sockets has: without any, the in-memory layer is not rung at all."""
    from syncsessions import doorbell

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> None:
        doorbell.listen()

    async def finish() -> None:
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    asyncio.run_coroutine_threadsafe(listen(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(finish(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
