"""`ws/sync/`: both parties open, join, relay and end, on one process and the memory store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.exceptions import InvalidValue
from syncsessions.pairing import SyncSession, sync_sessions
from tests.parties import gone, joined, new_user, opened, owner_page, peer_page

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("own_store"),
]


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


async def test_a_whole_session_after_another_on_the_same_sockets_with_roles_changed() -> None:
    async with owner_page() as one, owner_page() as two:
        for owner, peer in ((one, two), (two, one), (one, two)):
            await joined(owner, peer)
            await owner.say(type="session.relay", payload="x")
            assert await peer.hear() == {"type": "session.relay", "seq": 1, "payload": "x"}
            await peer.ask(type="session.complete")
            await owner.hear("session.closed")


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


async def test_a_user_may_join_their_own() -> None:
    user = await new_user()
    async with owner_page(user=user) as owner, owner_page(user=user) as peer:
        await joined(owner, peer)
