"""`sync_sessions`: the contract's operations, statuses and errors, in sync and in async form."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from syncsessions import codes, doorbell
from syncsessions.exceptions import (
    AlreadyExists,
    AlreadyUsed,
    InvalidCode,
    InvalidTransition,
    InvalidValue,
    NotFound,
    RateLimited,
    SessionLimitReached,
)
from syncsessions.pairing import SyncSession, steps, sync_sessions
from syncsessions.pairing.session import INFO_LIMIT, NEXT
from syncsessions.signals import rate_limited, sync_session_closed, sync_session_joined, sync_session_opened
from tests.sockets import until

STATUSES = ("pending", "connected", "completed", "failed")
WAYS = {"pending": [], "connected": ["connected"], "completed": ["connected", "completed"], "failed": ["failed"]}


class Form:
    """`sync_sessions` whose operations are all awaited."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if self.name == "async":
            return getattr(sync_sessions, f"a{name}")
        return sync_to_async(getattr(sync_sessions, name))


@pytest.fixture(params=["sync", "async"])
def sessions(request: Any) -> Form:
    return Form(request.param)


@pytest.fixture(autouse=True)
def own_store(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS}


def put(settings: Any, **more: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, **more}


async def test_create_draws_a_code(sessions: Form) -> None:
    session = await sessions.create("send", "channel", {"a": 1})
    assert codes.normalise(session.code) == session.code
    assert (session.direction, session.status, session.owner, session.peer) == ("send", "pending", "channel", None)
    assert (session.sender_info, session.receiver_info, session.connected_at) == ({"a": 1}, None, None)
    assert await sessions.get(session.code) == session
    other = await sessions.create("receive", "channel", {"b": 2})
    assert (other.sender_info, other.receiver_info) == (None, {"b": 2})


async def test_a_drawn_code_that_is_taken_is_drawn_again(sessions: Form, monkeypatch: Any) -> None:
    drawn = iter(["22222222", "22222222", "33333333"])
    monkeypatch.setattr(codes, "draw", lambda: next(drawn))
    assert (await sessions.create("send", "one")).code == "22222222"
    assert (await sessions.create("send", "two")).code == "33333333"


async def test_a_given_code(sessions: Form) -> None:
    session = await sessions.create("send", "channel", code="a7x9-k2m4")
    assert session.code == "A7X9K2M4"
    with pytest.raises(AlreadyExists):
        await sessions.create("send", "channel", code="A7X9K2M4")
    with pytest.raises(InvalidValue):
        await sessions.create("send", "channel", code="A7X9K2M0")
    assert await sessions.count_active() == 1


@pytest.mark.parametrize("direction", ["", "both", None, 1, ["send"]])
async def test_directions_are_two(sessions: Form, direction: Any) -> None:
    with pytest.raises(InvalidValue):
        await sessions.create(direction, "channel")


@pytest.mark.parametrize("info", ["text", 1, [1], {"a": {1}}, {"a": float("nan")}, {"a": "\x00"}])
async def test_infos_are_json_objects(sessions: Form, info: Any) -> None:
    with pytest.raises(InvalidValue):
        await sessions.create("send", "channel", info)
    session = await sessions.create("send", "channel")
    with pytest.raises(InvalidValue):
        await sessions.claim(session.code, "peer", info)
    with pytest.raises(InvalidValue):
        await sessions.update(session.code, sender_info=info)
    assert (await sessions.get(session.code)).status == "pending"


async def test_an_info_is_small(sessions: Form) -> None:
    """Whoever looks at the live sessions reads the infos of all."""
    empty = len('{"a": ""}')
    for text, limit in (("x", INFO_LIMIT - empty), ("ü", (INFO_LIMIT - empty) // 2)):
        fits, too_large = {"a": text * limit}, {"a": text * (limit + 1)}
        session = await sessions.create("send", "channel", fits)
        assert (await sessions.update(session.code, receiver_info=fits)).receiver_info == fits
        with pytest.raises(InvalidValue) as caught:
            await sessions.create("send", "channel", too_large)
        assert caught.value.as_dict()["limit"] == INFO_LIMIT
        with pytest.raises(InvalidValue):
            await sessions.update(session.code, sender_info=too_large)
        with pytest.raises(InvalidValue):
            await sessions.claim(session.code, "peer", too_large)
        assert (await sessions.claim(session.code, "peer", fits)).receiver_info == fits


async def test_codes_in_any_spelling(sessions: Form) -> None:
    code = (await sessions.create("send", "channel")).code
    spelled = f" {code[:4].lower()}-{code[4:6]} {code[6:].lower()}\n"
    assert (await sessions.get(spelled)).code == code
    assert (await sessions.update(spelled, sender_info={"a": 1})).sender_info == {"a": 1}
    await sessions.renew(spelled)
    assert (await sessions.claim(spelled, "peer")).status == "connected"
    assert await sessions.delete(spelled) is True
    assert await sessions.delete(spelled) is False


@pytest.mark.parametrize("code", ["22222222", "", "nonsense", "A7X9K2M", None, 12345678, "\x00" * 8])
async def test_what_is_no_code_is_nowhere(sessions: Form, code: Any) -> None:
    with pytest.raises(NotFound):
        await sessions.get(code)
    with pytest.raises(NotFound):
        await sessions.update(code, owner="x")
    with pytest.raises(NotFound):
        await sessions.renew(code)
    with pytest.raises(InvalidCode):
        await sessions.claim(code, "peer")
    assert await sessions.delete(code) is False


@pytest.mark.parametrize("old", STATUSES)
@pytest.mark.parametrize("new", STATUSES)
async def test_every_step_between_statuses(sessions: Form, old: str, new: str) -> None:
    code = (await sessions.create("send", "channel")).code
    for status in WAYS[old]:
        await sessions.update(code, status=status)
    if new in NEXT[old]:
        assert (await sessions.update(code, status=new)).status == new
    else:
        with pytest.raises(InvalidTransition):
            await sessions.update(code, status=new)
        assert (await sessions.get(code)).status == old


WRONG_FIELDS: list[dict[str, Any]] = [
    {"status": "open"},
    {"status": None},
    {"status": 1},
    {"status": ["failed"]},
    {"created_at": 1},
    {"expires_at": 1},
    {"nonsense": 1},
    {"owner": None},
    {"peer": 1},
    {"direction": "both"},
]


@pytest.mark.parametrize("fields", WRONG_FIELDS, ids=str)
async def test_what_cannot_be_updated(sessions: Form, fields: Any) -> None:
    session = await sessions.create("send", "channel")
    with pytest.raises(InvalidValue):
        await sessions.update(session.code, sender_info={"not": "kept"}, **fields)
    assert await sessions.get(session.code) == session


async def test_updates_side_by_side_all_hold(sessions: Form) -> None:
    code = (await sessions.create("send", "channel")).code
    await asyncio.gather(
        *(sessions.update(code, sender_info={"n": number}) for number in range(10)),
        sessions.update(code, peer="peer"),
        sessions.update(code, owner="another"),
        sessions.update(code, status="connected"),
    )
    found = await sessions.get(code)
    assert (found.owner, found.peer, found.status) == ("another", "peer", "connected")
    assert found.sender_info is not None


async def test_one_claim_wins(sessions: Form) -> None:
    code = (await sessions.create("send", "channel")).code

    async def claim(number: int) -> str:
        try:
            return str((await sessions.claim(code, f"peer-{number}", {"n": number})).peer)
        except AlreadyUsed:
            return "used"

    outcomes = await asyncio.gather(*(claim(number) for number in range(50)))
    (winner,) = [outcome for outcome in outcomes if outcome != "used"]
    found = await sessions.get(code)
    assert (found.peer, found.status, found.connected_at is not None) == (winner, "connected", True)
    assert found.receiver_info == {"n": int(winner.rpartition("-")[2])}


@pytest.mark.parametrize("status", ["connected", "completed", "failed"])
async def test_a_used_code_stays_used_and_a_dead_one_is_none(sessions: Form, status: str) -> None:
    code = (await sessions.create("send", "channel")).code
    for step in WAYS[status]:
        await sessions.update(code, status=step)
    with pytest.raises(AlreadyUsed):
        await sessions.claim(code, "peer")
    await sessions.delete(code)
    with pytest.raises(InvalidCode):
        await sessions.claim(code, "peer")


async def test_wrong_guesses_are_counted_by_address(sessions: Form, settings: Any) -> None:
    put(settings, PAIRING_GUESS_RATE="3/m")
    address, other = secrets.token_hex(4), secrets.token_hex(4)
    code = (await sessions.create("send", "channel")).code
    used = (await sessions.create("send", "channel")).code
    await sessions.claim(used, "peer", None, other)
    for _ in range(5):
        with pytest.raises(AlreadyUsed):
            await sessions.claim(used, "peer", None, address)
        with pytest.raises(InvalidValue):
            await sessions.claim(code, "peer", {"a": {1}}, address)
    for wrong in ("22222222", "nonsense", ""):
        with pytest.raises(InvalidCode):
            await sessions.claim(wrong, "peer", None, address)
    for tried in ("22222222", code, used):
        with pytest.raises(RateLimited) as caught:
            await sessions.claim(tried, "peer", None, address)
        assert 0 < caught.value.retry_after <= 60
    assert (await sessions.get(code)).status == "pending"
    assert (await sessions.claim(code, "peer", None, other)).status == "connected"
    for _ in range(5):
        with pytest.raises(InvalidCode):
            await sessions.claim("22222222", "peer")  # the project's own code, without an address


async def test_a_lease_ends_and_a_renewed_one_does_not(sessions: Form, settings: Any) -> None:
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


async def test_count_and_list(sessions: Form) -> None:
    made = [(await sessions.create("send", f"channel-{number}")).code for number in range(5)]
    assert await sessions.count_active() == 5
    assert [session.code for session in await sessions.list_active()] == made[::-1]
    assert [session.code for session in await sessions.list_active(offset=1, limit=2)] == made[::-1][1:3]


async def test_the_limit(sessions: Form, settings: Any) -> None:
    put(settings, PAIRING_MAX_SESSIONS=2)
    first = await sessions.create("send", "a")
    await sessions.create("send", "b")
    with pytest.raises(SessionLimitReached):
        await sessions.create("send", "c")
    await sessions.delete(first.code)
    await sessions.create("send", "c")


async def test_what_is_about_one_life_spares_the_next_of_its_code(sessions: Form) -> None:
    old = await sessions.create("send", "a", code="22222222")
    await sessions.delete(old.code)
    new = await sessions.create("send", "b", code="22222222")
    assert await sessions.delete(old.code, life=old.life) is False
    for late in (sessions.renew(old.code, life=old.life), sessions.update(old.code, life=old.life, peer="x")):
        with pytest.raises(NotFound):
            await late
    await sessions.end(old, "failed", "late")
    assert await sessions.get(new.code) == new


async def test_who_is_first_says_how_it_ended(sessions: Form) -> None:
    session = await sessions.create("send", "a")
    endings = await asyncio.gather(*(sessions.end(session, "failed", f"reason {number}") for number in range(10)))
    assert len(set(endings)) == 1
    assert await sync_sessions.atake(steps.ending_of(session)) == endings[0]
    assert await sessions.count_active() == 0


@pytest.mark.parametrize("status", ["pending", "connected", "nonsense", "", None, 1, ["failed"]])
async def test_what_is_no_end_ends_nothing(sessions: Form, status: Any) -> None:
    session = await sessions.create("send", "a")
    with pytest.raises(InvalidValue):
        await sessions.end(session, status, None)
    assert await sessions.get(session.code) == session


async def test_only_what_is_connected_can_be_completed(sessions: Form) -> None:
    session = await sessions.create("send", "a")
    with pytest.raises(InvalidTransition):
        await sessions.end(session, "completed", None, {"x": 1})
    assert await sessions.get(session.code) == session
    await sessions.claim(session.code, "peer")
    ending = steps.Ending("completed", None, {"x": 1})
    assert await sessions.end(session, *ending) == ending  # by what it is now, not by what the caller has read
    assert await sessions.end(session, "failed", "too late") == ending


@pytest.mark.parametrize("way", ["end", "delete", "expire"])
async def test_a_final_status_is_how_it_ended(sessions: Form, settings: Any, told: list[Any], way: str) -> None:
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


async def test_a_deletion_is_told_as_such(sessions: Form, told: list[Any]) -> None:
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
    sessions: Form, settings: Any, told: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
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


async def test_signals(sessions: Form, settings: Any, told: list[Any]) -> None:
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
    sessions: Form, settings: Any, told: list[Any]
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


async def test_no_code_is_shown(sessions: Form, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    session = await sessions.create("send", "a")
    code = session.code
    assert repr(session) == f"<SyncSession {code[:2]}•••••• send pending>"
    record = await sync_sessions.store.aget("pairing", code)
    assert code not in repr(record)
    for failing in (
        sessions.create("send", "b", code=code),
        sessions.update(code, status="completed"),
        sessions.update(code, nonsense=1),
    ):
        with pytest.raises((AlreadyExists, InvalidTransition, InvalidValue)) as caught:
            await failing
        assert code not in f"{caught.value!r} {caught.value} {caught.value.as_dict()}"
    await sessions.claim(code, "peer")
    with pytest.raises(AlreadyUsed) as used:
        await sessions.claim(code, "peer")
    assert code not in f"{used.value!r} {used.value.as_dict()}"
    await sessions.delete(code)
    assert code not in caplog.text
