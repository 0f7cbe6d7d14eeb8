"""Rivals at one store. Arguments: the store's configuration as JSON, a work's name, a namespace, how many processes.

Prints what each found, as a line of JSON. Every other one awaits the `a` twins on an event loop of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import django

CLAIMS, CREATES, LIMIT = 1000, 2000, 100


class Looped:
    """A store's async form, for code that does not await."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *given, **named: self.loop.run_until_complete(getattr(self.store, f"a{name}")(*given, **named))


def claim(store: Any, namespace: str, number: int, rivals: int) -> list[str]:
    """The records that this one won by compare-and-set: "one" is claimed time and again, the others once by each."""
    from syncsessions.exceptions import Conflict

    won = []
    for id in ["one"] * (CLAIMS // rivals) + [f"{each}" for each in range(50)]:  # noqa: A001
        try:
            store.replace(namespace, id, {"by": number}, revision=1, log=number)
        except Conflict:
            continue
        won.append(id)
    return won


def claim_a_code(store: Any, code: str, number: int, rivals: int) -> list[str]:
    """The names under which this one joined the session of this code."""
    from syncsessions.exceptions import AlreadyUsed
    from syncsessions.pairing import steps
    from syncsessions.stores.steps import run

    joined = []
    for each in range(CLAIMS // rivals):
        try:
            session = run(store, steps.claim(code, f"{number}.{each}", None, None, lease=False))
        except AlreadyUsed:
            continue
        joined.append(session.peer)
    return joined


def create_within_limit(store: Any, namespace: str, number: int, rivals: int) -> list[int]:
    """How many this one created, and the largest count that it saw."""
    from syncsessions.exceptions import SessionLimitReached

    created = most = 0
    for each in range(CREATES // rivals):
        try:
            store.create(namespace, f"{number}.{each}", {"n": each}, ttl=600, limit=LIMIT)
            created += 1
        except SessionLimitReached:
            pass
        if each % 10 == 0:
            most = max(most, store.count(namespace))
    return [created, most]


def create_within_rate(store: Any, namespace: str, number: int, rivals: int) -> int:
    """How many this one created. Each id is tried by two: a duplicate spends no rate."""
    from syncsessions.exceptions import AlreadyExists, RateLimited

    created = 0
    for each in range(CREATES // rivals):
        try:
            store.create(namespace, f"{number // 2}.{each}", {"n": each}, ttl=600, rate=f"{LIMIT}/h")
            created += 1
        except (AlreadyExists, RateLimited):
            pass
    return created


def come_and_go(store: Any, namespace: str, number: int, rivals: int) -> int:
    """Create within a limit of 4 and delete; the largest count that this one saw."""
    from syncsessions.exceptions import SessionLimitReached

    most = 0
    for each in range(30):
        try:
            store.create(namespace, f"{number}.{each}", {}, ttl=600, limit=4)
        except SessionLimitReached:
            continue
        finally:
            most = max(most, store.count(namespace))
        assert store.delete(namespace, f"{number}.{each}") is True
    return most


def expire(store: Any, namespace: str, number: int, rivals: int) -> list[str]:
    """The ids that this one was given."""
    ids: list[str] = []
    while found := store.expire(namespace, limit=7):
        ids.extend(record.id for record in found)
    return ids


def hit(store: Any, namespace: str, number: int, rivals: int) -> int:
    """How many hits passed."""
    from syncsessions.exceptions import RateLimited

    hits = 0
    for _ in range(50):
        try:
            store.hit(namespace, f"{LIMIT}/h")
            hits += 1
        except RateLimited:
            pass
    return hits


def hit_and_give_back(store: Any, namespace: str, number: int, rivals: int) -> int:
    """Hit and give each hit back: with as many places as rivals none is ever refused."""
    for _ in range(30):
        store.unhit(namespace, store.hit(namespace, f"{rivals}/h"))
    return 0


def count_up(store: Any, namespace: str, number: int, rivals: int) -> int:
    """Add 20 to a number that all add to; how often another was faster."""
    from syncsessions.exceptions import Conflict

    lost = added = 0
    while added < 20:
        record = store.get(namespace, "sum")
        try:
            store.replace(namespace, "sum", {"sum": record.data["sum"] + 1}, revision=record.revision, log=number)
            added += 1
        except Conflict:
            lost += 1
    return lost


def work(name: str, store: Any, namespace: str, number: int, rivals: int) -> Any:
    looped = Looped(store) if number % 2 else None
    try:
        return globals()[name](looped or store, namespace, number, rivals)
    finally:
        if looped:
            store.close()
            looped.loop.close()


def main(params: str, name: str, namespace: str, rivals: str) -> int:
    """Fork, so that the start-up is paid once; how many of them failed."""
    from tests.stores import made

    asked, go = os.pipe()
    children = []
    for number in range(int(rivals)):
        child = os.fork()
        if not child:
            os.close(go)
            os.read(asked, 1)  # ends when all have been made
            try:
                found = work(name, made(json.loads(params)), namespace, number, int(rivals))
                os.write(1, f"{json.dumps(found)}\n".encode())
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(go)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    django.setup()
    sys.exit(main(*sys.argv[1:]))
