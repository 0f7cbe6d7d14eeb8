"""`ws/sync/`: sessions that end without a word of their parties: leases, deletions, places, logout."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.pairing import announce, sync_sessions
from syncsessions.signals import sync_session_closed
from tests.parties import gone, joined, new_user, opened, owner_page, peer_page
from tests.sockets import Page, new_session, until
from tests.staff import put

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("own_store"),
]
SOON = 3.0  # seconds: before the parties would look by themselves


async def test_a_session_that_lost_its_record_ends_for_both(settings: Any) -> None:
    put(settings, PAIRING_LEASE=1)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        found = await sync_sessions.aget(code)
        await sync_sessions.store.adelete("pairing", code, life=found.life)
        for page in (owner, peer):
            assert await page.hear() == {"type": "session.closed", "status": "failed", "reason": "lease_expired"}


async def test_leases_are_renewed_as_long_as_both_are_there(settings: Any) -> None:
    put(settings, PAIRING_LEASE=1.5)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        first = await sync_sessions.aget(code)

        async def renewed() -> bool:
            return (await sync_sessions.aget(code)).expires_at.timestamp() > first.expires_at.timestamp() + 2

        await until(renewed)
        await owner.say(type="session.relay", payload="still here")
        assert (await peer.hear("session.relay"))["payload"] == "still here"


async def test_an_owner_whose_process_dies_is_found_out_by_the_peer(settings: Any, monkeypatch: Any) -> None:
    put(settings, PAIRING_LEASE=1)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        _silence(monkeypatch, owns=True)
        assert (await peer.hear())["reason"] == "lease_expired"
        assert await gone(code)


async def test_a_peer_whose_process_dies_is_found_out_by_the_owner(settings: Any, monkeypatch: Any) -> None:
    put(settings, PAIRING_LEASE=1)
    async with owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        _silence(monkeypatch, owns=False)
        assert (await owner.hear())["reason"] == "peer_gone"
        assert await gone(code)


def _silence(monkeypatch: Any, *, owns: bool) -> None:
    """The consumers of this role do and hear nothing any more, as if their process were gone."""
    for name in ("alarm", "heard", "closed", "catch_up"):
        monkeypatch.setattr(SyncSessionConsumer, name, _unless(owns, getattr(SyncSessionConsumer, name)))


def _unless(owns: bool, method: Any) -> Any:
    async def selective(self: Any, *args: Any) -> None:
        if self.owns is not owns:
            await method(self, *args)

    return selective


@pytest.fixture
def closings() -> Iterator[list[str | None]]:
    """The reasons that sync_session_closed told."""
    reasons: list[str | None] = []

    def hear(reason: str | None, **named: Any) -> None:
        reasons.append(reason)

    sync_session_closed.connect(hear)
    yield reasons
    sync_session_closed.disconnect(hear)


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
    put(settings, PAIRING_MAX_PER_USER=1)
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
    put(settings, PAIRING_MAX_PER_USER=1)
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
    client = Client()
    client.cookies["sessionid"] = key
    await sync_to_async(client.post)("/accounts/logout/")


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
