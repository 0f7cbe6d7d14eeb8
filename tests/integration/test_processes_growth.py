"""What a start costs among many live sessions, counted and not timed: in the original it grew with their number."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import redis

from syncsessions.processes import DefaultProcess, sweeping
from syncsessions.processes.names import NAMESPACE
from syncsessions.stores import stores
from syncsessions.stores.memory.space import Entry
from tests.processes import nothing_goes_on

MANY = 10_000
WITHOUT_END = frozenset(("KEYS", "SCAN", "SMEMBERS", "HGETALL", "HKEYS", "HVALS", "ZRANGEBYSCORE", "ZRANGE", "LRANGE"))
"""Commands whose work, or answer, grows with what there is."""


@pytest.fixture(autouse=True)
def _site(params: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sweeping, "SWEPT_EVERY", 2**62)
    settings.SYNCSESSIONS = {"STORES": {"default": params}, "MAX_PROCESSES": 2 * MANY, "PROCESS_START_RATE": "900000/h"}
    with nothing_goes_on():
        yield


def start(number: int) -> None:
    DefaultProcess.start(f"s-{number}")


def work_of(function: Callable[[], object]) -> int:
    """How many of Python's instructions it takes."""
    count = 0

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


class Counted(dict[str, Entry]):
    """Counts the records that C code goes through, too."""

    looked_at = 0

    def values(self) -> Any:
        self.looked_at += len(self)
        return super().values()

    def items(self) -> Any:
        self.looked_at += len(self)
        return super().items()

    def __iter__(self) -> Iterator[str]:
        self.looked_at += len(self)
        return super().__iter__()


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
def test_in_memory(backend: str) -> None:
    work_of(lambda: start(0))  # Python 3.12 counts from the second time on
    first = work_of(lambda: start(1))
    for number in range(2, MANY):
        start(number)
    store: Any = stores["processes"]
    space = store._spaces[NAMESPACE]
    space.records = records = Counted(space.records)
    records.looked_at = 0
    late = work_of(lambda: start(MANY))
    assert len(records) == MANY + 1
    assert records.looked_at == 0
    assert 0 < first
    assert 0 < late <= first + 20


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_on_redis(backend: str, params: dict[str, Any]) -> None:
    start(0)
    first = commands_of(params, lambda: start(1))
    for number in range(2, MANY):
        start(number)
    late = commands_of(params, lambda: start(MANY))
    assert stores["processes"].count(NAMESPACE) == MANY + 1
    assert late == first
    assert not WITHOUT_END & set(late)


def commands_of(params: dict[str, Any], function: Callable[[], object]) -> list[str]:
    """What the server does for it, inside scripts as well; others use it too."""
    found = []
    with redis.Redis.from_url(params["LOCATION"]) as client, client.monitor() as monitor:
        function()
        client.echo("the end")
        while "the end" not in (seen := monitor.next_command())["command"]:
            if params["OPTIONS"]["prefix"] in seen["command"]:
                found.append(seen["command"].split()[0].upper())
    assert found
    return found
