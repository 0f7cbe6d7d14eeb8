"""`ws/sync/admin/`: who is let in, what is masked, lists after changes, and an end that both parties hear of."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User

from syncsessions import codes, doorbell
from syncsessions.consumers.admin_pages import SyncSessionsPage
from syncsessions.consumers.sync_admin import SyncAdminConsumer
from syncsessions.exceptions import NotFound
from syncsessions.pairing import announce, overview, sync_sessions
from tests.parties import joined, new_user, opened, owner_page, peer_page
from tests.sockets import Frame, Page, in_thread, new_session, until
from tests.staff import END, GONE, SEE_CODE, VIEW, client_of, member, put, sync_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_store")]
OPENER = "specific.abcdef!the-owner"


class Quick(SyncAdminConsumer):
    pause = 0.05
    again_every = 0.1


class Rung(SyncAdminConsumer):
    """Reads only when it was rung."""

    pause = 0.05
    again_every = 60


async def staff_page(*codenames: str, consumer: type[SyncAdminConsumer] = Rung, **fields: Any) -> Page:
    user = await database_sync_to_async(member)(*codenames, **fields)
    return Page(await new_session(user), consumer)


async def listed(page: Page, *lives: str) -> Frame:
    """The next list of just these sessions."""
    while True:
        frame = await page.hear("sync.list")
        if [row["life"] for row in frame["sessions"]] == list(lives):
            return frame


async def test_who_is_let_in() -> None:
    user = await new_user()
    for key in (None, await new_session()):
        async with Page(key, SyncAdminConsumer) as page:
            assert await page.close_code() == 4401
    for codenames, fields in (
        ((), {}),
        ((SEE_CODE, END), {}),
        ((VIEW,), {"is_staff": False}),
    ):
        async with await staff_page(*codenames, **fields) as page:
            assert await page.close_code() == 4403
    async with Page(await new_session(user), SyncAdminConsumer) as page:
        assert await page.close_code() == 4403
    for codenames, fields in (((VIEW,), {}), ((), {"is_superuser": True})):
        async with await staff_page(*codenames, **fields) as page:
            assert (await page.hear("sync.list"))["sessions"] == []


@pytest.mark.parametrize("may", [False, True])
async def test_codes_are_masked_but_for_who_may_see_them(may: bool) -> None:
    session = await sync_sessions.acreate("send", OPENER, {"device": "laptop"})
    async with await staff_page(VIEW, *([SEE_CODE] if may else [])) as page:
        frame = await listed(page, session.life)
        assert frame["sessions"][0]["code"] == (codes.grouped if may else codes.masked)(session.code)
        assert session.code not in str(frame)


async def test_it_says_what_the_page_says(pairing_store: None) -> None:
    session = await sync_sessions.acreate("receive", OPENER, {"device": "laptop"})
    user = await database_sync_to_async(member)(VIEW)
    async with Page(await new_session(user), SyncAdminConsumer) as page:
        frame = await page.hear("sync.list")
    polled = await in_thread(lambda: client_of(user).get(sync_url("live")).json())
    for each in (frame, polled):
        assert each["sessions"][0].pop("age") < 10
        assert 20 < each["sessions"][0].pop("left") <= 30.5
    assert frame == polled
    assert frame["sessions"][0]["life"] == session.life


async def test_a_list_follows_on_each_change(pairing_store: None) -> None:
    async with await staff_page(VIEW, consumer=Rung) as page, owner_page() as owner, peer_page() as peer:
        await listed(page)
        code = await joined(owner, peer)
        session = await sync_sessions.aget(code)
        while (await listed(page, session.life))["counts"]["connected"] != 1:
            pass
        await owner.ask(type="session.complete")
        assert (await listed(page))["total"] == 0


async def test_rings_are_merged_into_two_lists_a_second() -> None:
    async with await staff_page(VIEW, consumer=SyncAdminConsumer) as page:
        await page.hear("sync.list")
        began = time.monotonic()
        lists, session = 0, None
        for _ in range(150):
            session = await sync_sessions.acreate("send", OPENER)
            await page.heard_nothing()
        assert session is not None
        while True:
            frame = await page.hear("sync.list")
            lists += 1
            if frame["total"] == 150:
                break
        assert lists <= 2 * (time.monotonic() - began) + 2
        assert (frame["pages"], len(frame["sessions"])) == (2, overview.PAGE)


async def test_what_rang_nobody_is_read_all_the_same(monkeypatch: Any) -> None:
    monkeypatch.setattr(doorbell, "ring", lambda *args, **kwargs: None)
    async with await staff_page(VIEW, consumer=Quick) as page:
        await listed(page)
        session = await sync_sessions.acreate("send", OPENER)
        await listed(page, session.life)


async def test_pages() -> None:
    sessions = [await sync_sessions.acreate("send", OPENER) for _ in range(overview.PAGE + 3)]
    oldest = [session.life for session in sessions[2::-1]]
    async with await staff_page(VIEW) as page:
        first = await page.hear("sync.list")
        assert (first["page"], first["pages"], len(first["sessions"])) == (1, 2, overview.PAGE)
        second = await page.ask(type="sync.page", page=2)
        assert (second["type"], second["page"]) == ("sync.list", 2)
        assert [row["life"] for row in second["sessions"]] == oldest
        assert (await page.ask(type="sync.page", page=99))["page"] == 2
        for wrong in (0, -1, True, "1", None, 1.5, [1], 10**20):
            assert (await page.ask(type="sync.page", page=wrong))["code"] == "bad_frame"
        for session in sessions[:3]:
            await sync_sessions.adelete(session.code)
        while (await page.hear("sync.list"))["page"] != 1:
            pass


async def test_an_address_may_name_the_page() -> None:
    for _ in range(overview.PAGE + 1):
        await sync_sessions.acreate("send", OPENER)
    for query, expected in ((b"p=2", 2), (b"p=x&q=%ff", 1), (b"\xff", 1)):
        page = await staff_page(VIEW)
        page.socket.scope["query_string"] = query
        async with page:
            assert (await page.hear("sync.list"))["page"] == expected


async def test_an_end_by_socket_reaches_both_parties(pairing_store: None) -> None:
    boss = await database_sync_to_async(member)(VIEW, END)
    async with Page(await new_session(boss), Rung) as page, owner_page() as owner, peer_page() as peer:
        code = await joined(owner, peer)
        session = await sync_sessions.aget(code)
        await listed(page, session.life)
        began = time.monotonic()
        answer = await page.ask(type="sync.end", life=session.life)
        assert answer == {"type": "sync.ended", "ref": answer["ref"], "life": session.life, "ended": True}
        for party in (owner, peer):
            closed = await party.hear("session.closed")
            assert (closed["status"], closed["reason"]) == ("failed", "ended_by_admin")
        assert time.monotonic() - began < 2
        await listed(page)
        answer = await page.ask(type="sync.end", life=session.life)
        assert (answer["type"], answer["ended"]) == ("sync.ended", False)
        assert (await opened(owner))["code"] != code
    entry = await LogEntry.objects.aget(user=boss)
    assert (entry.object_id, entry.object_repr[-8:]) == (session.life, codes.masked(code))


async def test_an_end_by_the_form_reaches_both_parties(pairing_store: None) -> None:
    boss = await database_sync_to_async(member)(VIEW, END)
    async with owner_page() as owner, peer_page() as peer:
        session = await sync_sessions.aget(await joined(owner, peer))
        fields = {"only": session.life, "confirmed": "yes"}
        answer = await in_thread(lambda: client_of(boss).post(sync_url(), fields))
        assert answer.status_code == 302
        for party in (owner, peer):
            assert (await party.hear("session.closed"))["reason"] == "ended_by_admin"


async def test_an_end_never_meets_a_newer_session_of_the_code(monkeypatch: Any) -> None:
    first = await sync_sessions.acreate("send", OPENER)
    async with await staff_page(VIEW, END) as page:
        await listed(page, first.life)
        monkeypatch.setattr(announce, "changed", lambda: None)  # so that the page goes on showing the first
        await sync_sessions.adelete(first.code)
        second = await sync_sessions.acreate("send", OPENER, code=first.code)
        assert (await page.ask(type="sync.end", life=first.life))["ended"] is False
        assert (await sync_sessions.aget(first.code)).life == second.life
        assert not await LogEntry.objects.aexists()
        # One that the page has not been shown is found all the same.
        assert (await page.ask(type="sync.end", life=second.life))["ended"] is True
        with pytest.raises(NotFound):
            await sync_sessions.aget(first.code)


async def test_bad_frames_are_answered() -> None:
    async with await staff_page(VIEW, END) as page:
        await page.hear("sync.list")
        for life in (None, 1, ["x"], {}):
            assert (await page.ask(type="sync.end", life=life))["code"] == "bad_frame"
        assert (await page.ask(type="sync.nothing"))["code"] == "unknown_type"
        await page.say(type="sync.end", life="x" * 5000)
        assert (await page.hear("error"))["code"] == "too_large"
        assert (await page.ask(type="sync.end", life="nobody's"))["ended"] is False


@database_sync_to_async
def set_permissions(user: User, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


async def test_each_end_looks_at_the_permission_again() -> None:
    session = await sync_sessions.acreate("send", OPENER)
    boss = await database_sync_to_async(member)(VIEW, SEE_CODE, END)
    async with Page(await new_session(boss), Rung) as page:
        await listed(page, session.life)
        await set_permissions(boss, VIEW)
        answer = await page.ask(type="sync.end", life=session.life)
        assert answer["code"] == "not_allowed"
        assert (await sync_sessions.aget(session.code)).life == session.life
        assert (await page.ask(type="sync.page", page=1))["sessions"][0]["code"] == codes.masked(session.code)
        await set_permissions(boss, END)
        await page.say(type="sync.end", life=session.life)
        assert await page.close_code() == 4403
    assert (await sync_sessions.aget(session.code)).life == session.life


@pytest.mark.parametrize("lost", ["permission", "staff", "active", "user", "logout"])
async def test_who_may_no_longer_look_is_shown_out(lost: str) -> None:
    boss = await database_sync_to_async(member)(VIEW)
    key = await new_session(boss)
    async with Page(key, Quick) as page:
        await page.hear("sync.list")
        if lost == "permission":
            await set_permissions(boss)
        elif lost == "logout":
            client = await in_thread(lambda: client_of(None))
            client.cookies["sessionid"] = key
            await in_thread(client.logout)
        elif lost == "user":
            await database_sync_to_async(boss.delete)()
        else:
            await User.objects.filter(pk=boss.pk).aupdate(**{f"is_{lost}": False})
        assert await page.close_code() == (4401 if lost == "logout" else 4403)


async def test_who_is_rung_without_end_is_shown_out_too() -> None:
    boss = await database_sync_to_async(member)(VIEW)
    async with Page(await new_session(boss), Quick) as page:
        await page.hear("sync.list")
        await set_permissions(boss)

        async def ring() -> None:
            while True:
                announce.changed()
                await asyncio.sleep(0.01)

        ringing = asyncio.create_task(ring())
        try:
            assert await page.close_code() == 4403
        finally:
            ringing.cancel()


async def test_a_page_that_takes_long_to_read_is_not_read_at_every_request(monkeypatch: Any) -> None:
    read, reads = SyncSessionsPage.read, 0

    async def slow(self: Any) -> Frame:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0.1)
        return await read(self)

    monkeypatch.setattr(SyncSessionsPage, "read", slow)
    async with await staff_page(VIEW, consumer=Rung) as page:
        await page.hear("sync.list")
        for number in range(20):
            await page.say(type="sync.page", page=1, ref=number)
        while (await page.hear("sync.list")).get("ref") != 19:
            pass
        assert reads <= 4


async def test_a_store_that_does_not_answer_is_told_until_it_does(settings: Any) -> None:
    put(settings, STORES={"default": GONE})
    async with await staff_page(VIEW, END, consumer=Quick) as page:
        assert (await page.hear("error"))["code"] == "store_unavailable"
        assert (await page.ask(type="sync.end", life="x"))["code"] == "store_unavailable"
        put(settings, STORES={"default": {"BACKEND": "syncsessions.stores.memory.MemoryStore"}})

        async def is_back() -> bool:
            return (await page.hear())["type"] == "sync.list"

        await until(is_back)
