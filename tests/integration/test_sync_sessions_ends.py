"""`sync_sessions`: how sessions end, who is told of it and how often; what else is told."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from syncsessions import doorbell
from syncsessions.exceptions import InvalidCode, InvalidTransition, InvalidValue, NotFound, RateLimited
from syncsessions.pairing import SyncSession, steps, sync_sessions
from syncsessions.signals import rate_limited, sync_session_closed, sync_session_joined, sync_session_opened
from tests.parties import SyncSessions
from tests.sockets import until
from tests.staff import put

pytestmark = pytest.mark.usefixtures("own_store")


@pytest.fixture
def told() -> Iterator[list[tuple[Any, ...]]]:
    heard: list[tuple[Any, ...]] = []

    def hear(signal: Any, session: SyncSession | None = None, **named: Any) -> None:
        named.pop("sender")
        heard.append((names[signal], session and session.code, *named.values()))

    names = {
        sync_session_opened: "opened",
        sync_session_joined: "joined",
        sync_session_closed: "closed",
        rate_limited: "limited",
    }
    for signal in names:
        signal.connect(hear)
    yield heard
    for signal in names:
        signal.disconnect(hear)


async def test_a_lease_ends_and_a_renewed_one_does_not(sessions: SyncSessions, settings: Any) -> None:
    put(settings, PAIRING_LEASE=0.5)
    kept, left = await sessions.create("send", "a"), await sessions.create("send", "b")

    async def gone() -> bool:
        await sessions.renew(kept.code)
        try:
            await sessions.get(left.code)
        except NotFound:
            return True
        return False

    await until(gone)
    assert (await sessions.get(kept.code)).life == kept.life
    with pytest.raises(InvalidCode):
        await sessions.claim(left.code, "peer")
    with pytest.raises(NotFound):
        await sessions.renew(left.code)
    assert [session.code for session in await sessions.list_active()] == [kept.code]


async def test_what_is_about_one_life_spares_the_next_of_its_code(sessions: SyncSessions) -> None:
    old = await sessions.create("send", "a", code="22222222")
    await sessions.delete(old.code)
    new = await sessions.create("send", "b", code="22222222")
    assert await sessions.delete(old.code, life=old.life) is False
    for late in (sessions.renew(old.code, life=old.life), sessions.update(old.code, life=old.life, peer="x")):
        with pytest.raises(NotFound):
            await late
    await sessions.end(old, "failed", "late")
    assert await sessions.get(new.code) == new


async def test_who_is_first_says_how_it_ended(sessions: SyncSessions) -> None:
    session = await sessions.create("send", "a")
    endings = await asyncio.gather(*(sessions.end(session, "failed", f"reason {number}") for number in range(10)))
    assert len(set(endings)) == 1
    assert await sync_sessions.atake(steps.ending_of(session)) == endings[0]
    assert await sessions.count_active() == 0


@pytest.mark.parametrize("status", ["pending", "connected", "nonsense", "", None, 1, ["failed"]])
async def test_what_is_no_end_ends_nothing(sessions: SyncSessions, status: Any) -> None:
    session = await sessions.create("send", "a")
    with pytest.raises(InvalidValue):
        await sessions.end(session, status, None)
    assert await sessions.get(session.code) == session


async def test_only_what_is_connected_can_be_completed(sessions: SyncSessions) -> None:
    session = await sessions.create("send", "a")
    with pytest.raises(InvalidTransition):
        await sessions.end(session, "completed", None, {"x": 1})
    assert await sessions.get(session.code) == session
    await sessions.claim(session.code, "peer")
    ending = steps.Ending("completed", None, {"x": 1})
    assert await sessions.end(session, *ending) == ending  # by what it is now, not by what the caller has read
    assert await sessions.end(session, "failed", "too late") == ending


@pytest.mark.parametrize("way", ["end", "delete", "expire"])
async def test_a_final_status_is_how_it_ended(sessions: SyncSessions, settings: Any, told: list[Any], way: str) -> None:
    session = await sessions.create("send", "a")
    await sessions.claim(session.code, "peer")
    await sessions.update(session.code, status="completed")
    del told[:]
    if way == "end":
        assert await sessions.end(session, "failed", "peer_gone") == ("completed", None, None)
    elif way == "delete":
        assert await sessions.delete(session.code) is True
    else:
        await sync_sessions.store.atouch("pairing", session.code, 0.001)
        await until(lambda: swept(told))
    assert told == [("closed", session.code, "completed", None)]


async def test_a_deletion_is_told_as_such(sessions: SyncSessions, told: list[Any]) -> None:
    session = await sessions.create("send", "a")
    del told[:]
    assert await sessions.delete(session.code) is True
    late = await sessions.end(session, "failed", "lease_expired")  # what a party says that finds it gone
    assert late == ("failed", "deleted", None)
    assert told == [("closed", session.code, "failed", "deleted")]


async def swept(told: list[Any]) -> bool:
    await sync_sessions.aexpire()
    return bool(told)


@pytest.mark.parametrize("name", ["renew", "create"])
async def test_nobody_sweeps_much_for_others(
    sessions: SyncSessions, settings: Any, told: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store, taken = sync_sessions.store, []
    mine = await sessions.create("send", "a")
    dead = [await sessions.create("send", "dead") for _number in range(200)]
    for session in dead:
        await store.atouch("pairing", session.code, 0.001, life=session.life)
    await asyncio.sleep(0.01)
    del told[:]
    execute, aexecute = store.execute, store.aexecute

    def counted(operation: Any) -> Any:
        taken.append(operation)
        return execute(operation)

    async def acounted(operation: Any) -> Any:
        taken.append(operation)
        return await aexecute(operation)

    monkeypatch.setattr(store, "execute", counted)
    monkeypatch.setattr(store, "aexecute", acounted)
    monkeypatch.setattr(sync_sessions, "_sweep_due", 0.0)
    for _time in range(5):
        await (sessions.renew(mine.code) if name == "renew" else sessions.create("send", "b"))
    assert len(taken) < 30
    assert 0 < len([each for each in told if each[0] == "closed"]) < 30
    monkeypatch.setattr("syncsessions.pairing.sessions.SWEEP_AGAIN", 0.0)
    monkeypatch.setattr(sync_sessions, "_sweep_due", 0.0)

    async def all_told() -> bool:
        await sessions.renew(mine.code)
        return len({each[1] for each in told if each[0] == "closed"}) == len(dead)

    await until(all_told)
    assert len([each for each in told if each[0] == "closed"]) == len(dead)


@pytest.mark.parametrize("committed", [True, False])
def test_in_a_transaction_nothing_is_told_before_the_commit(
    transactional_db: None, settings: Any, told: list[Any], monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    store = {"BACKEND": "syncsessions.stores.database.DatabaseStore"}
    put(settings, STORES={"default": store})
    rung: list[str] = []
    monkeypatch.setattr(doorbell, "ring", lambda group, message, bell=None: rung.append(message["type"]))
    other = sync_sessions.create("send", "a")
    del told[:], rung[:]

    def act() -> None:
        session = sync_sessions.create("send", "a")
        sync_sessions.claim(session.code, "peer")
        sync_sessions.update(session.code, sender_info={})
        sync_sessions.end(session, "completed", None)
        sync_sessions.delete(other.code)
        assert (told, rung) == ([], [])
        if not committed:
            raise KeyError

    with contextlib.nullcontext() if committed else pytest.raises(KeyError), transaction.atomic():
        act()
    kinds = [each[0] for each in told]
    assert kinds == (["opened", "joined", "closed", "closed"] if committed else [])
    assert len(rung) == (9 if committed else 0)


async def test_signals(sessions: SyncSessions, settings: Any, told: list[Any]) -> None:
    put(settings, PAIRING_GUESS_RATE="1/h")
    session = await sessions.create("send", "a")
    await sessions.claim(session.code, "peer")
    await sessions.end(session, "completed", None)
    await sessions.end(session, "failed", "too late")
    other = await sessions.create("send", "a")
    await sessions.delete(other.code)
    await sessions.delete(other.code)
    code = session.code
    assert told == [
        ("opened", code),
        ("joined", code),
        ("closed", code, "completed", None),
        ("opened", other.code),
        ("closed", other.code, "failed", "deleted"),
    ]
    del told[:]
    address = secrets.token_hex(4)
    with pytest.raises(InvalidCode):
        await sessions.claim("22222222", "peer", None, address)
    with pytest.raises(RateLimited) as caught:
        await sessions.claim("22222222", "peer", None, address)
    assert told == [("limited", None, caught.value.retry_after)]


async def test_an_expiry_is_told_once_and_an_end_is_not_told_again(
    sessions: SyncSessions, settings: Any, told: list[Any]
) -> None:
    put(settings, PAIRING_LEASE=0.2)
    lost, ended = await sessions.create("send", "a"), await sessions.create("send", "b")
    await sync_sessions.atake(steps.end(ended, steps.Ending("failed", "told by another process")))
    del told[:]

    async def swept() -> bool:
        await asyncio.gather(*(sessions.expire() for _ in range(4)))
        return bool(told)

    await until(swept)
    assert await sessions.expire() == 0
    assert told == [("closed", lost.code, "failed", "lease_expired")]
