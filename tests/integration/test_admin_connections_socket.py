"""`ws/sync/admin/?show=connections`: statuses as the other sites answer, calls that end with the socket, and polls."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import Permission, User

from syncsessions.admin import connection_answers, connections
from syncsessions.connections import overview
from syncsessions.consumers import connections_page
from syncsessions.consumers.sync_admin import SyncAdminConsumer
from syncsessions.models import Connection
from tests.connection_staff import APPROVE, CHANGE, VIEW, Remote, told_remote, url
from tests.connections import a_connection
from tests.misbehaving import Site
from tests.sockets import Frame, Page, in_thread, new_session, until
from tests.staff import client_of, member

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_store", "sites_here")]

make = database_sync_to_async(a_connection)


class Rung(SyncAdminConsumer):
    """Reads only when it was rung."""

    pause = 0.05
    again_every = 60


class Quick(SyncAdminConsumer):
    pause = 0.05
    again_every = 0.1


@pytest.fixture
def remote() -> Iterator[Remote]:
    with told_remote() as made:
        yield made


async def watch(
    *rows: Connection, user: User | None = None, consumer: type[SyncAdminConsumer] = Rung, query: str | None = None
) -> Page:
    who = user or await database_sync_to_async(member)(VIEW)
    page = Page(await new_session(who), consumer)
    ids = ",".join(row.pk.hex for row in rows) if query is None else query
    page.socket.scope["query_string"] = f"show=connections&ids={ids}".encode()
    return page


async def rows_of(page: Page) -> dict[str, Frame]:
    """The next frame of rows that is not empty, by id."""
    while True:
        frame = await page.hear()
        if frame["type"] == "connections.rows" and frame["rows"]:
            return {row["id"]: row for row in frame["rows"]}


async def answer_of(page: Page) -> tuple[str, str]:
    while True:
        frame = await page.hear()
        if frame["type"] == "connections.remote":
            assert frame.keys() == {"type", "id", "status"}
            return frame["id"], frame["status"]


async def test_who_is_let_in() -> None:
    row = await make()
    for codenames, fields in (((), {}), ((APPROVE,), {}), ((VIEW,), {"is_staff": False})):
        user = await database_sync_to_async(member)(*codenames, **fields)
        async with await watch(row, user=user) as page:
            assert await page.close_code() == 4403
    for codenames, fields in (((VIEW,), {}), ((CHANGE,), {}), ((), {"is_superuser": True})):
        user = await database_sync_to_async(member)(*codenames, **fields)
        async with await watch(row, user=user) as page:
            assert (await page.hear("connections.rows"))["total"] == 1


async def test_answers_arrive_one_by_one(remote: Remote) -> None:
    rows = [await make(site_url=remote.url(name)) for name in "abc"]
    async with await watch(*rows) as page:
        shown = await rows_of(page)
        assert shown == {
            str(row.pk): {"id": str(row.pk), "status": "active", "by_peer": False, "over": False} for row in rows
        }
        await asyncio.to_thread(remote.site.wait_for, lambda site: len(site.talks) == 3)
        for name, row, word in (("b", rows[1], "suspended"), ("c", rows[2], "active"), ("a", rows[0], "revoked")):
            assert await page.heard_nothing()
            remote.answer(name, word)
            assert await answer_of(page) == (str(row.pk), word)


async def test_each_kind_of_answer_has_its_word(bad_site: Site) -> None:
    words = {"gone": "not_found", "503": "error", "cut": "error", "expired": "expired", "pending": "pending"}
    rows = {path: await make(site_url=bad_site.url(path)) for path in words}
    closed = await make(site_url="http://127.0.0.1:1/sync")
    without = await make(peer_token=None, site_url="http://127.0.0.1:1/other")
    async with await watch(*rows.values(), closed, without) as page:
        answers = dict([await answer_of(page) for _ in range(len(rows) + 2)])
    assert answers == {
        **{str(rows[path].pk): word for path, word in words.items()},
        str(closed.pk): "offline",
        str(without.pk): "error",
    }


async def test_whom_nobody_can_reach_is_not_asked(bad_site: Site) -> None:
    laptop = await make(has_callback=False, site_url=bad_site.url("active", 1))
    other = await make(site_url=bad_site.url("active", 2))
    # The laptop's own row: it can call the site that has invited it.
    pulling = await make("receiver", site_url=bad_site.url("pending", 3), has_callback=False)
    async with await watch(laptop, other, pulling) as page:
        answers = {await answer_of(page), await answer_of(page)}
        assert answers == {(str(other.pk), "active"), (str(pulling.pk), "pending")}
        assert await page.heard_nothing()
    assert {talk.path for talk in bad_site.talks} == {"/active/2/api/status", "/pending/3/api/status"}


async def test_a_closed_socket_cancels_the_calls(remote: Remote) -> None:
    rows = [await make(site_url=remote.url(str(number))) for number in range(5)]
    async with await watch(*rows) as page:
        await asyncio.to_thread(remote.site.wait_for, lambda site: len(site.talks) == 5)
        remote.answer("0", "active")
        await answer_of(page)
    await asyncio.to_thread(remote.wait_for_lost, "1", "2", "3", "4")


@pytest.mark.parametrize("lost", ["permission", "staff", "user"])
async def test_who_may_no_longer_look_is_shown_out_and_the_calls_end(remote: Remote, lost: str) -> None:
    user = await database_sync_to_async(member)(VIEW)
    row = await make(site_url=remote.url("x"))
    async with await watch(row, user=user, consumer=Quick) as page:
        await rows_of(page)
        await asyncio.to_thread(remote.site.wait_for, lambda site: len(site.talks) == 1)
        if lost == "permission":
            await database_sync_to_async(user.user_permissions.set)(Permission.objects.none())
        elif lost == "staff":
            await User.objects.filter(pk=user.pk).aupdate(is_staff=False)
        else:
            await database_sync_to_async(user.delete)()
        assert await page.close_code() == 4403
        await asyncio.to_thread(remote.wait_for_lost, "x")


async def test_a_step_is_told_and_the_other_site_asked_again(remote: Remote, monkeypatch: Any) -> None:
    monkeypatch.setattr(connections_page, "SETTLED", 0.0)
    row, still = await make(site_url=remote.url("x")), await make(site_url=remote.url("y"))
    for name in "xy":
        remote.answer(name, "active")
    async with await watch(row, still) as page:
        await rows_of(page)
        assert {await answer_of(page), await answer_of(page)} == {(str(each.pk), "active") for each in (row, still)}
        remote.answer("x", "suspended")
        await row.asuspend(reason="x")
        assert await rows_of(page) == {
            str(row.pk): {"id": str(row.pk), "status": "suspended", "by_peer": False, "over": False}
        }
        assert await answer_of(page) == (str(row.pk), "suspended")
        assert await page.heard_nothing()


async def test_what_no_bell_told_is_read_all_the_same(bad_site: Site) -> None:
    row = await make(site_url=bad_site.url("active"))
    async with await watch(row, consumer=Quick) as page:
        await rows_of(page)
        await Connection.objects.filter(pk=row.pk).aupdate(status="revoked", set_by_peer=True)
        shown = (await rows_of(page))[str(row.pk)]
        assert (shown["status"], shown["by_peer"]) == ("revoked", True)
        await Connection.objects.filter(pk=row.pk).adelete()

        async def is_gone() -> bool:
            frame = await page.hear()
            return frame["type"] == "connections.rows" and (frame["gone"], frame["total"]) == ([str(row.pk)], 0)

        await until(is_gone)


async def test_an_answer_is_asked_for_again_after_a_while(bad_site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(connections_page, "AGAIN", 0.1)
    row = await make(site_url=bad_site.url("active"))
    async with await watch(row, consumer=Quick) as page:
        for _ in range(3):
            assert await answer_of(page) == (str(row.pk), "active")


async def test_an_address_may_say_anything(bad_site: Site) -> None:
    row = await make(site_url=bad_site.url("active"))
    for query in ("", ",,", "x", f"{row.pk.hex},{row.pk}", "%00", "&ids=1", "%ff", f"{row.pk.hex}," * 5000):
        async with await watch(query=query) as page:
            frame = await page.hear("connections.rows")
            assert [each["id"] for each in frame["rows"]] == ([str(row.pk)] if row.pk.hex in query else [])
            assert (await page.ask(type="connections.rows"))["code"] == "unknown_type"


async def test_a_page_follows_no_more_than_it_may(bad_site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "MOST", 2)
    rows = [await make(site_url=bad_site.url("active", number)) for number in range(4)]
    async with await watch(*rows) as page:
        assert set(await rows_of(page)) == {str(row.pk) for row in rows[:2]}


async def test_nothing_secret_is_sent(bad_site: Site) -> None:
    row = await make(site_url=bad_site.url("active"), metadata={"a": "b"})
    row.set_download_password("x")
    await row.asave()
    async with await watch(row) as page:
        sent = json.dumps([await page.hear(), await page.hear()])
    for secret in (row.peer_token, row.peer_token_at_rest, row.download_password, row.site_hash):
        assert secret and secret not in sent


# Without a socket


@pytest.fixture
def answers(monkeypatch: Any) -> connection_answers.Answers:
    """What this process knows: nothing yet."""
    fresh = connection_answers.Answers()
    monkeypatch.setattr(connections, "answers", fresh)
    return fresh


def polled(client: Any, *rows: Connection) -> Frame:
    frame: Frame = client.get(url("live"), {"ids": ",".join(row.pk.hex for row in rows)}).json()
    return frame


async def test_a_poll_says_what_the_socket_says(remote: Remote, answers: Any) -> None:
    user = await database_sync_to_async(member)(VIEW)
    rows = [await make(site_url=remote.url(name)) for name in "ab"]
    async with await watch(*rows, user=user) as page:
        sent = await page.hear("connections.rows")
    client = await in_thread(lambda: client_of(user))
    first = await in_thread(lambda: polled(client, *rows))
    assert first.pop("remote") == {}
    assert first == sent
    remote.answer("b", "suspended")

    async def knows_one() -> bool:
        return (await in_thread(lambda: polled(client, *rows)))["remote"] == {str(rows[1].pk): "suspended"}

    await until(knows_one)
    remote.answer("a", "active")

    async def knows_both() -> bool:
        return len((await in_thread(lambda: polled(client, *rows)))["remote"]) == 2

    await until(knows_both)


def test_many_polls_ask_each_site_once(remote: Remote, answers: Any) -> None:
    rows = [a_connection(site_url=remote.url(str(number))) for number in range(3)]
    clients = [client_of(member(VIEW)) for _ in range(4)]
    for _ in range(5):
        for client in clients:
            assert polled(client, *rows)["remote"] == {}
    remote.site.wait_for(lambda site: len(site.talks) == 3)
    for number in range(3):
        remote.answer(str(number), "active")
    assert answers._thread is not None
    answers._thread.join(10)
    for client in clients:
        assert set(polled(client, *rows)["remote"].values()) == {"active"}
    assert len(remote.site.talks) == 3
    assert sum(thread.name == "syncsessions-answers" for thread in threading.enumerate()) == 0


def test_a_status_that_changed_here_is_asked_for_anew(bad_site: Site, answers: Any) -> None:
    row, laptop = a_connection(site_url=bad_site.url("active")), a_connection(site_url=None, has_callback=False)
    client = client_of(member(VIEW))
    assert polled(client, row, laptop)["remote"] == {}
    answers._thread.join(10)
    assert polled(client, row, laptop)["remote"] == {str(row.pk): "active"}
    Connection.objects.filter(pk=row.pk).update(status="suspended")
    assert polled(client, row)["remote"] == {}
    answers._thread.join(10)
    assert polled(client, row)["remote"] == {str(row.pk): "active"}
    assert len(bad_site.talks) == 2
