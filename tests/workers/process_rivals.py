"""Workers on session processes.

Arguments: settings as JSON, a work's name, a session id, how many workers, how much, how many more are to be killed.
One worker is this very process; more are forked. Prints what each found, as a line of JSON; `keep` prints each number
that was acknowledged, at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import django

MANY = 1_000_000  # numbers that a worker has for itself


def add(session: Any, number: int, much: int) -> list[int]:
    """The revisions after adding `number` so many times; every other worker awaits the `a` twins."""
    if number % 2:
        with asyncio.Runner() as runner:
            return [
                _insist(lambda: runner.run(session.adispatch("numbers.add", number)))  # one loop for all
                for _ in range(much)
            ]
    return [_insist(lambda: session.dispatch("numbers.add", number)) for _ in range(much)]


def _insist(dispatch: Callable[[], int]) -> int:
    """On a busy machine others may be faster for as long as a message tries: then it was not applied."""
    from syncsessions.exceptions import Conflict

    while True:
        try:
            return dispatch()
        except Conflict:
            print("a dispatch met conflicts for 15 seconds", file=sys.stderr)


def keep(session: Any, number: int, much: int) -> None:
    """Send numbers of its own, and say each that was acknowledged."""
    for each in range(number * MANY, number * MANY + much):
        _insist(lambda number=each: session.dispatch("numbers.keep", number))  # type: ignore[misc]
        os.write(1, f"{each}\n".encode())


def keep_for_ever(session: Any, number: int, much: int) -> None:
    keep(session, number, MANY)


def keep_later(session: Any, number: int, much: int) -> None:
    """Dispatch a debounced action and die."""
    session.dispatch("numbers.keep_later", much)
    os.kill(os.getpid(), signal.SIGKILL)


def sweep(session: Any, number: int, much: int) -> list[str]:
    """Sweep until nothing is there to sweep; the ids of the sessions whose end was told here."""
    from syncsessions.processes import expire_sessions
    from syncsessions.signals import process_stopped

    told: list[str] = []

    def listen(sender: Any, session_id: str, reason: str, **kwargs: Any) -> None:
        assert reason == "expired"
        told.append(session_id)

    process_stopped.connect(listen)
    while expire_sessions():
        pass
    return told


def do(work: str, session_id: str, number: int, much: int) -> None:
    from tests.tally import Tally

    found = globals()[work](Tally.get(session_id) if session_id else None, number, much)
    if found is not None:
        os.write(1, f"{json.dumps(found)}\n".encode())


def forked(work: str, session_id: str, number: int, much: int, gate: tuple[int, int]) -> int:
    """A child that begins when the gate opens: when all who hold its second end have closed it."""
    child = os.fork()
    if child:
        return child
    try:
        os.close(gate[1])
        os.read(gate[0], 1)
        do(work, session_id, number, much)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def compete(work: str, session_id: str, workers: int, much: int, kills: int) -> int:
    """How many workers failed. Beside them others do the same for ever, four at a time, and are killed."""
    gate = os.pipe()
    victims = [forked(f"{work}_for_ever", session_id, workers + each, 0, gate) for each in range(kills)]
    children = [forked(work, session_id, number, much, gate) for number in range(workers)]
    os.close(gate[1])
    for victim in victims:
        time.sleep(random.uniform(0.1, 0.3))
        os.kill(victim, signal.SIGKILL)
    killed = [os.waitpid(victim, 0)[1] for victim in victims]
    return sum(os.waitpid(child, 0)[1] != 0 for child in children) + sum(end != signal.SIGKILL for end in killed)


def main(settings: str, work: str, session_id: str, workers: str, much: str, kills: str = "0") -> int:
    from django.test.utils import override_settings

    override_settings(**json.loads(settings)).enable()
    if workers == "1":
        do(work, session_id, 1, int(much))
        return 0
    return compete(work, session_id, int(workers), int(much), int(kills))


if __name__ == "__main__":
    django.setup()
    sys.exit(main(*sys.argv[1:]))
