"""Many writers on one slice: nobody's keys are lost, whether they are threads, processes or coroutines."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from syncsessions.stash import StashSession
from tests import workers

WRITERS, MERGES = 16, 50
MERGES_OF_A_PROCESS = {"default": 200, "postgresql": 200, "mysql": 50}  # there each waits for the disk


def expected(writers: int, merges: int) -> dict[str, int]:
    return {f"{number}.{count}": count for number in range(writers) for count in range(merges)}


def check(session_id: str, merges: int) -> None:
    found = StashSession(session_id).fetch_view("many")
    assert found is not None
    assert found.data == expected(WRITERS, merges)
    assert found.revision == WRITERS * merges


def test_threads(database: str, session_id: str) -> None:
    start = threading.Barrier(WRITERS // 2)
    made = threading.Event()

    def write(number: int) -> list[int]:
        try:
            stash = StashSession(session_id)
            if number < WRITERS // 2:
                start.wait(30)
            else:
                assert made.wait(30)
            revisions = []
            for count in range(MERGES):
                revisions.append(stash.merge("many", {f"{number}.{count}": count}))
                made.set()
            return revisions
        finally:
            connections[database].close()

    with ThreadPoolExecutor(WRITERS) as pool:
        told = [revision for revisions in pool.map(write, range(WRITERS)) for revision in revisions]
    assert sorted(told) == list(range(1, WRITERS * MERGES + 1))
    check(session_id, MERGES)


def test_processes(database: str, session_id: str) -> None:
    merges = MERGES_OF_A_PROCESS[database]
    workers.run("writers", database, session_id, "many", str(WRITERS), str(merges))
    check(session_id, merges)


async def test_coroutines(database: str, session_id: str) -> None:
    made = asyncio.Event()

    async def write(number: int) -> None:
        stash = StashSession(session_id)
        if number >= WRITERS // 2:
            await made.wait()
        for count in range(MERGES):
            await stash.amerge("many", {f"{number}.{count}": count})
            made.set()

    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    found = await StashSession(session_id).afetch_view("many")
    assert found is not None
    assert (found.data, found.revision) == (expected(WRITERS, MERGES), WRITERS * MERGES)


def test_the_same_key_is_last_write_wins(database: str, session_id: str) -> None:
    """The value that stands at the end is that of the merge with the highest revision."""
    told: dict[int, str] = {}

    def write(number: int) -> None:
        try:
            for count in range(20):
                value = f"{number}.{count}"
                told[StashSession(session_id).merge("one", {"k": value})] = value
        finally:
            connections[database].close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert StashSession(session_id).get_view("one") == {"k": told[160]}


def test_drops_and_merges_at_once(database: str, session_id: str) -> None:
    StashSession(session_id).merge("both", {f"old.{count}": 1 for count in range(200)})

    def work(number: int) -> None:
        try:
            stash = StashSession(session_id)
            for count in range(50):
                if number % 2:
                    stash.merge("both", {f"{number}.{count}": 1})
                else:
                    stash.drop("both", [f"old.{number // 2 * 50 + count}"])
        finally:
            connections[database].close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    found = StashSession(session_id).fetch_view("both")
    assert found is not None
    assert found.data == {f"{number}.{count}": 1 for number in (1, 3, 5, 7) for count in range(50)}
    assert found.revision == 401


def test_two_rows_at_once_never_deadlock(database: str, session_id: str) -> None:
    """Saves of a session's keys with a tab's, in either order of the two, beside saves of one of them."""

    def work(number: int) -> None:
        try:
            stash = StashSession(session_id)
            for count in range(40):
                key = f"{number}.{count}"
                tabs = ["", "t"] if number % 2 else ["t", ""]
                stash.write("two", 1, {tab: {key: 1} for tab in tabs})
        finally:
            connections[database].close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for tab in ("", "t"):
        found = StashSession(session_id).fetch_view("two", tab=tab)
        assert found is not None
        assert (found.data, found.revision) == (dict.fromkeys(expected(6, 40), 1), 240)


def test_a_writer_and_one_who_resets(database: str, session_id: str) -> None:
    """Whatever comes between, a merge is acknowledged with the revision of a slice that had its key."""
    stop = threading.Event()

    def reset() -> None:
        try:
            while not stop.is_set():
                StashSession(session_id).reset_view("gone")
        finally:
            connections[database].close()

    thread = threading.Thread(target=reset)
    thread.start()
    try:
        revisions = [StashSession(session_id).merge("gone", {"k": count}) for count in range(50)]
    finally:
        stop.set()
        thread.join()
    assert min(revisions) >= 1
    StashSession(session_id).merge("gone", {"last": 1})
    assert StashSession(session_id).get_view("gone")["last"] == 1


def test_what_was_acknowledged_outlives_a_kill(database: str, session_id: str) -> None:
    with workers.start("acknowledge", database, session_id, "killed") as worker:
        assert worker.stdout is not None
        told = [int(worker.stdout.readline()) for _ in range(50)]
        worker.kill()
        told += [int(line) for line in worker.stdout if line.endswith("\n")]
    assert told == list(range(1, len(told) + 1))
    found = StashSession(session_id).fetch_view("killed")
    assert found is not None
    assert found.revision in (len(told), len(told) + 1)
    assert found.data[str(len(told) % 500)] == len(told)
    assert StashSession(session_id).merge("killed", {"after": 1}) == found.revision + 1
