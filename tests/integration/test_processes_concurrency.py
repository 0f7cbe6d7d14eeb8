"""Session processes among rivals, killed workers, deadlines and doorbells that nobody hears."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.test.utils import override_settings

from syncsessions import processes
from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import background, registry, watching
from syncsessions.signals import process_stopped
from tests import workers
from tests.servers import redis_url
from tests.tally import DEBOUNCE, Brief, Tally
from tests.workers.process_rivals import MANY

RIVALS, DISPATCHES = 8, 500
DISPATCHES_ON = {"sqlite": 100, "postgresql": 100, "mysql": 100}  # each is a commit to the disk
MANY_SESSIONS = 10_000
PATIENCE = 20.0  # seconds that a test waits for what must come
SLACK = 0.05  # seconds that two clocks may differ

Settings = dict[str, Any]

shared = pytest.mark.parametrize("backend", ["redis", "sqlite", "postgresql", "mysql"], indirect=True)
killed = pytest.mark.parametrize("backend", ["redis", "postgresql"], indirect=True)
timed = pytest.mark.parametrize("backend", ["memory", "redis"], indirect=True)
on_redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)
on_memory = pytest.mark.parametrize("backend", ["memory"], indirect=True)


@pytest.fixture
def site(params: dict[str, Any]) -> Iterator[Settings]:
    """The settings of a site whose sessions no other test knows."""
    found = {
        "SYNCSESSIONS": {"STORES": {"default": params}, "MAX_PROCESSES": 2 * MANY_SESSIONS},
        "CHANNEL_LAYERS": {},
    }
    with override_settings(**found):
        yield found
        processes.terminate_sessions(session.id for session in processes.list_sessions())


def compete(
    site: Settings, work: str, session_id: str = "", much: int = 0, kills: int = 0, rivals: int = RIVALS
) -> str:
    return workers.run(
        "process_rivals", "default", json.dumps(site), work, session_id, str(rivals), str(much), str(kills)
    )


@shared
def test_many_workers_on_one_session(backend: str, site: Settings) -> None:
    session = Tally.start("one")
    dispatches = DISPATCHES_ON.get(backend, DISPATCHES)
    found = [json.loads(line) for line in compete(site, "add", "one", dispatches).splitlines()]
    assert sorted(chain.from_iterable(found)) == list(range(1, RIVALS * dispatches + 1))
    assert all(revisions == sorted(revisions) for revisions in found)
    assert session.revision() == RIVALS * dispatches
    assert session.state()["numbers"]["sum"] == sum(range(RIVALS)) * dispatches


@killed
def test_an_acknowledged_dispatch_outlives_kills(backend: str, site: Settings) -> None:
    """Each worker sends consecutive numbers, so that of a killed one at most the number after its last may be there."""
    session = Tally.start("one")
    acknowledged = Counter(map(int, compete(site, "keep", "one", 40, kills=12).split()))
    assert set(acknowledged.values()) == {1}
    kept = session.state()["numbers"]["kept"]
    assert set(Counter(kept).values()) == {1}
    assert acknowledged.keys() <= set(kept)
    for worker in {number // MANY for number in kept}:
        own = [number for number in kept if number // MANY == worker]
        told = sum(number // MANY == worker for number in acknowledged)
        assert own == list(range(worker * MANY, worker * MANY + len(own)))
        assert len(own) - told in ((0, 1) if worker >= RIVALS else (0,))
        assert worker >= RIVALS or told == 40
    assert session.revision() == len(kept)


@on_memory
@pytest.mark.parametrize("kept", [0, 10], ids=["plain", "with history"])
def test_threads(backend: str, site: Settings, kept: int) -> None:
    class Watched(Tally):
        history = kept

    session = Watched.start("one")
    heard: list[int] = []
    session.subscribe(lambda state: state["numbers"]["sum"], heard.append)
    start = threading.Barrier(RIVALS)

    def work(number: int) -> list[int]:
        start.wait(30)
        return [Watched.get("one").dispatch("numbers.add", number + 1) for _ in range(DISPATCHES)]

    with ThreadPoolExecutor(RIVALS) as pool:
        found = list(pool.map(work, range(RIVALS)))
    assert sorted(chain.from_iterable(found)) == list(range(1, RIVALS * DISPATCHES + 1))
    assert session.revision() == RIVALS * DISPATCHES
    total = sum(range(1, RIVALS + 1)) * DISPATCHES
    assert session.state()["numbers"]["sum"] == heard[-1] == total
    assert heard == sorted(heard)
    assert len(session.history()) == kept


@on_memory
async def test_coroutines(backend: str, site: Settings) -> None:
    session = await Tally.astart("one")

    async def work(number: int) -> list[int]:
        revisions = []
        for _ in range(DISPATCHES):
            revisions.append(await session.adispatch("numbers.add", number))
            await asyncio.sleep(0)
        return revisions

    found = await asyncio.gather(*map(work, range(RIVALS)))
    assert sorted(chain.from_iterable(found)) == list(range(1, RIVALS * DISPATCHES + 1))
    assert await session.astate(lambda state: state["numbers"]["sum"]) == sum(range(RIVALS)) * DISPATCHES


# Deadlines

READERS: list[Callable[[Any], Any]] = [
    lambda session: session.state(),
    lambda session: session.revision(),
    lambda session: session.history(),
    lambda session: session.snapshot(),
    lambda session: session.dispatch("numbers.add", 1),
    lambda session: session.dispatch("numbers.keep_later", 1),
    lambda session: session.reset(),
    lambda session: session.touch(),
    lambda session: session.subscribe(None, print),
    lambda session: session.terminate(),
    lambda session: Brief.get(session.id),
    lambda session: processes.get_session(session.id, Brief),
]


@contextmanager
def ends() -> Iterator[list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []

    def listen(sender: Any, session_id: str, reason: str, **kwargs: Any) -> None:
        told.append((session_id, reason))

    process_stopped.connect(listen)
    try:
        yield told
    finally:
        process_stopped.disconnect(listen)


@timed
def test_nobody_outlives_a_deadline(backend: str, site: Settings) -> None:
    made: list[tuple[float, Any]] = []
    late: list[str] = []

    def read(ended: float, session: Any, reader: Callable[[Any], Any]) -> bool:
        """Whether it is there, to a reader that came for sure after its deadline or not."""
        began = time.monotonic()
        try:
            reader(session)
        except SessionNotFound:
            return False
        if began > ended + Brief.ttl + SLACK:
            late.append(session.id)
        return True

    with ends() as told:
        for number in range(MANY_SESSIONS):
            session = Brief.start(f"s-{number}")
            made.append((time.monotonic(), session))
            if not number % 10:
                # One that was just made, or is about to end, or has ended, by a reader that does not renew it.
                read(*random.choice(made[-3000:]), READERS[random.randrange(4)])
        time.sleep(Brief.ttl + SLACK)
        alive = sum(read(0.0, session, READERS[number % len(READERS)]) for number, (_at, session) in enumerate(made))
        assert (alive, late) == (0, [])
        assert not any(Brief.started(f"s-{number}") for number in range(0, MANY_SESSIONS, 100))
        assert processes.list_sessions() == processes.find_sessions("*") == []
        assert processes.count_sessions() == processes.session_stats()["count"] == 0
        assert processes.terminate_sessions(session.id for _at, session in made) == 0
        processes.expire_sessions()
    assert Counter(told) == Counter((f"s-{number}", "expired") for number in range(MANY_SESSIONS))


@timed
def test_dispatches_keep_a_session(backend: str, site: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brief, "ttl", 1.0)
    busy, idle = Brief.start("busy"), Brief.start("idle")
    for number in range(25):
        assert busy.dispatch("numbers.add", 1) == number + 1
        time.sleep(0.1)
    with pytest.raises(SessionNotFound):
        idle.state()
    time.sleep(1.0 + SLACK)
    with pytest.raises(SessionNotFound):
        busy.dispatch("numbers.add", 1)


@timed
def test_each_expiry_is_told_once(backend: str, site: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncsessions.processes.sweeping.SWEPT_EVERY", 2**62)
    monkeypatch.setattr(Brief, "ttl", 0.01)
    ids = [f"s-{number}" for number in range(1000)]
    for each in ids:
        Brief.start(each)
    while Brief.started(ids[0]):  # a thousand starts in memory take no longer than that
        time.sleep(0.001)
    Brief.get_or_start(ids[0])  # a second life, while the first one waits for its sweep
    time.sleep(0.01 + SLACK)
    start = threading.Barrier(RIVALS)

    def sweep(_number: int) -> int:
        start.wait(30)
        return processes.expire_sessions()

    if backend == "memory":
        with ends() as told, ThreadPoolExecutor(RIVALS) as pool:
            counts = list(pool.map(sweep, range(RIVALS)))
        assert {reason for _id, reason in told} == {"expired"}
        found = [session_id for session_id, _reason in told]
        assert sum(counts) == len(found)
    else:
        found = list(chain.from_iterable(map(json.loads, compete(site, "sweep").splitlines())))
    assert Counter(found) == Counter([*ids, ids[0]])


# Debounced actions


@pytest.mark.parametrize("by", ["message", "watch"])
@pytest.mark.parametrize("backend", ["redis", "postgresql"], indirect=True)
async def test_a_debounce_survives_a_kill(
    backend: str, site: Settings, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.5)
    session = await Tally.astart("one")

    def doomed() -> int:
        with workers.start("process_rivals", "default", json.dumps(site), "keep_later", "one", "1", "7") as worker:
            return worker.wait(workers.PATIENCE)

    watch = session.watch(lambda state: state["numbers"]["kept"])
    assert await anext(watch) == []
    if by == "watch":
        seen = asyncio.ensure_future(anext(watch))
        assert await asyncio.to_thread(doomed) == -signal.SIGKILL
        assert await asyncio.wait_for(seen, PATIENCE) == [7]
    else:
        await watch.aclose()
        assert await asyncio.to_thread(doomed) == -signal.SIGKILL
        await asyncio.sleep(DEBOUNCE + SLACK)
        assert await session.adispatch("numbers.add", 1) == 2
        assert await session.astate(lambda state: state["numbers"]["kept"]) == [7]
        assert await session.arevision() == 2
    await watch.aclose()


# Lost doorbells


@pytest.fixture(params=[1.0, 0.0], ids=["nothing rings", "all rings"])
async def layer(request: Any, site: Settings) -> AsyncIterator[Any]:
    """A channel layer of all workers that drops everything, or nothing."""
    url = redis_url()
    inner = {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": url, "socket_timeout": None}], "prefix": f"test-{random.getrandbits(64)}"},
        "loss": request.param,
    }
    site["CHANNEL_LAYERS"] = {"default": {"BACKEND": "tests.layers.LossyLayer", "CONFIG": inner}}
    with override_settings(CHANNEL_LAYERS=site["CHANNEL_LAYERS"]):
        layer = get_channel_layer()
        assert layer is not None
        yield layer
        await layer.flush()
        await layer.close_pools()


@on_redis
async def test_a_lost_doorbell_is_repaired(backend: str, site: Settings, layer: Any) -> None:
    session = await Tally.astart("one")
    async with session.watch(lambda state: state["numbers"]["sum"]) as watch:
        assert await anext(watch) == 0
        seen = asyncio.ensure_future(anext(watch))
        await asyncio.to_thread(compete, site, "add", "one", 10, rivals=1)
        acknowledged = time.monotonic()
        while await asyncio.wait_for(seen, acknowledged + 5 - time.monotonic()) < 10:
            seen = asyncio.ensure_future(anext(watch))
        assert time.monotonic() - acknowledged < 5
    assert session.key not in registry.local


# What remains of those who heard


@pytest.mark.parametrize("backend", ["memory", "redis"], indirect=True)
@pytest.mark.parametrize("way", ["cancelled", "closed", "left", "failed", "ended"])
async def test_a_watch_leaves_nothing_behind(backend: str, site: Settings, way: str) -> None:
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}):
        session = await Tally.astart("one")
        before = asyncio.all_tasks()

        def select(state: Any) -> int:
            return 1 if way != "failed" else state["nothing"]

        async def listen() -> None:
            with suppress(KeyError):
                async for _value in session.watch(select):
                    if way == "left":
                        return

        watch = session.watch()
        if way == "closed":
            await anext(watch)
            await watch.aclose()
        else:
            task = asyncio.create_task(listen())
            await asyncio.sleep(0.1)
            if way == "cancelled":
                task.cancel()
            elif way == "ended":
                await session.aterminate()
            await asyncio.wait([task], timeout=2)
            assert task.done()
        await asyncio.sleep(0.1)
        assert session.key not in registry.local
        assert not session._watches
        assert not get_channel_layer().groups
        assert asyncio.all_tasks() == before


@pytest.mark.parametrize("backend", ["memory", "redis"], indirect=True)
@pytest.mark.parametrize("way", ["cancelled", "terminated", "expired"])
def test_a_subscription_leaves_nothing_behind(backend: str, site: Settings, way: str) -> None:
    session = Brief.start("one")
    subscriptions = [session.subscribe(None, print) for _ in range(3)]
    if way == "cancelled":
        for subscription in subscriptions:
            subscription.cancel()
    elif way == "terminated":
        session.terminate()
    else:
        time.sleep(Brief.ttl + SLACK)
        assert processes.expire_sessions() == 1
    assert not any(subscription.active for subscription in subscriptions)
    ends = time.monotonic() + 5
    while session.key in registry.local or background._tasks:
        assert time.monotonic() < ends, "somebody still listens"
        time.sleep(0.01)


@timed
def test_no_touch_loses_against_the_sweeper(backend: str, site: Settings) -> None:
    """The original's timer raced its `touch`: of 1,000 sessions that were touched all along, 78 lived."""

    class Touched(Brief):
        ttl = 1.5

    sessions = [Touched.start(f"touched-{number}") for number in range(200)]
    ends = time.monotonic() + 2 * Touched.ttl
    done = threading.Event()

    def sweep() -> int:
        count = 0
        while not done.is_set():
            count += processes.expire_sessions()
        return count

    def touch(some: list[Any]) -> None:
        while time.monotonic() < ends:
            for session in some:
                session.touch()

    with ThreadPoolExecutor(3) as pool:
        swept = pool.submit(sweep)
        try:
            for touching in [pool.submit(touch, sessions[number::2]) for number in range(2)]:
                touching.result()
        finally:
            done.set()
        assert swept.result() == 0
    assert all(Touched.started(session.id) for session in sessions)
