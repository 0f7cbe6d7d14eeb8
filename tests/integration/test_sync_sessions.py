"""`sync_sessions`: the contract's operations, statuses and errors, in sync and in async form."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

import pytest

from syncsessions import codes
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
from syncsessions.pairing import sync_sessions
from syncsessions.pairing.session import INFO_LIMIT, NEXT
from tests.parties import SyncSessions
from tests.staff import put

pytestmark = pytest.mark.usefixtures("own_store")

STATUSES = ("pending", "connected", "completed", "failed")
WAYS = {"pending": [], "connected": ["connected"], "completed": ["connected", "completed"], "failed": ["failed"]}


async def test_create_draws_a_code(sessions: SyncSessions) -> None:
    session = await sessions.create("send", "channel", {"a": 1})
    assert codes.normalise(session.code) == session.code
    assert (session.direction, session.status, session.owner, session.peer) == ("send", "pending", "channel", None)
    assert (session.sender_info, session.receiver_info, session.connected_at) == ({"a": 1}, None, None)
    assert await sessions.get(session.code) == session
    other = await sessions.create("receive", "channel", {"b": 2})
    assert (other.sender_info, other.receiver_info) == (None, {"b": 2})


async def test_a_drawn_code_that_is_taken_is_drawn_again(sessions: SyncSessions, monkeypatch: Any) -> None:
    drawn = iter(["22222222", "22222222", "33333333"])
    monkeypatch.setattr(codes, "draw", lambda: next(drawn))
    assert (await sessions.create("send", "one")).code == "22222222"
    assert (await sessions.create("send", "two")).code == "33333333"


async def test_a_given_code(sessions: SyncSessions) -> None:
    session = await sessions.create("send", "channel", code="a7x9-k2m4")
    assert session.code == "A7X9K2M4"
    with pytest.raises(AlreadyExists):
        await sessions.create("send", "channel", code="A7X9K2M4")
    with pytest.raises(InvalidValue):
        await sessions.create("send", "channel", code="A7X9K2M0")
    assert await sessions.count_active() == 1


@pytest.mark.parametrize("direction", ["", "both", None, 1, ["send"]])
async def test_directions_are_two(sessions: SyncSessions, direction: Any) -> None:
    with pytest.raises(InvalidValue):
        await sessions.create(direction, "channel")


@pytest.mark.parametrize("info", ["text", 1, [1], {"a": {1}}, {"a": float("nan")}, {"a": "\x00"}])
async def test_infos_are_json_objects(sessions: SyncSessions, info: Any) -> None:
    with pytest.raises(InvalidValue):
        await sessions.create("send", "channel", info)
    session = await sessions.create("send", "channel")
    with pytest.raises(InvalidValue):
        await sessions.claim(session.code, "peer", info)
    with pytest.raises(InvalidValue):
        await sessions.update(session.code, sender_info=info)
    assert (await sessions.get(session.code)).status == "pending"


async def test_an_info_is_small(sessions: SyncSessions) -> None:
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


async def test_codes_in_any_spelling(sessions: SyncSessions) -> None:
    code = (await sessions.create("send", "channel")).code
    spelled = f" {code[:4].lower()}-{code[4:6]} {code[6:].lower()}\n"
    assert (await sessions.get(spelled)).code == code
    assert (await sessions.update(spelled, sender_info={"a": 1})).sender_info == {"a": 1}
    await sessions.renew(spelled)
    assert (await sessions.claim(spelled, "peer")).status == "connected"
    assert await sessions.delete(spelled) is True
    assert await sessions.delete(spelled) is False


@pytest.mark.parametrize("code", ["22222222", "", "nonsense", "A7X9K2M", None, 12345678, "\x00" * 8])
async def test_what_is_no_code_is_nowhere(sessions: SyncSessions, code: Any) -> None:
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
async def test_every_step_between_statuses(sessions: SyncSessions, old: str, new: str) -> None:
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
async def test_what_cannot_be_updated(sessions: SyncSessions, fields: Any) -> None:
    session = await sessions.create("send", "channel")
    with pytest.raises(InvalidValue):
        await sessions.update(session.code, sender_info={"not": "kept"}, **fields)
    assert await sessions.get(session.code) == session


async def test_updates_side_by_side_all_hold(sessions: SyncSessions) -> None:
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


async def test_one_claim_wins(sessions: SyncSessions) -> None:
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
async def test_a_used_code_stays_used_and_a_dead_one_is_none(sessions: SyncSessions, status: str) -> None:
    code = (await sessions.create("send", "channel")).code
    for step in WAYS[status]:
        await sessions.update(code, status=step)
    with pytest.raises(AlreadyUsed):
        await sessions.claim(code, "peer")
    await sessions.delete(code)
    with pytest.raises(InvalidCode):
        await sessions.claim(code, "peer")


async def test_wrong_guesses_are_counted_by_address(sessions: SyncSessions, settings: Any) -> None:
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


async def test_count_and_list(sessions: SyncSessions) -> None:
    made = [(await sessions.create("send", f"channel-{number}")).code for number in range(5)]
    assert await sessions.count_active() == 5
    assert [session.code for session in await sessions.list_active()] == made[::-1]
    assert [session.code for session in await sessions.list_active(offset=1, limit=2)] == made[::-1][1:3]


async def test_the_limit(sessions: SyncSessions, settings: Any) -> None:
    put(settings, PAIRING_MAX_SESSIONS=2)
    first = await sessions.create("send", "a")
    await sessions.create("send", "b")
    with pytest.raises(SessionLimitReached):
        await sessions.create("send", "c")
    await sessions.delete(first.code)
    await sessions.create("send", "c")


async def test_no_code_is_shown(sessions: SyncSessions, caplog: Any) -> None:
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
