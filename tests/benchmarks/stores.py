"""What sync sessions cost on each store, at so many live ones. Run as a process of its own; writes JSON to a file."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection
from django.test.utils import override_settings
from django.utils.module_loading import import_string

from tests.servers import redis_url

MOST_ROUNDS = 5
SECONDS = 0.2  # that one round of one operation gets
AT_ONCE = 64  # creates under way while a store is filled
FILLED = "pairing"
SETTINGS = {"PAIRING_MAX_SESSIONS": 100_000_000, "PAIRING_LEASE": 86_400}


def main(store: str, fills: list[int], rounds: int, file: str) -> None:
    django.setup()
    name = settings.DATABASES["default"]["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        with override_settings(SYNCSESSIONS=SETTINGS), _made(store) as made:
            results = [
                {"store": store, "live": fill, **_measure(made, fill, min(rounds, MOST_ROUNDS))} for fill in fills
            ]
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
    Path(file).write_text(json.dumps(results))


@contextmanager
def _made(store: str) -> Iterator[Any]:
    params: dict[str, Any] = {"BACKEND": f"syncsessions.stores.{store}.{store.title()}Store"}
    if store == "redis":
        params |= {"LOCATION": redis_url(), "OPTIONS": {"prefix": f"benchmarks-{os.getpid()}"}}
    made = import_string(params["BACKEND"])("default", params)
    try:
        yield made
    finally:
        if store == "redis":
            forget(params)
        made.close()


def _measure(store: Any, fill: int, rounds: int) -> dict[str, Any]:
    """Operations a second, medians of the rounds; bytes that a live session takes in this process."""
    before, live = resident(), store.count(FILLED)
    asyncio.run(_fill(store, fill - live))
    taken = (resident() - before) / (fill - live) if fill > live else None
    batch = _batch(store) if rounds > 1 else 10
    rates: dict[str, list[float]] = {"create": [], "get": [], "claim": [], "delete": []}
    for _round in range(rounds):
        for name, rate in _round_of(store, batch).items():
            rates[name].append(rate)
    return {"rates": {name: statistics.median(found) for name, found in rates.items()}, "bytes": taken}


async def _fill(store: Any, count: int) -> None:
    from syncsessions.pairing import steps
    from syncsessions.stores.steps import arun

    async def create_some(some: int) -> None:
        for _ in range(some):
            await arun(store, steps.create("send", "benchmark", {"device": "laptop"}, None))

    if count > 0:
        shares = [count // AT_ONCE + (number < count % AT_ONCE) for number in range(AT_ONCE)]
        await asyncio.gather(*map(create_some, shares))
    store.close()


def _batch(store: Any) -> int:
    taken = _time(lambda: _round_of(store, 10), 1)
    return max(10, int(10 * 4 * SECONDS / taken))


def _round_of(store: Any, count: int) -> dict[str, float]:
    from syncsessions.pairing import steps
    from syncsessions.pairing.session import SyncSession
    from syncsessions.stores.steps import run

    sessions: list[SyncSession] = []

    def create() -> None:
        sessions.append(run(store, steps.create("send", "benchmark", {"device": "laptop"}, None)))

    rates = {"create": 1 / _time(create, count)}
    for name, work in (
        ("get", lambda session: steps.get(session.code)),
        ("claim", lambda session: steps.claim(session.code, "peer", {"device": "phone"}, None, lease=False)),
        ("delete", lambda session: steps.delete(session.code)),
    ):
        each = iter(sessions)
        rates[name] = 1 / _time(lambda work=work, each=each: run(store, work(next(each))), count)  # type: ignore[misc]
    return rates


def _time(work: Callable[[], Any], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def forget(params: dict[str, Any]) -> None:
    import redis

    with redis.Redis.from_url(params["LOCATION"]) as client:
        keys = list(client.scan_iter(f"*{params['OPTIONS']['prefix']}*", count=10_000))
        for first in range(0, len(keys), 10_000):
            client.unlink(*keys[first : first + 10_000])


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
