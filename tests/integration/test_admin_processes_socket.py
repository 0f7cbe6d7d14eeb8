"""`ws/sync/admin/?show=…`: the lists of processes and a process as its page shows it, and what the staff does there."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest
from channels.db import database_sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User

from syncsessions.consumers.sync_admin import SyncAdminConsumer
from syncsessions.processes import DefaultProcess, Reducer, SessionProcess, action, names, overview
from syncsessions.stores import stores
from syncsessions.stores.operations import Get
from tests.sockets import Frame, Page, in_thread, new_session, until
from tests.staff import GONE, TERMINATE, TOUCH, VIEW, VIEW_PROCESSES, client_of, key_of, member, put

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_store")]
every_store = pytest.mark.usefixtures("pairing_store")
ID = "A-browser-sessions-whole-name-01"
MEMORY = {"BACKEND": "syncsessions.stores.memory.MemoryStore"}


class Quick(SyncAdminConsumer):
    pause = 0.05
    again_every = 0.1
    unrung_every = 0.1


class Rung(SyncAdminConsumer):
    """Reads only when it was rung."""

    pause = 0.05
    again_every = 60
    unrung_every = 60


class Notes(Reducer):
    name = "notes"
    initial_state = {"all": []}

    @action
    def add(self, state: Any, note: Any) -> Any:
        return {"all": [*state["all"], note]}


class Board(SessionProcess):
    reducers = [Notes]
    history = 10


async def staff_page(
    *codenames: str, consumer: type[SyncAdminConsumer] = Quick, user: User | None = None, **query: str
) -> Page:
    user = user or await database_sync_to_async(member)(*codenames)
    page = Page(await new_session(user), consumer)
    page.socket.scope["query_string"] = urlencode(query or {"show": "processes"}).encode()
    return page


async def detail_page(session: Any, *codenames: str, **more: Any) -> Page:
    return await staff_page(*(codenames or (VIEW_PROCESSES,)), show="process", key=key_of(session), **more)


async def listed(page: Page, *sessions: Any) -> Frame:
    """The next list of just these sessions."""
    keys = [key_of(session) for session in sessions]
    while True:
        frame = await page.hear("process.list")
        if [row["key"] for row in frame["processes"]] == keys:
            return frame


async def until_revision(page: Page, revision: int) -> Frame:
    while True:
        frame = await page.hear("process.shown")
        if frame["revision"] == revision and "state" in frame:
            return frame


@database_sync_to_async
def set_permissions(user: User, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


async def test_who_is_let_in() -> None:
    session = await Board.astart(ID)
    for query in ({"show": "processes"}, {"show": "process", "key": key_of(session)}):
        for codenames in ((), (VIEW,), (TOUCH, TERMINATE)):
            async with await staff_page(*codenames, **query) as page:
                assert await page.close_code() == 4403
    async with await staff_page(VIEW_PROCESSES, show="") as page:  # the sync sessions
        assert await page.close_code() == 4403
    async with await staff_page(VIEW_PROCESSES) as page:
        await listed(page, session)
    async with await detail_page(session) as page:
        assert (await page.hear("process.shown"))["key"] == key_of(session)


async def test_the_frames_of_the_one_page_are_unknown_on_the_other() -> None:
    codenames = (VIEW, "end_activesyncsession", VIEW_PROCESSES, TOUCH, TERMINATE)
    session = await Board.astart(ID)
    async with await staff_page(*codenames, show="sync") as page:
        await page.hear("sync.list")
        for kind in ("process.page", "process.touch", "process.terminate"):
            assert (await page.ask(type=kind, key=key_of(session), page=1))["code"] == "unknown_type"
    async with await staff_page(*codenames) as page:
        for kind in ("sync.page", "sync.end"):
            assert (await page.ask(type=kind, life="x", page=1))["code"] == "unknown_type"
    async with await detail_page(session, *codenames) as page:
        assert (await page.ask(type="process.page", page=1))["code"] == "unknown_type"
    assert await Board.astarted(ID)


@every_store
async def test_it_says_what_the_page_says() -> None:
    session = await Board.astart(ID)
    await session.adispatch("notes.add", {"text": "ö"})
    user = await database_sync_to_async(member)(VIEW_PROCESSES)
    for page, path in (
        (await staff_page(user=user), "live/"),
        (await detail_page(session, user=user), f"{key_of(session)}/live/"),
    ):
        async with page:
            frame = await page.hear()
        url = f"/admin/syncsessions/activeprocess/{path}"
        polled = await in_thread(lambda: client_of(user).get(url).json())  # noqa: B023
        assert frame["type"] in ("process.list", "process.shown")
        for each in (frame, polled):
            facts = each["processes"][0] if "processes" in each else each
            assert facts.pop("age") < 10
            assert 3580 < facts.pop("left") <= 3600.5
            assert ID not in str(each)
            each.pop("classes", None)  # each worker knows those that it has imported
        assert frame == polled


@every_store
async def test_the_list_follows_without_a_ring() -> None:
    async with await staff_page(VIEW_PROCESSES) as page:
        await listed(page)
        one = await Board.astart("one")
        await listed(page, one)
        two = await DefaultProcess.astart("two")
        await one.adispatch("notes.add", 1)
        while (await listed(page, two, one))["processes"][1]["revision"] != 1:
            pass
        await one.aterminate()
        await listed(page, two)
    async with await staff_page(VIEW_PROCESSES, show="processes", **{"class": Board.path}) as page:
        frame = await listed(page)
        assert (frame["total"], frame["read"], frame["class"]) == (1, 1, Board.path)


@every_store
async def test_a_change_is_shown_and_an_end() -> None:
    session = await Board.astart(ID)
    async with await detail_page(session) as page:
        first = await until_revision(page, 0)
        assert first["history"] == []
        unchanged = await page.hear("process.shown")
        assert not {"state", "history"} & unchanged.keys()
        await session.adispatch("notes.add", "a")
        await session.adispatch("notes.add", "b")
        frame = await until_revision(page, 2)
        assert [entry["payload"] for entry in frame["history"]] == ['"b"', '"a"']
        await session.aterminate()
        while (frame := await page.hear())["type"] != "process.gone":
            assert frame["type"] == "process.shown"
        again = await Board.astart(ID)
        assert (await page.hear())["type"] == "process.gone"
        assert await again.arevision() == 0


@pytest.mark.parametrize("pairing_store", ["redis", "sqlite"], indirect=True)
async def test_a_ring_is_heard_at_once(pairing_store: None) -> None:
    session = await Board.astart(ID)
    async with await detail_page(session, consumer=Rung) as page:
        await until_revision(page, 0)
        began = time.monotonic()
        await session.adispatch("notes.add", "a")
        await until_revision(page, 1)
        await session.aterminate()
        assert (await page.hear())["type"] == "process.gone"
        assert time.monotonic() - began < 3


@every_store
async def test_touch_and_terminate() -> None:
    boss = await database_sync_to_async(member)(VIEW_PROCESSES, TOUCH, TERMINATE)
    first, second = await Board.astart("first"), await Board.astart("second")
    store = stores["processes"]
    await store.atouch(names.NAMESPACE, first.key[0], 9)
    async with await staff_page(user=boss, consumer=Rung) as page:
        await listed(page, second, first)
        answer = await page.ask(type="process.touch", key=key_of(first))
        assert answer == {"type": "process.touched", "ref": answer["ref"], "key": key_of(first), "touched": True}
        record = await store.aexecute(Get(names.NAMESPACE, first.key[0]))
        assert record.expires_at.timestamp() - time.time() > 3500
        answer = await page.ask(type="process.terminate", key=key_of(first))
        assert answer == {"type": "process.terminated", "ref": answer["ref"], "key": key_of(first), "terminated": True}
        await listed(page, second)
        for kind, said in (("touch", "touched"), ("terminate", "terminated")):
            assert (await page.ask(type=f"process.{kind}", key=key_of(first)))[said] is False
    async with await detail_page(second, user=boss, consumer=Rung) as page:
        await page.hear("process.shown")
        assert (await page.ask(type="process.terminate", key=key_of(second)))["terminated"] is True
        assert (await page.hear())["type"] == "process.gone"
    entries = [entry async for entry in LogEntry.objects.filter(user=boss).order_by("pk")]
    assert [entry.object_id for entry in entries] == [first.key[1], first.key[1], second.key[1]]


async def test_each_action_looks_at_its_permission_again() -> None:
    session = await Board.astart(ID)
    boss = await database_sync_to_async(member)(VIEW_PROCESSES, TOUCH, TERMINATE)
    async with await staff_page(user=boss, consumer=Rung) as page:
        await listed(page, session)
        await set_permissions(boss, VIEW_PROCESSES, TOUCH)
        assert (await page.ask(type="process.terminate", key=key_of(session)))["code"] == "not_allowed"
        assert (await page.ask(type="process.touch", key=key_of(session)))["touched"] is True
        await set_permissions(boss, VIEW_PROCESSES, TERMINATE)
        assert (await page.ask(type="process.touch", key=key_of(session)))["code"] == "not_allowed"
        await set_permissions(boss, TERMINATE, VIEW)
        await page.say(type="process.terminate", key=key_of(session))
        assert await page.close_code() == 4403
    assert await Board.astarted(ID)


@pytest.mark.parametrize("lost", ["permission", "is_staff", "is_active"])
async def test_who_may_no_longer_look_is_shown_out(lost: str) -> None:
    session = await Board.astart(ID)
    for detail in (False, True):
        boss = await database_sync_to_async(member)(VIEW_PROCESSES)
        async with await (detail_page(session, user=boss) if detail else staff_page(user=boss)) as page:
            await page.hear()
            if lost == "permission":
                await set_permissions(boss)
            else:
                await User.objects.filter(pk=boss.pk).aupdate(**{lost: False})
            assert await page.close_code() == 4403


async def test_pages() -> None:
    sessions = [await Board.astart(f"s{number}") for number in range(overview.PAGE + 3)]
    async with await staff_page(VIEW_PROCESSES, show="processes", p="2") as page:
        assert (await listed(page, *sessions[2::-1]))["page"] == 2
        first = await page.ask(type="process.page", page=1)
        assert (first["type"], first["pages"], len(first["processes"])) == ("process.list", 2, overview.PAGE)
        assert (await page.ask(type="process.page", page=99))["page"] == 2
        for wrong in (0, -1, True, "1", None, 1.5, [1], 10**20):
            assert (await page.ask(type="process.page", page=wrong))["code"] == "bad_frame"


async def test_bad_frames_are_answered() -> None:
    async with await staff_page(VIEW_PROCESSES, TOUCH, TERMINATE) as page:
        await page.hear("process.list")
        for key in (None, 1, ["x"], {}, "", "x", "ö", "A" * 200):
            for kind in ("process.touch", "process.terminate"):
                assert (await page.ask(type=kind, key=key))["code"] == "bad_frame"
        assert (await page.ask(type="process.nothing"))["code"] == "unknown_type"
    async with await staff_page(VIEW_PROCESSES, show="process", key="nonsense") as page:
        assert await page.hear() == {"type": "process.gone", "key": "nonsense"}


async def test_what_takes_long_to_read_is_read_less_often() -> None:
    session = await DefaultProcess.astart(ID)
    await session.acast("put", "long", ["x" * 1000] * 3000)
    async with await staff_page(VIEW_PROCESSES) as page:
        began = time.monotonic()
        for _ in range(3):
            frame = await page.hear("process.list")
            assert frame["processes"][0]["bytes"] > 3_000_000
            assert len(str(frame)) < 5000
        assert time.monotonic() - began > 0.2


async def test_a_store_that_does_not_answer_is_told_until_it_does(settings: Any) -> None:
    session = await Board.astart(ID)
    put(settings, STORES={"default": GONE})
    async with await staff_page(VIEW_PROCESSES, TOUCH) as page, await detail_page(session) as detail:
        assert (await page.hear("error"))["code"] == "store_unavailable"
        assert (await detail.hear("error"))["code"] == "store_unavailable"
        assert (await page.ask(type="process.touch", key=key_of(session)))["code"] == "store_unavailable"
        put(settings, STORES={"default": MEMORY})

        async def is_back() -> bool:
            return (await page.hear())["type"] == "process.list"

        await until(is_back)
