"""Many processes on the records of one namespace. Arguments: database alias, namespace, processes, rounds, limit.

Says as JSON which lives were created, deleted and expired by whichever process, how often the limit was exceeded, and
how many deadlocks there were.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress

import django

IDS = 12
TOLD = ("created", "deleted", "expired")


def work(alias: str, namespace: str, rounds: int, limit: int) -> dict[str, list[str]]:
    from syncsessions import database
    from syncsessions.exceptions import AlreadyExists, Conflict, NotFound, SessionLimitReached
    from syncsessions.stores.database import DatabaseStore

    store = DatabaseStore("default", {"OPTIONS": {"using": alias}})
    told: dict[str, list[str]] = {name: [] for name in (*TOLD, "exceeded", "deadlocks")}
    will_pass = database._will_pass

    def listen(error: Exception) -> bool:
        if "deadlock" in str(error).lower():
            told["deadlocks"].append(str(error))
        return will_pass(error)

    database._will_pass = listen

    def create(name: str) -> None:
        ttl = random.choice([0.005, 0.05, 60])
        told["created"].append(store.create(namespace, name, {}, ttl=ttl, limit=limit, rate="100000/h").life)

    def change(name: str) -> None:
        record = store.get(namespace, name)
        store.replace(namespace, name, {}, revision=record.revision, life=record.life, log="entry")
        store.touch(namespace, name, random.choice([0.005, 60]), life=record.life)

    def delete(name: str) -> None:
        life = store.get(namespace, name).life
        if store.delete(namespace, name, life=life):
            told["deleted"].append(life)

    def expire(_name: str) -> None:
        told["expired"].extend(record.life for record in store.expire(namespace, limit=random.choice([1, 1000])))

    def count(_name: str) -> None:
        if store.count(namespace) > limit:
            told["exceeded"].append("once")

    acts: list[Callable[[str], None]] = [create, create, create, change, delete, expire, count]
    for _round in range(rounds):
        with suppress(AlreadyExists, Conflict, NotFound, SessionLimitReached):
            random.choice(acts)(f"id-{random.randrange(IDS)}")
    return told


def main(alias: str, namespace: str, processes: str, rounds: str, limit: str) -> None:
    """Fork the processes, so that the start-up is paid once."""
    reading = []
    for _number in range(int(processes)):
        read, write = os.pipe()
        if not os.fork():
            try:
                found = work(alias, namespace, int(rounds), int(limit))
                with open(write, "w") as pipe:
                    json.dump(found, pipe)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        os.close(write)
        reading.append(read)
    together: dict[str, list[str]] = {}
    for read in reading:
        with open(read) as pipe:
            for name, found in json.load(pipe).items():
                together.setdefault(name, []).extend(found)
    print(json.dumps(together))


if __name__ == "__main__":
    django.setup()
    main(*sys.argv[1:])
