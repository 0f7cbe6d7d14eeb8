"""`ws/sync/`: the contract's frames and codes, both parties, their ends; on one process and the memory store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User

from syncsessions import frames
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.exceptions import InvalidValue, NotFound, RateLimited
from syncsessions.pairing import SyncSession, announce, sync_sessions
from syncsessions.pairing.session import RESERVED
from syncsessions.signals import sync_session_closed
from tests.parties import joined, new_user, opened, owner_page, peer_page
from tests.sockets import Page, new_session, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("error")]


@pytest.fixture(autouse=True)
def settings_of_pairing(settings: Any) -> Any:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_LEASE": 30}
    return settings


def lease(settings: Any, seconds: float) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_LEASE": seconds}


async def gone(code: str) -> bool:
    try:
        await sync_sessions.aget(code)
    except NotFound:
        return True
    return False


async def test_open_join_and_what_each_is_told() -> None:
    async with owner_page() as owner, peer_page() as peer:
        answer = await owner.ask(type="session.open", direction="send", info={"device": "laptop"}, ref="r1")
        session = answer["session"]
        assert answer == {
            "type": "session.opened",
            "ref": "r1",
            "session": {
                "code": session["code"],
                "direction": "send",
                "status": "pending",
                "sender_info": {"device": "laptop"},
                "receiver_info": None,
            },
        }
        assert len(session["code"]) == 8
        spelled = f" {session['code'][:4].lower()} - {session['code'][4:]}"
        answer = await peer.ask(type="session.join", code=spelled, info={"device": "phone"}, ref=7)
        both = {
            "direction": "send",
            "status": "connected",
            "sender_info": {"device": "laptop"},
            "receiver_info": {"device": "phone"},
        }
        assert answer == {"type": "session.joined", "ref": 7, "session": both}
        assert await owner.hear() == {"type": "session.peer_joined", "session": {"code": session["code"], **both}}
        found = await sync_sessions.aget(session["code"])
        assert (found.status, found.sender_info, found.receiver_info) == ("connected", *list(both.values())[2:])
        assert found.connected_at is not None
        assert found.connected_at >= found.created_at


async def test_the_owner_who_receives_is_the_receiver() -> None:
    async with owner_page() as owner, peer_page() as peer:
        session = await opened(owner, "receive", info={"n": 1})
        answer = await peer.ask(type="session.join", code=session["code"], info={"n": 2})
        assert (answer["session"]["receiver_info"], answer["session"]["sender_info"]) == ({"n": 1}, {"n": 2})


async def test_relays_both_ways_in_order_and_acknowledged() -> None:
    async with owner_page() as owner, peer_page() as peer:
        await joined(owner, peer)
        for sender, reader in ((owner, peer), (peer, owner)):
            payloads = [1, None, "ä\n😀", {"a": [1, 2.5, {"b": None}]}, [], False]
            for seq, payload in enumerate(payloads, start=1):
                await sender.say(type="session.relay", payload=payload)
                assert await reader.hear() == {"type": "session.relay", "seq": seq, "payload": payload}
            await reader.say(type="session.ack", seq=2)
            assert await sender.hear() == {"type": "session.relayed", "seq": 2}
            await reader.say(type="session.ack", seq=6)
            assert await sender.hear() == {"type": "session.relayed", "seq": 6}


async def test_the_window_of_sixteen() -> None:
    async with owner_page() as owner, peer_page() as peer:
        await joined(owner, peer)
        for number in range(16):
            await owner.say(type="session.relay", payload=number)
        refused = await owner.ask(type="session.relay", payload="one too many", ref="late")
        assert (refused["type"], refused["code"], refused["ref"]) == ("error", "window_full", "late")
        for number in range(16):
            assert (await peer.hear("session.relay"))["payload"] == number
        await peer.say(type="session.ack", seq=1)
        assert (await owner.hear("session.relayed"))["seq"] == 1
        await owner.say(type="session.relay", payload="next")
        assert await peer.hear() == {"type": "session.relay", "seq": 17, "payload": "next"}


@pytest.mark.parametrize("seq", [0, 2, -1, True, None, "1", 1.5, [], {}])
async def test_an_acknowledgement_of_what_was_never_sent(seq: Any) -> None:
    async with owner_page() as owner, peer_page() as peer:
        await joined(owner, peer)
        await owner.say(type="session.relay", payload=1)
        await peer.hear("session.relay")
        answer = await peer.ask(type="session.ack", seq=seq)
        assert answer["code"] == "bad_frame"


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"type": "session.complete"}, {"status": "completed", "reason": None}),
        ({"type": "session.complete", "result": {"n": 1}}, {"status": "completed", "reason": None, "result": {"n": 1}}),
        ({"type": "session.fail", "reason": "no disk"}, {"status": "failed", "reason": "no disk"}),
    ],
)
@pytest.mark.parametrize("by_owner", [True, False])
async def test_either_ends_it_for_both_and_the_code_is_dead(frame: Any, told: Any, by_owner: bool) -> None:
    async with owner_page() as owner, peer_page() as peer, peer_page() as late:
        code = await joined(owner, peer)
        one, other = (owner, peer) if by_owner else (peer, owner)
        answer = await one.ask(**frame, ref="end")
        assert answer == {"type": "session.closed", "ref": "end", **told}
        assert await other.hear() == {"type": "session.closed", **told}
        assert await gone(code)
        assert (await late.ask(type="session.join", code=code))["code"] == "invalid_code"
        for page in (owner, peer):
            for kind in ("session.relay", "session.ack", "session.complete", "session.fail"):
                answer = await page.ask(type=kind, payload=1, seq=1, reason="x")
                assert answer["code"] == "not_in_session"
        await joined(owner, peer)


async def test_what_was_relayed_before_the_end_arrives_before_it() -> None:
    async with owner_page() as owner, peer_page() as peer:
        await joined(owner, peer)
        for number in range(10):
            await owner.say(type="session.relay", payload=number)
        await owner.say(type="session.complete")
        for number in range(10):
            assert (await peer.hear("session.relay"))["payload"] == number
        assert (await peer.hear())["type"] == "session.closed"


@pytest.mark.parametrize("by_owner", [True, False])
async def test_a_party_that_goes(by_owner: bool) -> None:
    async with peer_page() as late, owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        going, staying = (owner, peer) if by_owner else (peer, owner)
        await going.socket.disconnect()
        reason = "owner_gone" if by_owner else "peer_gone"
        assert await staying.hear() == {"type": "session.closed", "status": "failed", "reason": reason}
        assert await gone(code)
        assert (await late.ask(type="session.join", code=code))["code"] == "invalid_code"
        assert (await staying.ask(type="ping"))["type"] == "pong"


async def test_an_owner_who_goes_before_anybody_came() -> None:
    async with owner_page() as owner:
        code = (await opened(owner))["code"]
    assert await gone(code)
    assert await sync_sessions.store.acount("pairing.places") == 0


async def test_one_of_many_joins() -> None:
    async with owner_page() as owner:
        code = (await opened(owner))["code"]
        pages = [peer_page() for _ in range(10)]
        peers = [await page.__aenter__() for page in pages]
        answers = await asyncio.gather(*(peer.ask(type="session.join", code=code) for peer in peers))
        kinds = sorted(answer.get("code", answer["type"]) for answer in answers)
        assert kinds == ["already_used"] * 9 + ["session.joined"]
        await owner.hear("session.peer_joined")
        for page in pages:
            await page.__aexit__(None, None, None)


async def test_one_session_a_socket() -> None:
    async with owner_page() as owner, owner_page() as other, peer_page() as peer:
        code = await joined(owner, peer)
        free = (await opened(other))["code"]
        for page in (owner, peer):
            assert (await page.ask(type="session.open", direction="send"))["code"] == "already_open"
            assert (await page.ask(type="session.join", code=free))["code"] == "already_open"
        assert (await other.ask(type="session.join", code=code))["code"] == "already_open"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "session.open"}, "bad_frame"),
        ({"type": "session.open", "direction": "both"}, "bad_frame"),
        ({"type": "session.open", "direction": ["send"]}, "bad_frame"),
        ({"type": "session.open", "direction": "send", "info": "me"}, "bad_frame"),
        ({"type": "session.open", "direction": "send", "info": {"a": "\x00"}}, "invalid_value"),
        ({"type": "session.open", "direction": "send", "info": {"a": "x" * 5000}}, "invalid_value"),
        ({"type": "session.join"}, "bad_frame"),
        ({"type": "session.join", "code": 12345678}, "bad_frame"),
        ({"type": "session.join", "code": "22222222", "info": []}, "bad_frame"),
        ({"type": "session.join", "code": "22222222"}, "invalid_code"),
        ({"type": "session.join", "code": "not a code"}, "invalid_code"),
        ({"type": "session.relay", "payload": 1}, "not_in_session"),
        ({"type": "session.ack", "seq": 1}, "not_in_session"),
        ({"type": "session.complete"}, "not_in_session"),
        ({"type": "session.fail", "reason": "x"}, "not_in_session"),
        ({"type": "session.end"}, "unknown_type"),
        ({"type": "stash.save"}, "unknown_type"),
    ],
)
async def test_frames_that_cannot_be_taken(frame: Any, code: str) -> None:
    async with owner_page() as owner:
        answer = await owner.ask(**frame, ref=0)
        assert (answer["type"], answer["code"], answer["ref"]) == ("error", code, 0)
        assert answer["message"]
        assert (await owner.ask(type="ping"))["type"] == "pong"


async def test_frames_that_cannot_be_taken_in_a_session() -> None:
    async with owner_page() as owner, peer_page() as peer:
        await opened(owner)
        assert (await owner.ask(type="session.relay", payload=1))["code"] == "not_in_session"
        assert (await owner.ask(type="session.complete"))["code"] == "invalid_transition"
        await owner.ask(type="session.fail", reason="again")
        await joined(owner, peer)
        assert (await owner.ask(type="session.relay"))["code"] == "bad_frame"
        assert (await owner.ask(type="session.fail", reason=1))["code"] == "bad_frame"
        assert (await owner.ask(type="session.fail", reason="x" * 201))["code"] == "bad_frame"
        refused = await owner.ask(type="session.relay", payload={"a": "\ud800"})
        assert refused["code"] == "invalid_value"
        await owner.say(type="session.relay", payload="first")
        assert (await peer.hear("session.relay"))["seq"] == 1


async def test_nobody_opens_without_a_login_unless_the_class_says_so() -> None:
    class Open(SyncSessionConsumer):
        open_requires_login = False

    class Closed(SyncSessionConsumer):
        join_requires_login = True

        async def authorize(self, direction: str) -> bool:
            return direction == "receive"

    async with peer_page() as page:
        assert (await page.ask(type="session.open", direction="send"))["code"] == "not_allowed"
    async with Page(await new_session()) as page, Page(await new_session(), Open) as free:
        assert (await free.ask(type="session.open", direction="send"))["type"] == "session.opened"
    async with owner_page(Closed) as owner, peer_page(Closed) as peer:
        assert (await owner.ask(type="session.open", direction="send"))["code"] == "not_allowed"
        code = (await opened(owner, "receive"))["code"]
        assert (await peer.ask(type="session.join", code=code))["code"] == "not_allowed"
        assert (await sync_sessions.aget(code)).status == "pending"


async def test_a_user_owns_so_many_at_a_time(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_MAX_PER_USER": 2}
    user = await new_user()
    async with owner_page(user=user) as one, owner_page(user=user) as two, owner_page() as other:
        async with owner_page(user=user) as three:
            await opened(one)
            await opened(two)
            assert (await three.ask(type="session.open", direction="send"))["code"] == "session_limit_reached"
            await opened(other)
            await two.ask(type="session.fail", reason="make room")
            await opened(three)
            assert (await two.ask(type="session.open", direction="send"))["code"] == "session_limit_reached"
        await opened(two)


async def test_the_limit_of_all(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_MAX_SESSIONS": 1}
    async with owner_page() as one, owner_page() as two:
        await opened(one)
        assert (await two.ask(type="session.open", direction="send"))["code"] == "session_limit_reached"
        await one.ask(type="session.fail", reason="make room")
        await opened(two)


async def test_a_guesser_is_stopped_and_nobody_else() -> None:
    async with owner_page() as owner, peer_page(address="203.0.113.7") as guesser, peer_page() as peer:
        code = (await opened(owner))["code"]
        for _ in range(10):
            assert (await guesser.ask(type="session.join", code="22222222"))["code"] == "invalid_code"
        for tried in ("22222222", "nonsense", code):
            answer = await guesser.ask(type="session.join", code=tried)
            assert answer["code"] == "rate_limited"
            assert 0 < answer["retry_after"] <= 60
        assert (await peer.ask(type="session.join", code=code))["type"] == "session.joined"


async def test_right_codes_spend_no_rate() -> None:
    async with owner_page() as owner, peer_page() as peer, peer_page() as late:
        for _ in range(12):
            code = await joined(owner, peer)
            assert (await late.ask(type="session.join", code=code))["code"] == "already_used"
            await peer.ask(type="session.complete")
            await owner.hear("session.closed")


async def test_a_whole_session_after_another_on_the_same_sockets_with_roles_changed() -> None:
    async with owner_page() as one, owner_page() as two:
        for owner, peer in ((one, two), (two, one), (one, two)):
            await joined(owner, peer)
            await owner.say(type="session.relay", payload="x")
            assert await peer.hear() == {"type": "session.relay", "seq": 1, "payload": "x"}
            await peer.ask(type="session.complete")
            await owner.hear("session.closed")


async def test_a_session_that_lost_its_record_ends_for_both(settings: Any) -> None:
    lease(settings, 1)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        found = await sync_sessions.aget(code)
        await sync_sessions.store.adelete("pairing", code, life=found.life)
        for page in (owner, peer):
            assert await page.hear() == {"type": "session.closed", "status": "failed", "reason": "lease_expired"}


async def test_leases_are_renewed_as_long_as_both_are_there(settings: Any) -> None:
    lease(settings, 1.5)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        first = await sync_sessions.aget(code)

        async def renewed() -> bool:
            return (await sync_sessions.aget(code)).expires_at.timestamp() > first.expires_at.timestamp() + 2

        await until(renewed)
        await owner.say(type="session.relay", payload="still here")
        assert (await peer.hear("session.relay"))["payload"] == "still here"


async def test_an_owner_whose_process_dies_is_found_out_by_the_peer(settings: Any, monkeypatch: Any) -> None:
    lease(settings, 1)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        _silence(monkeypatch, owns=True)
        assert (await peer.hear())["reason"] == "lease_expired"
        assert await gone(code)


async def test_a_peer_whose_process_dies_is_found_out_by_the_owner(settings: Any, monkeypatch: Any) -> None:
    lease(settings, 1)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        _silence(monkeypatch, owns=False)
        assert (await owner.hear())["reason"] == "peer_gone"
        assert await gone(code)


@pytest.fixture
def closings() -> Iterator[list[str | None]]:
    """The reasons that sync_session_closed told."""
    reasons: list[str | None] = []

    def hear(reason: str | None, **named: Any) -> None:
        reasons.append(reason)

    sync_session_closed.connect(hear)
    yield reasons
    sync_session_closed.disconnect(hear)


SOON = 3.0  # seconds: before the parties would look by themselves


async def test_a_deletion_is_told_to_both_as_such_and_once(closings: list[str | None]) -> None:
    async with owner_page() as owner, peer_page() as peer:
        assert await sync_sessions.adelete(await joined(owner, peer))
        for page in (owner, peer):
            told = await page.hear_within(SOON)
            assert told == {"type": "session.closed", "status": "failed", "reason": "deleted"}
    assert closings == ["deleted"]


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_an_update_to_a_final_status_is_told_to_both_at_once(status: str, closings: list[str | None]) -> None:
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        await sync_sessions.aupdate(code, status=status)
        for page in (owner, peer):
            told = await page.hear_within(SOON)
            assert told == {"type": "session.closed", "status": status, "reason": None}
        assert await gone(code)
    assert closings == [None]


async def test_a_claim_in_python_is_told_to_the_owner_at_once() -> None:
    async with owner_page() as owner:
        code = (await opened(owner))["code"]
        await sync_sessions.aclaim(code, "somebody", {"n": 1})
        told = await owner.hear_within(SOON)
        assert (told["type"], told["session"]["receiver_info"]) == ("session.peer_joined", {"n": 1})


async def test_who_is_late_gives_back_no_place_of_the_next(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_MAX_PER_USER": 1}
    user, store = await new_user(), sync_sessions.store
    async with owner_page(user=user) as late, owner_page(user=user) as one, owner_page(user=user) as two:
        session = await sync_sessions.aget((await opened(late))["code"])
        for namespace in ("pairing", "pairing.places"):
            (record,) = await store.alist(namespace)
            await store.atouch(namespace, record.id, 0.001)
        await asyncio.sleep(0.01)
        await opened(one)
        announce.look(session)
        assert (await late.hear_within(SOON))["reason"] == "lease_expired"
        assert (await two.ask(type="session.open", direction="send"))["code"] == "session_limit_reached"
        assert await store.acount("pairing.places") == 1


async def test_a_place_that_is_gone_is_taken_anew() -> None:
    store = sync_sessions.store
    async with owner_page() as owner:
        session = await sync_sessions.aget((await opened(owner))["code"])
        (record,) = await store.alist("pairing.places")
        await store.adelete("pairing.places", record.id)
        announce.look(session)

        async def taken() -> bool:
            return await store.acount("pairing.places") == 1

        await until(taken)
        assert await owner.heard_nothing()
    assert await store.acount("pairing.places") == 0


async def test_a_session_whose_place_went_to_another_ends(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_MAX_PER_USER": 1}
    user, store = await new_user(), sync_sessions.store
    async with owner_page(user=user) as late, owner_page(user=user) as one:
        session = await sync_sessions.aget((await opened(late))["code"])
        (record,) = await store.alist("pairing.places")
        await store.adelete("pairing.places", record.id)
        await opened(one)
        announce.look(session)
        assert (await late.hear_within(SOON))["reason"] == "lease_expired"
        assert await sync_sessions.acount_active() == 1
        assert await store.acount("pairing.places") == 1


@pytest.mark.parametrize("reason", sorted(RESERVED))
async def test_what_only_the_server_says_no_client_can_say(reason: str) -> None:
    async with owner_page() as owner, peer_page() as peer:
        await joined(owner, peer)
        for page in (owner, peer):
            assert (await page.ask(type="session.fail", reason=reason))["code"] == "bad_frame"
        await owner.say(type="session.relay", payload="goes on")
        await peer.hear("session.relay")


def _silence(monkeypatch: Any, *, owns: bool) -> None:
    """The consumers of this role do and hear nothing any more, as if their process were gone."""
    for name in ("alarm", "heard", "closed", "catch_up"):
        monkeypatch.setattr(SyncSessionConsumer, name, _unless(owns, getattr(SyncSessionConsumer, name)))


def _unless(owns: bool, method: Any) -> Any:
    async def selective(self: Any, *args: Any) -> None:
        if self.owns is not owns:
            await method(self, *args)

    return selective


@pytest.mark.parametrize("by_owner", [True, False])
async def test_logout_tells_both_and_closes_the_socket(by_owner: bool) -> None:
    user = await new_user()
    key = await new_session(user)
    async with owner_page() as another, peer_page() as anonymous, Page(key, SyncSessionConsumer) as page:
        owner, peer = (page, anonymous) if by_owner else (another, page)
        code = await joined(owner, peer)
        await _log_out(key)
        closed = {"type": "session.closed", "status": "failed", "reason": "logged_out"}
        assert await page.hear() == closed
        assert await page.close_code() == 4401
        assert await (anonymous if by_owner else another).hear() == closed
        assert await gone(code)


async def _log_out(key: str) -> None:
    from asgiref.sync import sync_to_async
    from django.test import Client

    client = Client()
    client.cookies["sessionid"] = key
    await sync_to_async(client.post)("/accounts/logout/")


async def test_hooks_of_a_subclass(user_hooks: list[Any]) -> None:
    class Hooked(SyncSessionConsumer):
        async def on_joined(self, session: SyncSession) -> None:
            user_hooks.append(("joined", self.owns, session.status))

        async def on_relay(self, payload: Any) -> None:
            if payload == "refused":
                raise InvalidValue("not this")
            user_hooks.append(("relay", self.owns, payload))

        async def on_closed(self, status: str, reason: str | None) -> None:
            user_hooks.append(("closed", self.owns, status, reason))

    async with owner_page(Hooked) as owner, peer_page(Hooked) as peer:
        await joined(owner, peer)
        assert (await peer.ask(type="session.relay", payload="refused"))["code"] == "invalid_value"
        await peer.say(type="session.relay", payload={"a": 1})
        assert await owner.hear() == {"type": "session.relay", "seq": 1, "payload": {"a": 1}}
        await owner.ask(type="session.fail", reason="done")
        await peer.hear("session.closed")
    assert sorted(user_hooks[:2]) == [("joined", False, "connected"), ("joined", True, "connected")]
    assert user_hooks[2] == ("relay", False, {"a": 1})
    assert sorted(user_hooks[3:]) == [("closed", False, "failed", "done"), ("closed", True, "failed", "done")]


@pytest.fixture
def user_hooks() -> list[Any]:
    return []


@pytest.mark.parametrize("by_logout", [False, True])
async def test_a_hook_that_fails_at_the_end_is_logged_and_keeps_no_socket(caplog: Any, by_logout: bool) -> None:
    class Failing(SyncSessionConsumer):
        async def on_closed(self, status: str, reason: str | None) -> None:
            raise ValueError("The hook failed.")

    key = await new_session(await new_user())
    async with Page(key, Failing) as page:
        code = (await opened(page))["code"]
        if by_logout:
            await _log_out(key)
            assert await page.close_code() == 4401
    assert await gone(code)
    assert "The hook failed." in caplog.text


async def test_acknowledgements_are_free_and_floods_are_not() -> None:
    class Slow(SyncSessionConsumer):
        frame_rate = 0.001
        frame_burst = 40

    async with owner_page(Slow) as owner, peer_page(Slow) as peer:
        await joined(owner, peer)
        for seq in range(1, 31):
            await owner.say(type="session.relay", payload=seq)
            await peer.hear("session.relay")
            await peer.say(type="session.ack", seq=seq)
            await owner.hear("session.relayed")
        for _ in range(39):
            assert (await peer.ask(type="ping"))["type"] == "pong"
        answer = await peer.ask(type="session.ack", seq=1)
        assert (answer["code"], answer["retry_after"] > 1) == ("rate_limited", True)
        answer = await peer.ask(type="session.ack", seq=99)
        assert answer["code"] == "rate_limited"


async def test_no_relay_is_taken_before_one_that_was_refused_for_its_rate(monkeypatch: Any) -> None:
    monkeypatch.setattr(frames, "WAIT_FOR_TURN", 1.0)

    class Slow(SyncSessionConsumer):
        frame_rate = 5
        frame_burst = 4

    async with owner_page(Slow) as owner, peer_page() as peer:
        await joined(owner, peer)
        for number in range(1, 7):  # one of the burst was spent to open
            await owner.say(type="session.relay", payload=number, ref=f"relay-{number}")
        refused = [await owner.hear("error") for _ in range(3)]
        assert [(error["ref"], error["code"]) for error in refused] == [
            (f"relay-{number}", "rate_limited") for number in (4, 5, 6)
        ]
        assert 0 < refused[0]["retry_after"] <= 1 / Slow.frame_rate + 0.001
        await asyncio.sleep(refused[0]["retry_after"])
        error = await owner.ask(type="session.relay", payload=5, ref="relay-5")
        assert (error["code"], 0 < error["retry_after"] < 1) == ("rate_limited", True)
        await owner.say(type="session.relay", payload=4, ref="relay-4")
        await asyncio.sleep(1 / Slow.frame_rate)
        await owner.say(type="session.relay", payload=5, ref="relay-5")
        await owner.say(type="session.relay", payload="given up", ref="relay-6")
        heard = [await peer.hear("session.relay") for _ in range(5)]
        assert [frame["payload"] for frame in heard] == [1, 2, 3, 4, 5]
        assert (await owner.hear("error"))["ref"] == "relay-6"
        error = await owner.ask(type="session.relay", payload="too soon")
        await asyncio.sleep(error["retry_after"])
        await owner.say(type="session.relay", payload="in time", ref="another")
        assert (await peer.hear("session.relay"))["payload"] == "in time"


async def test_a_relay_that_a_subclass_puts_off_keeps_its_place() -> None:
    class Moody(SyncSessionConsumer):
        refusing: ClassVar[set[Any]] = {2}

        async def on_relay(self, payload: Any) -> None:
            if payload in self.refusing:
                self.refusing.remove(payload)
                raise RateLimited(retry_after=0.01)

    async with owner_page(Moody) as owner, peer_page() as peer:
        await joined(owner, peer)
        for number in (1, 2, 3, 2, 3):
            await owner.say(type="session.relay", payload=number, ref=number)
        heard = [await peer.hear("session.relay") for _ in range(3)]
        assert [frame["payload"] for frame in heard] == [1, 2, 3]
        assert [(await owner.hear("error"))["ref"] for _ in range(2)] == [2, 3]


async def test_without_a_channel_layer_it_says_what_is_missing(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    async with owner_page() as owner:
        answer = await owner.ask(type="session.open", direction="send")
        assert answer["code"] == "disabled"


async def test_a_user_may_join_their_own(django_user_model: type[User]) -> None:
    user = await new_user()
    async with owner_page(user=user) as owner, owner_page(user=user) as peer:
        await joined(owner, peer)
