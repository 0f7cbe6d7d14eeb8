"""What messages to session processes cost: in memory beside the BEAM and pykka, on Redis beside bare calls.

Run as a process of its own; writes JSON to a file. All rows of a part take turns in short rounds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.test.utils import override_settings

from syncsessions import processes
from tests.benchmarks.counters import Book, Brief, Counter, Ten, Two
from tests.benchmarks.process_rivals import on_redis, pykka_rows
from tests.benchmarks.stores import resident
from tests.benchmarks.timing import ROUND

MOST_ROUNDS = 20
FILLS = (0, 10_000, 100_000, 1_000_000)
SETTINGS = {"MAX_PROCESSES": 100_000_000, "PROCESS_TTL": 86_400}


class Reference(NamedTuple):
    """The Elixir original on two cores: operations a second, and a session's bytes."""

    create: int = 10_300  # up to 1,000 live
    create_at_10k: int = 618
    lookup: int = 2_650_000
    call: int = 186_000
    cast: int = 544_000
    dispatch: int = 265_000
    routed: int = 220_000
    deliveries: int = 1_600_000  # with ten subscribers
    unaffected: int = 36_800
    touch: int = 109_000
    terminate: int = 69_000
    sweep: int = 33_600
    session_bytes: int = 6_656


BEAM = Reference()


class Row(NamedTuple):
    """`work(count)` does it so many times and returns the seconds that took; each is worth `each` operations."""

    work: Callable[[int], float]
    beam: int | None = None
    each: int = 1


def main(most_live: int, rounds: int, file: str) -> None:
    django.setup()
    rounds = min(rounds, MOST_ROUNDS)
    with override_settings(SYNCSESSIONS=SETTINGS):
        results: dict[str, Any] = {"memory": _measure(_messages(), rounds), "fills": _fills(most_live, rounds)}
        results["memory"] += _sweeps(min(10_000, max(most_live, 10)), min(rounds, 5))
        results["pykka"] = pykka_rows(rounds)
    results["redis"] = on_redis(SETTINGS, rounds)
    Path(file).write_text(json.dumps(results))


def _messages() -> dict[str, Row]:
    one, ten, heard = Counter.start("one"), Ten.start("ten"), Counter.start("heard")
    rows = {
        "call": Row(_repeat(lambda: one.call("count")), BEAM.call),
        "call that changes the state": Row(_repeat(lambda: one.call("add", 1))),
        "cast": Row(_repeat(lambda: one.cast("put", 1)), BEAM.cast),
        "dispatch": Row(_repeat(lambda: one.dispatch("count.add", 1)), BEAM.dispatch),
        "dispatch routed among 10 reducers": Row(_repeat(lambda: ten.dispatch("count.add", 1)), BEAM.routed),
        "dispatch, then state": Row(_repeat(lambda: (one.dispatch("count.add", 1), one.state()))),
        "subscribe and cancel": Row(_repeat(lambda: heard.subscribe(_count, _ignore).cancel())),
        "touch": Row(_repeat(one.touch), BEAM.touch),
        "terminate": Row(_terminate, BEAM.terminate),
    }
    for subscribers in (1, 10, 100, 1000):
        full = Counter.start(f"heard-by-{subscribers}")
        for _ in range(subscribers):
            full.subscribe(_count, _ignore)
        rows[f"deliveries to {subscribers:,} subscriber{'s' * (subscribers > 1)}"] = Row(
            _repeat(lambda full=full: full.dispatch("count.add", 1)),  # type: ignore[misc]
            BEAM.deliveries if subscribers == 10 else None,
            subscribers,
        )
    elsewhere = Two.start("elsewhere")
    for _ in range(1000):
        elsewhere.subscribe(lambda state: state["other"]["n"], _ignore)
    rows["dispatch with 1,000 unaffected subscribers"] = Row(
        _repeat(lambda: elsewhere.dispatch("count.add", 1)), BEAM.unaffected
    )
    for kilobytes in (1, 10, 100):
        book = Book.start(f"book-{kilobytes}")
        book.dispatch("pages.fill", kilobytes)
        rows[f"dispatch beside {kilobytes} KB of state"] = Row(
            _repeat(lambda book=book: book.dispatch("pages.add", 1))  # type: ignore[misc]
        )
    return rows


def _terminate(times: int) -> float:
    sessions = [Counter.start(f"ending-{number}") for number in range(times)]
    started = time.perf_counter()
    for session in sessions:
        session.terminate()
    return time.perf_counter() - started


def _fills(most_live: int, rounds: int) -> list[dict[str, Any]]:
    """Create and look up at so many live sessions, which have had a message each; bytes that one takes here."""
    found, numbers, live = [], count(), 0
    for fill in sorted({min(fill, most_live) for fill in FILLS}):
        before = resident()
        for number in range(live, fill):
            Counter.start(f"live-{number}").dispatch("count.add", 1)
        taken = (resident() - before) / (fill - live) if fill > live else None
        live = fill
        rows = {
            "create": Row(
                lambda times: _create(times, numbers), {0: BEAM.create, 10_000: BEAM.create_at_10k}.get(fill)
            ),
            "get": Row(_repeat(lambda: Counter.get("one")), BEAM.lookup),
        }
        found.append({"live": fill, "rows": _measure(rows, rounds), "bytes": taken, "beam_bytes": BEAM.session_bytes})
    processes.terminate_sessions(f"live-{number}" for number in range(live))
    return found


def _create(times: int, numbers: Iterator[int]) -> float:
    ids = [f"new-{next(numbers)}" for _ in range(times)]
    started = time.perf_counter()
    for each in ids:
        Counter.start(each)
    taken = time.perf_counter() - started
    for each in ids:
        Counter.get(each).terminate()
    return taken


def _sweeps(expired: int, rounds: int) -> list[dict[str, Any]]:
    rates = []
    for turn in range(rounds):
        for number in range(expired):
            Brief.start(f"brief-{turn}-{number}")
        time.sleep(Brief.lifetime())
        started = time.perf_counter()
        swept = processes.expire_sessions()
        rates.append(swept / (time.perf_counter() - started))
    return [_row(f"sweep of {expired:,} expired", statistics.median(rates), BEAM.sweep)]


def _repeat(operation: Callable[[], Any]) -> Callable[[int], float]:
    def work(times: int) -> float:
        started = time.perf_counter()
        for _ in range(times):
            operation()
        return time.perf_counter() - started

    return work


def _measure(rows: Mapping[str, Row], rounds: int) -> list[dict[str, Any]]:
    """Operations a second, medians of the rounds, in which the rows take turns."""
    counts = {name: max(3, int(ROUND * 10 / row.work(10))) if rounds > 1 else 3 for name, row in rows.items()}
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, row in rows.items():
            rates[name].append(row.each * counts[name] / row.work(counts[name]))
    return [_row(name, statistics.median(found), rows[name].beam) for name, found in rates.items()]


def _row(name: str, rate: float, beam: int | None) -> dict[str, Any]:
    return {"name": name, "per_second": rate, "beam": beam, "ratio": None if beam is None else rate / beam}


def _count(state: Any) -> Any:
    return state["count"]["n"]


def _ignore(value: Any) -> None:
    """A subscriber with nothing to do."""


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
