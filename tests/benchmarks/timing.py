"""Timing of rivals in short rounds that take turns, so that what disturbs the machine disturbs them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.benchmarks.rivals import Operation

ROUND = 0.025  # seconds that one rival gets in one round


class Timing(NamedTuple):
    """`seconds` for one operation; `ratio` is the first rival's time to this one's, both medians over the rounds."""

    name: str
    seconds: float
    ratio: float
    operations: int


def race(rivals: Mapping[str, Operation], rounds: int) -> list[Timing]:
    counts = {name: _operations_in(operation, ROUND if rounds > 1 else 0) for name, operation in rivals.items()}
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, operation in rivals.items():
            times[name].append(_time(operation, counts[name]))
    first = next(iter(times.values()))
    return [
        Timing(
            name,
            statistics.median(taken),
            statistics.median(mine / its for mine, its in zip(first, taken, strict=True)),
            counts[name] * rounds,
        )
        for name, taken in times.items()
    ]


def _operations_in(operation: Operation, seconds: float) -> int:
    _time(operation, 3)
    return max(3, int(seconds / _time(operation, 3)))


def _time(operation: Operation, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        operation()
    return (time.perf_counter() - started) / count
