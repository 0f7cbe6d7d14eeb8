"""The life of session processes: ids, limits, rates, deadlines, ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from syncsessions.exceptions import (
    AlreadyExists,
    CallFailed,
    InvalidSessionId,
    InvalidValue,
    RateLimited,
    SessionLimitReached,
    SessionNotFound,
    SyncSessionsError,
)
from syncsessions.processes import SessionProcess
from syncsessions.signals import message_failed, process_start_failed, process_started, process_stopped
from tests.processes import Form, Kiosk, Shop, Site, State, each_place, hearing, until

pytestmark = each_place
INVALID: list[Any] = ["", "abc\n", "a b", "a.b", "a:b", "ä", "٣", "a" * 65, "\x00", "a/b", "*", None, 1, b"abc", ["a"]]
TWINKLING = 0.02  # seconds


class Told(Shop):
    ttl = 60.0
    history = 0
    stopped: list[tuple[str, Any, str]] = []

    def on_stop(self, session_id: str, state: State, reason: str) -> None:
        self.stopped.append((session_id, state["user"], reason))
        if state["user"] == "bad":
            raise RuntimeError("at the end")


class Brief(Told):
    ttl = TWINKLING


class Strange(SessionProcess):
    def init(self, args: Any) -> Any:
        if args == "raise":
            raise RuntimeError("no start")
        return {"slice": {1}} if args == "set" else args


class Overlapping(Shop):
    def init(self, args: Any) -> State:
        return {"cart": {}}


@pytest.fixture(autouse=True)
def stopped() -> list[tuple[str, Any, str]]:
    Told.stopped.clear()
    return Told.stopped


async def gone(session: Form) -> bool:
    try:
        await session.state()
    except SessionNotFound:
        return True
    return False


async def test_ids(site: Site) -> None:
    for id_ in ("a", "A-Za-z0-9_-", "0" * 64, "-", "_"):
        assert (await site.start(id_)).id == id_
        assert await site(Shop).started(id_)
    for wrong in INVALID:
        for starting in (site(Shop).start, site(Shop).get_or_start):
            with pytest.raises(InvalidSessionId) as caught:
                await starting(wrong)
            assert caught.value.code == "invalid_session_id"
        with pytest.raises(SessionNotFound):
            await site(Shop).get(wrong)
        assert await site(Shop).started(wrong) is False
    assert await site.functions.count_sessions() == 5


async def test_start_get_and_started(site: Site) -> None:
    process = site(Shop)
    assert await process.started("a") is False
    with pytest.raises(SessionNotFound) as caught:
        await process.get("a")
    assert caught.value.code == "session_not_found"
    shop = await process.start("a", {"from": "test"})
    assert (await shop.state())["args"] == {"from": "test"}
    assert await process.started("a") is True
    for found in (await process.get("a"), await process.get_or_start("a", "ignored")):
        await found.dispatch("cart.keep")
        assert (await found.state())["args"] == {"from": "test"}
    other = await process.get_or_start("b", [1])
    assert ((await other.state())["args"], await other.revision()) == ([1], 0)


async def test_a_taken_id_leaves_the_running_one_alone(site: Site) -> None:
    shop = await site.start()
    await shop.cast("set_user", "ann")
    with pytest.raises(AlreadyExists) as caught:
        await site.start()
    assert caught.value.code == "already_exists"
    with pytest.raises(AlreadyExists):
        await site(Shop).restore("a", await shop.snapshot())
    assert (await shop.call("get_user"), await shop.revision()) == ("ann", 1)


async def test_of_many_starts_one_wins(site: Site) -> None:
    outcomes = await asyncio.gather(*(site(Shop).start("a") for _ in range(10)), return_exceptions=True)
    assert len([each for each in outcomes if isinstance(each, AlreadyExists)]) == 9
    outcomes = await asyncio.gather(*(site(Shop).get_or_start("b") for _ in range(10)))
    assert {await each.dispatch("cart.keep") for each in outcomes} == set(range(1, 11))
    assert await site.functions.count_sessions() == 2


async def test_processes_of_two_classes_share_an_id(site: Site) -> None:
    shop, kiosk = await site.start("a"), await site.start("a", cls=Kiosk)
    await shop.cast("set_user", "ann")
    await kiosk.cast("set_user", "bob")
    assert ((await shop.state())["user"], (await kiosk.state())["user"]) == ("ann", "bob")
    await shop.terminate()
    assert (await site(Shop).started("a"), await site(Kiosk).started("a")) == (False, True)
    assert await kiosk.revision() == 1


async def test_a_failing_init_leaves_nothing(site: Site) -> None:
    refusals: list[tuple[type[SessionProcess], Any, type[SyncSessionsError]]] = [
        (Strange, "raise", CallFailed),
        (Strange, "set", InvalidValue),
        (Strange, ["no", "dict"], InvalidValue),
        (Strange, {"no", "json"}, InvalidValue),
        (Overlapping, None, InvalidValue),
    ]
    for process, args, error in refusals:
        with hearing(process_started, process_start_failed) as heard, pytest.raises(error) as caught:
            await site.start("a", args, process)
        (report,) = heard
        assert (report["signal"], report["sender"], report["session_id"]) == (process_start_failed, process, "a")
        assert report["error"] is caught.value
        assert await site(process).started("a") is False
    assert await site.functions.count_sessions() == 0
    await site.start("a", {"fine": 1}, Strange)


async def test_the_limit_counts_sessions(site: Site) -> None:
    site.put(MAX_PROCESSES=2)
    first = await site.start("a")
    await site.start("a", cls=Kiosk)
    for _ in range(2):
        with hearing(process_start_failed) as heard, pytest.raises(SessionLimitReached) as caught:
            await site.start("b")
        assert caught.value.code == "session_limit_reached"
        assert len(heard) == 1
    with pytest.raises(AlreadyExists):
        await site.start("a")
    assert await site(Shop).started("b") is False
    await first.terminate()
    await site.start("b")


async def test_who_has_expired_does_not_count(site: Site) -> None:
    site.put(MAX_PROCESSES=1)
    brief = await site.start("a", cls=Brief)
    await until(lambda: gone(brief))
    await site.start("b")


async def test_the_start_rate(site: Site) -> None:
    site.put(PROCESS_START_RATE="3/h")
    await site.start("a")
    for _ in range(5):
        with pytest.raises(AlreadyExists):  # which spends nothing
            await site.start("a")
        with pytest.raises(InvalidSessionId):
            await site.start("a b")
        await site(Shop).get_or_start("a")
    await site.start("b")
    await site.start("c", cls=Kiosk)
    for starting in (site(Shop).start, site(Shop).get_or_start):
        with pytest.raises(RateLimited) as caught:
            await starting("d")
        assert caught.value.code == "rate_limited"
        assert 0 < caught.value.retry_after <= 3600
    assert await site(Shop).started("d") is False


async def test_a_terminated_session_is_gone(site: Site, stopped: list[Any]) -> None:
    told = await site.start(cls=Told)
    other = await site.elsewhere(told)
    await told.cast("set_user", "ann")
    with hearing(process_stopped) as heard:
        assert await told.terminate() is None
    assert stopped == [("a", "ann", "terminated")]
    assert [(each["sender"], each["session_id"], each["reason"]) for each in heard] == [(Told, "a", "terminated")]
    operations: list[tuple[Any, ...]] = [
        ("dispatch", "cart.keep"),
        ("dispatch", "cart.press"),
        ("dispatch", "cart.search"),
        ("call", "get_user"),
        ("call", "swap_user", 1),
        ("cast", "set_user", 1),
        ("state",),
        ("revision",),
        ("touch",),
        ("terminate",),
        ("history",),
        ("time_travel", 1),
        ("reset",),
        ("snapshot",),
        ("subscribe", None, print),
    ]
    for session in (told, other):
        for name, *args in operations:
            with pytest.raises(SessionNotFound):
                await getattr(session, name)(*args)
    assert len(stopped) == 1
    assert await site(Told).started("a") is False


async def test_the_next_session_of_an_id_is_another(site: Site) -> None:
    old = await site.start()
    await old.cast("set_user", "ann")
    await old.terminate()
    new = await site.start()
    assert (await new.call("get_user"), await new.revision()) == (None, 0)
    for late in (("cast", "set_user", "late"), ("dispatch", "cart.keep"), ("touch",), ("terminate",), ("state",)):
        with pytest.raises(SessionNotFound):
            await getattr(old, late[0])(*late[1:])
    assert (await new.call("get_user"), await new.revision()) == (None, 0)


async def test_a_raising_on_stop_is_reported_and_the_session_goes(site: Site, stopped: list[Any], caplog: Any) -> None:
    bad, brief = await site.start("bad", cls=Told), await site.start("brief", cls=Brief)
    await bad.cast("set_user", "bad")
    with hearing(process_stopped, message_failed) as heard:
        await bad.terminate()
        await until(lambda: gone(brief))
        assert await site.functions.expire_sessions() == 1
    assert [each.get("kind") or each.get("reason") for each in heard] == ["on_stop", "terminated", "expired"]
    assert "at the end" in caplog.text
    assert (await site(Told).started("bad"), len(stopped)) == (False, 2)


async def test_an_idle_session_expires_for_every_reader_and_is_told_of_once(site: Site, stopped: list[Any]) -> None:
    brief, other = await site.start("a", cls=Brief), await site.start("b", cls=Brief)
    with hearing(process_stopped) as heard:
        await until(lambda: gone(brief))
        await until(lambda: gone(other))
        assert await site(Brief).started("a") is False
        assert (await site.functions.list_sessions(), await site.functions.count_sessions()) == ([], 0)
        assert heard == []
        counts = await asyncio.gather(*(site.functions.expire_sessions() for _ in range(4)))
        assert (sum(counts), await site.functions.expire_sessions()) == (2, 0)
    assert sorted(stopped) == [("a", None, "expired"), ("b", None, "expired")]
    assert sorted((each["session_id"], each["reason"]) for each in heard) == [("a", "expired"), ("b", "expired")]


async def test_an_expiry_is_told_of_though_the_id_was_taken_again(site: Site, stopped: list[Any]) -> None:
    brief = await site.start(cls=Brief)
    await until(lambda: gone(brief))
    with hearing(process_stopped) as heard:
        await site.start(cls=Brief)
        await until(lambda: _swept(site, stopped, 2))
    assert stopped == [("a", None, "expired")] * 2
    assert len(heard) == 2


async def _swept(site: Site, stopped: list[Any], count: int) -> bool:
    await site.functions.expire_sessions()
    return len(stopped) >= count


KEEPING: list[tuple[Any, ...]] = [
    ("dispatch", "cart.keep"),
    ("dispatch", "cart.press"),  # throttled most of the time
    ("call", "get_user"),
    ("cast", "set_user", 1),
    ("touch",),
]


async def test_every_message_keeps_a_session_alive(site: Site) -> None:
    for ttl in (0.5, 2.0, 8.0):  # longer where this machine is too slow for the shorter one
        process = type("Busy", (Told,), {"ttl": ttl, "on_stop": SessionProcess.on_stop})
        busy = [await site.start(f"{number}-{ttl:.0f}", cls=process) for number in range(len(KEEPING))]
        idle = await site.start(f"idle-{ttl:.0f}", cls=process)
        began, longest = time.monotonic(), 0.0
        while time.monotonic() - began < 1.5 * ttl and longest < ttl / 2:
            last = time.monotonic()
            for session, (name, *args) in zip(busy, KEEPING, strict=True):
                await getattr(session, name)(*args)
            await asyncio.sleep(ttl / 20)
            longest = max(longest, time.monotonic() - last)
        if longest < ttl / 2:
            assert await gone(idle)
            assert await site.functions.expire_sessions() >= 1
            assert [await session.call("whoami") for session in busy] == [session.id for session in busy]
            return
    pytest.fail("this machine is too slow")


async def test_the_default_ttl(site: Site) -> None:
    site.put(PROCESS_TTL=TWINKLING)
    shop, told = await site.start(), await site.start(cls=Told)
    await until(lambda: gone(shop))
    assert await told.call("whoami") == "a"
