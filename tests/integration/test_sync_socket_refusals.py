"""`ws/sync/`: frames, people, guesses and floods that are refused."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from syncsessions import frames
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.exceptions import RateLimited
from syncsessions.pairing import sync_sessions
from syncsessions.pairing.session import RESERVED
from tests.parties import joined, new_user, opened, owner_page, peer_page
from tests.sockets import Page, new_session
from tests.staff import put

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("own_store"),
]


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


@pytest.mark.parametrize("reason", sorted(RESERVED))
async def test_what_only_the_server_says_no_client_can_say(reason: str) -> None:
    async with owner_page() as owner, peer_page() as peer:
        await joined(owner, peer)
        for page in (owner, peer):
            assert (await page.ask(type="session.fail", reason=reason))["code"] == "bad_frame"
        await owner.say(type="session.relay", payload="goes on")
        await peer.hear("session.relay")


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
    put(settings, PAIRING_MAX_PER_USER=2)
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
    put(settings, PAIRING_MAX_SESSIONS=1)
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
