"""`HandoverConsumer`: who may hand over to whom, what moves when, and what each side is told; on one process."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.handover import HandoverConsumer
from syncsessions.pairing import announce, sync_sessions
from syncsessions.pairing.steps import HANDOVERS
from syncsessions.stash.models import StashSlice
from tests.devices import PHONE, confirm, device, meet, moved, opened, two
from tests.parties import new_user
from tests.sockets import DEADLINE, MOVED, NOTE, Page, in_thread, stash_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("error")]


class Draft(HandoverConsumer):
    """Hands over one view only."""

    views = ["shop.draft"]


async def stash_values(view: str) -> list[Any]:
    found: list[Any] = await in_thread(
        lambda: list(StashSlice.objects.filter(view=view).values_list("data", flat=True))
    )
    return found


@pytest.mark.usefixtures("own_store")
async def test_what_is_stashed_moves_and_each_is_told() -> None:
    async with two() as (laptop, phone):
        await phone.stash(NOTE, {"text": "of the phone", "colour": "red"})
        answer = await laptop.ask(type="session.open", info={"device": "a lie"})
        code = answer["session"].pop("code")
        shown = {"device": "Firefox on Windows", "logged_in": False}
        told = {"direction": "send", "status": "pending", "sender_info": shown, "receiver_info": None}
        assert answer["session"] == told
        answer = await phone.ask(type="session.join", code=code, info={"device": "your own tablet"})
        there = {"device": "Chrome on Android", "logged_in": False}
        both = {**told, "status": "connected", "receiver_info": there}
        assert answer["session"] == both
        assert await laptop.hear() == {"type": "session.peer_joined", "session": {"code": code, **both}}
        joined = await laptop.hear()
        assert joined == {"type": "handover.joined", "joiner": joined["joiner"], **there}
        assert await phone.page.heard_nothing()
        assert await phone.data() == {"text": "of the phone", "colour": "red"}

        assert await laptop.ask(type="handover.confirm", joiner=joined["joiner"], ref="c") == {
            "type": "handover.moving",
            "ref": "c",
        }
        assert await moved(laptop, phone) == {"moved": 2, "kept": 0}
        assert await phone.data() == {"text": "from the laptop", "size": 3, "colour": "red"}
        assert await laptop.rows() == {}
        assert (await laptop.ask(type="handover.confirm", joiner=joined["joiner"]))["code"] == "not_in_session"
        ends = time.monotonic() + DEADLINE
        while await sync_sessions.store.acount(HANDOVERS):
            assert time.monotonic() < ends, "the handover's record stays"
            await asyncio.sleep(0.01)


async def test_nothing_secret_reaches_either_browser() -> None:
    seen: list[str] = []

    class Watched(HandoverConsumer):
        async def send_text(self, text: str) -> None:
            seen.append(text)
            await super().send_text(text)

    async with two(consumer=Watched) as (laptop, phone):
        joiner = await meet(laptop, phone)
        life = (await sync_sessions.alist_active())[0].life
        code = (await sync_sessions.alist_active())[0].code
        await confirm(laptop, joiner)
        await moved(laptop, phone)
        stashes = [await stash_of(each.key).apeek() for each in (laptop, phone)]
        ids = [
            await in_thread(lambda key=each.key: SessionStore(key).get("_syncsessions_id")) for each in (laptop, phone)
        ]
        for secret in [life, laptop.key, phone.key, *(each.hash for each in stashes if each), *filter(None, ids)]:
            assert not any(secret in text for text in seen)
        assert sum(code in text for text in seen) == 2  # session.opened and session.peer_joined, to the owner


async def test_only_after_somebody_has_joined_and_for_that_one() -> None:
    async with two() as (laptop, phone):
        assert (await confirm(laptop, "x"))["code"] == "not_in_session"
        code = await opened(laptop)
        for joiner in (None, "", "x"):
            assert (await confirm(laptop, joiner))["code"] == "invalid_transition"
        await phone.ask(type="session.join", code=code)
        await laptop.hear("session.peer_joined")
        joiner = (await laptop.hear("handover.joined"))["joiner"]
        for other in (None, "x", [joiner], {"joiner": joiner}):
            assert (await confirm(laptop, other))["code"] == "conflict"
        await laptop.say(type="session.fail", reason="not_me")
        assert (await phone.hear("session.closed"))["reason"] == "not_me"
        await laptop.hear("session.closed")
        async with device(PHONE) as another:
            new = await meet(laptop, another)
            assert new != joiner
            assert (await confirm(laptop, joiner))["code"] == "conflict"
            assert await another.data() == {}
        assert await laptop.data() == {"text": "from the laptop", "size": 3}


async def test_the_joiner_cannot_make_anything_move() -> None:
    async with two() as (laptop, phone):
        joiner = await meet(laptop, phone)
        assert (await confirm(phone, joiner))["code"] == "not_allowed"
        for frame in (
            {"type": "session.complete"},
            {"type": "session.complete", "result": {"moved": 9}},
            {"type": "session.relay", "payload": {"type": "handover.confirm", "joiner": joiner}},
        ):
            assert (await phone.ask(**frame))["code"] == "not_allowed"
            assert (await laptop.ask(**frame))["code"] == "not_allowed"
        assert (await phone.ask(type="handover.step"))["code"] == "unknown_type"
        assert await laptop.page.heard_nothing()
        assert await phone.data() == {}
        assert await laptop.data() == {"text": "from the laptop", "size": 3}


async def test_who_joins_by_another_way_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncsessions.handover.REGISTER_WITHIN", 0.2)
    monkeypatch.setattr("syncsessions.handover.AGAIN", 0.1)
    async with two() as (laptop, _phone), device(PHONE, consumer=SyncSessionConsumer) as plain:
        code = await opened(laptop)
        answer = await plain.ask(type="session.join", code=code, info={"device": "your phone", "logged_in": True})
        assert answer["type"] == "session.joined"
        await laptop.hear("session.peer_joined")
        assert (await confirm(laptop, "x"))["code"] == "invalid_transition"
        assert (await laptop.hear("session.closed"))["reason"] == "peer_gone"
        assert await laptop.data() == {"text": "from the laptop", "size": 3}


async def test_who_is_late_leaves_the_next_record_of_its_id_alone() -> None:
    store = sync_sessions.store
    async with two() as (laptop, _phone):
        code = await opened(laptop)
        session = await sync_sessions.aget(code)
        assert await store.adelete(HANDOVERS, session.life)
        next_one = await store.acreate(HANDOVERS, session.life, {}, ttl=60)
        announce.look(session)
        assert (await laptop.hear("session.closed"))["reason"] == "lease_expired"
        assert await store.aget(HANDOVERS, session.life) == next_one


async def test_no_client_says_why_the_server_refuses() -> None:
    async with two() as (laptop, phone):
        await meet(laptop, phone)
        for reason in ("different_users", "same_browser"):
            assert (await phone.ask(type="session.fail", reason=reason))["code"] == "bad_frame"


async def test_a_code_of_another_kind_is_not_claimed() -> None:
    user = await new_user()
    async with device(user=user, consumer=SyncSessionConsumer) as owner, device(PHONE) as phone:
        code = (await owner.ask(type="session.open", direction="send"))["session"]["code"]
        assert (await phone.ask(type="session.join", code=code))["code"] == "invalid_code"
        assert (await sync_sessions.aget(code)).status == "pending"


async def test_the_own_browser_is_refused_and_the_code_still_good() -> None:
    async with two() as (laptop, phone), device(key=laptop.key) as tab:
        code = await opened(laptop)
        refused = await tab.ask(type="session.join", code=code)
        assert (refused["code"], refused["reason"]) == ("not_allowed", "same_browser")
        assert "other device" in refused["message"]
        assert (await phone.ask(type="session.join", code=code))["type"] == "session.joined"


async def test_two_different_users_are_refused_and_the_code_still_good() -> None:
    ann, bob = await new_user(), await new_user()
    async with device(user=ann) as laptop, device(PHONE, user=bob) as stranger, device(PHONE, user=ann) as phone:
        await laptop.stash(NOTE, {"text": "hers"})
        code = await opened(laptop)
        refused = await stranger.ask(type="session.join", code=code)
        assert (refused["code"], refused["reason"]) == ("not_allowed", "different_users")
        assert ann.username not in str(refused)
        assert (await phone.ask(type="session.join", code=code))["type"] == "session.joined"
        await laptop.hear("session.peer_joined")
        joined = await laptop.hear("handover.joined")
        assert joined["logged_in"] is True
        await confirm(laptop, joined["joiner"])
        assert await moved(laptop, phone) == {"moved": 1, "kept": 0}


@pytest.mark.parametrize("owner_has_user", [True, False])
async def test_one_of_the_two_may_be_logged_in(owner_has_user: bool) -> None:
    users = [await new_user(), None]
    ours, theirs = users if owner_has_user else reversed(users)
    async with device(user=ours) as laptop, device(PHONE, user=theirs) as phone:
        await laptop.stash(NOTE, {"text": "mine"})
        await confirm(laptop, await meet(laptop, phone))
        await moved(laptop, phone)
        assert await phone.data() == {"text": "mine"}


async def test_whose_guesses_are_spent_learns_nothing_of_right_codes(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_GUESS_RATE": "2/m"}
    address = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
    ann, bob = await new_user(), await new_user()
    async with device(user=ann) as laptop, device(PHONE, user=bob, address=address) as guesser:
        code = await opened(laptop)
        for _ in range(2):
            assert (await guesser.ask(type="session.join", code="22222222"))["code"] == "invalid_code"
        for guess in (code, "22222222"):
            assert (await guesser.ask(type="session.join", code=guess))["code"] == "rate_limited"


async def test_a_used_code_and_no_code() -> None:
    async with two() as (laptop, phone), device(PHONE) as late:
        code = await opened(laptop)
        assert (await late.ask(type="session.join", code=7))["code"] == "bad_frame"
        assert (await late.ask(type="session.join", code="no code"))["code"] == "invalid_code"
        await phone.ask(type="session.join", code=code)
        assert (await late.ask(type="session.join", code=code))["code"] == "already_used"
        assert (await phone.ask(type="session.join", code=code))["code"] == "already_open"


async def test_without_a_browser_session_both_are_told_so() -> None:
    async with two() as (laptop, _phone), Page(None, HandoverConsumer) as bare:
        code = await opened(laptop)
        for frame in ({"type": "session.open"}, {"type": "session.join", "code": code}):
            refused = await bare.ask(**frame)
            assert refused["code"] == "invalid_session_id"
            assert "cookies" in refused["message"]
        assert (await sync_sessions.aget(code)).status == "pending"


async def test_only_sending_and_only_what_is_there() -> None:
    async with device() as laptop, device(PHONE) as phone:
        assert (await laptop.ask(type="session.open", direction="receive"))["code"] == "bad_frame"
        joiner = await meet(laptop, phone)
        assert (await confirm(laptop, joiner))["code"] == "not_found"
        await laptop.stash(NOTE, {"text": "typed since"})
        await confirm(laptop, joiner)
        assert await moved(laptop, phone) == {"moved": 1, "kept": 0}


async def test_only_the_named_views_and_nothing_of_a_tab() -> None:
    async with device(consumer=Draft) as laptop, device(PHONE, consumer=Draft) as phone:
        await laptop.stash("shop.draft", {"text": "a draft"})
        await laptop.stash("shop.draft", {"margin": "of one tab"}, tab="tab-1")
        await laptop.stash(NOTE, {"text": "stays"})
        await confirm(laptop, await meet(laptop, phone))
        assert await moved(laptop, phone) == {"moved": 1, "kept": 0}
        assert await phone.rows("shop.draft") == {("", 1): {"text": "a draft"}}
        assert await laptop.rows("shop.draft") == {("tab-1", 1): {"margin": "of one tab"}}
        assert await laptop.data() == {"text": "stays"}


async def test_versions_stay_what_they_are_and_older_values_are_carried_over_first() -> None:
    async with device() as laptop, device(PHONE) as phone:
        await laptop.stash("shop.any", {"a": 1}, vsn=2)
        await laptop.stash("shop.any", {"a": 0}, vsn=1)
        await laptop.stash(MOVED, {"first": "Ada", "last": "Example"}, vsn=1)
        await phone.stash(MOVED, {"name": "somebody else"}, vsn=2)
        await confirm(laptop, await meet(laptop, phone))
        assert await moved(laptop, phone) == {"moved": 4, "kept": 0}
        assert await phone.rows("shop.any") == {("", 2): {"a": 1}, ("", 1): {"a": 0}}
        assert await phone.data("shop.any") == {"a": 0}  # what was written last, as on the laptop
        assert (await phone.rows(MOVED))["", 2] == {"name": "Ada Example"}


async def test_what_does_not_fit_moves_nothing_and_may_be_tried_again() -> None:
    async with two() as (laptop, phone):
        await laptop.stash("shop.first", {"a": 1})
        await phone.stash(NOTE, {"rest": "x" * 65_500})
        joiner = await meet(laptop, phone)
        assert (await confirm(laptop, joiner))["type"] == "handover.moving"
        error = await laptop.hear("error")
        assert error["code"] == "invalid_value"
        assert NOTE in error["message"]
        assert await phone.data("shop.first") == {}
        assert await laptop.data() == {"text": "from the laptop", "size": 3}
        await in_thread(lambda: stash_of(phone.key).drop(NOTE, ["rest"]))
        await confirm(laptop, joiner)
        assert await moved(laptop, phone) == {"moved": 3, "kept": 0}


@pytest.mark.parametrize("goer", ["laptop", "phone"])
async def test_logout_before_the_confirmation(goer: str) -> None:
    ann = await new_user()
    async with two(user=ann) as (laptop, phone):
        joiner = await meet(laptop, phone)
        gone = laptop if goer == "laptop" else phone
        await in_thread(lambda: SessionStore(gone.key).flush())  # unheard: no signal, no ring
        await laptop.say(type="handover.confirm", joiner=joiner)
        if gone is phone:
            await laptop.hear("handover.moving")
        for each in (laptop, phone):
            assert (await each.hear("session.closed"))["reason"] == "logged_out"
        assert await gone.page.close_code() == 4401
        assert await stash_values(NOTE) == [{"text": "from the laptop", "size": 3}]


async def test_another_user_by_the_time_of_the_confirmation() -> None:
    """The joiner's session was given to somebody else while it waited, and nobody told its socket."""
    ann, bob = await new_user(), await new_user()
    async with device(user=ann) as laptop, device(PHONE) as phone:
        await laptop.stash(NOTE, {"text": "hers"})
        joiner = await meet(laptop, phone)

        def log_in_unheard() -> None:
            client, theirs = Client(), SessionStore(phone.key)
            client.force_login(bob)
            theirs.update(client.session)
            theirs.save()

        await in_thread(log_in_unheard)
        await confirm(laptop, joiner)
        assert (await laptop.hear("session.closed"))["status"] == "failed"
        assert await phone.data() == {}
        assert await laptop.data() == {"text": "hers"}


@pytest.mark.parametrize("goer", ["laptop", "phone"])
async def test_who_leaves_before_the_confirmation(goer: str) -> None:
    async with two() as (laptop, phone):
        await meet(laptop, phone)
        leaves, stays = (laptop, phone) if goer == "laptop" else (phone, laptop)
        await leaves.page.socket.disconnect()
        reason = "owner_gone" if goer == "laptop" else "peer_gone"
        assert (await stays.hear("session.closed"))["reason"] == reason
        assert await laptop.data() == {"text": "from the laptop", "size": 3}
        assert await phone.data() == {}
