"""Remote statuses: the row of the table that each answer falls under, when it arrives, and how asking ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from syncsessions.connections import calls, enquiries, tokens
from syncsessions.connections.status import (
    afetch_peer_statuses,
    afetch_sender_statuses,
    fetch_peer_statuses,
    fetch_sender_statuses,
)
from syncsessions.models import Connection
from tests.certificates import Authority
from tests.misbehaving import ERRORS, FINE, NEVER_FINISHED, STATUSES, Site, Talk, free_port, misbehaving, unreachable
from tests.staff import put

Ask = Callable[[Iterable[Connection]], dict[Any, str]]


def a_row(site_url: str | None, direction: str = "receiver", **fields: Any) -> Connection:
    """A row that no database knows: asking needs none."""
    row = Connection(name="S", direction=direction, site_url=site_url, status="active")
    row.peer_token = fields.pop("token", tokens.draw())
    for name, value in fields.items():
        setattr(row, name, value)
    return row


@pytest.fixture(autouse=True)
def _databases(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The async form looks after this thread's connections, though there is nothing to be asked of a database."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(params=["sync", "async"])
def ask(request: Any) -> Ask:
    """All statuses, by either form."""

    async def collected(rows: Iterable[Connection]) -> list[tuple[Any, str]]:
        return [item async for item in afetch_sender_statuses(rows)]

    def both(rows: Iterable[Connection]) -> dict[Any, str]:
        found = list(fetch_sender_statuses(rows)) if request.param == "sync" else asyncio.run(collected(rows))
        assert len(dict(found)) == len(found), "each once"
        return dict(found)

    return both


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WITHIN", 0.5)


def one(ask: Ask, row: Connection) -> str:
    (status,) = ask([row]).values()
    return status


@pytest.mark.parametrize("word", STATUSES)
def test_a_connection_there_has_the_status_that_it_has_there(bad_site: Site, ask: Ask, word: str) -> None:
    row = a_row(bad_site.url(word))
    assert ask([row]) == {row.id: word}
    (talk,) = bad_site.talks
    assert talk.head.startswith(f"GET /{word}/api/status HTTP/1.1")
    assert talk.header("Authorization") == f"Bearer {row.peer_token}"


@pytest.mark.parametrize("behaviour", FINE)
def test_every_shape_of_a_whole_answer_is_read(bad_site: Site, ask: Ask, behaviour: str) -> None:
    assert one(ask, a_row(bad_site.url(behaviour))) == "active"


def test_a_site_that_knows_no_such_link_says_not_found(bad_site: Site, ask: Ask) -> None:
    assert one(ask, a_row(bad_site.url("gone"))) == "not_found"


@pytest.mark.parametrize("behaviour", ERRORS)
def test_anything_else_that_is_answered_is_an_error(bad_site: Site, behaviour: str) -> None:
    row = a_row(bad_site.url(behaviour))
    assert list(fetch_sender_statuses([row])) == [(row.id, "error")]


@pytest.mark.parametrize("behaviour", NEVER_FINISHED)
def test_an_answer_not_finished_in_time_is_offline(bad_site: Site, short: None, ask: Ask, behaviour: str) -> None:
    began = time.monotonic()
    assert one(ask, a_row(bad_site.url(behaviour))) == "offline"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_ten_seconds_are_given_to_a_site_in_all(bad_site: Site, behaviour: str) -> None:
    began = time.monotonic()
    assert [status for _, status in fetch_sender_statuses([a_row(bad_site.url(behaviour))])] == ["offline"]
    assert 9.9 < time.monotonic() - began < 13


def test_a_site_that_cannot_be_reached_is_offline(
    sites_here: None, short: None, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unreachable() as silent:
        rows = [a_row(f"http://127.0.0.1:{free_port()}"), a_row(silent)]
        assert set(ask(rows).values()) == {"offline"}

    def unknown(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert one(ask, a_row("https://b.example")) == "offline"


def test_a_row_without_site_or_readable_token_is_an_error(bad_site: Site, ask: Ask) -> None:
    url = bad_site.url("active")
    rows = [
        *(a_row(None), a_row(""), a_row("b.example"), a_row(url, token=None)),
        a_row(url, peer_token_at_rest="what another key has encrypted"),
    ]
    assert set(ask(rows).values()) == {"error"}
    assert bad_site.connected == 0


def test_what_tls_has_against_a_site_is_an_error(authority: Authority, settings: Any, ask: Ask) -> None:
    put(settings, ALLOW_PRIVATE_SITE_URLS=True)
    right, wrong = authority.server("127.0.0.1"), authority.server("c.example")
    with misbehaving(tls=right) as one_site, misbehaving(tls=wrong) as other, misbehaving() as plain:
        rows = [a_row(one_site.url("active")), a_row(other.url("active")), a_row(plain.url("active"))]
        assert list(ask(rows).values()).count("error") == 2
        assert ask(rows)[rows[0].id] == "active"
    assert other.talks == [] and plain.connected == 0


def test_a_site_at_a_private_address_is_an_error(bad_site: Site, settings: Any, ask: Ask) -> None:
    put(settings, ALLOW_PRIVATE_SITE_URLS=False)
    assert one(ask, a_row(bad_site.url("active"))) == "error"
    assert bad_site.connected == 0


@pytest.mark.parametrize("status", ["pending", "active", "suspended", "revoked", "expired"])
def test_the_status_here_does_not_matter(bad_site: Site, ask: Ask, status: str) -> None:
    row = a_row(bad_site.url("suspended"), status=status, has_callback=False)
    assert one(ask, row) == "suspended"
    assert row.status == status


def test_each_is_asked_and_yielded_once_and_senders_not_at_all(bad_site: Site, ask: Ask) -> None:
    row, other = a_row(bad_site.url("active")), a_row(bad_site.url("gone"))
    rows = [row, other, row, a_row(bad_site.url("active"), direction="sender")]
    assert ask(iter(rows)) == {row.id: "active", other.id: "not_found"}
    assert len(bad_site.talks) == 2


def test_nobody_to_ask_is_no_statuses(ask: Ask) -> None:
    assert ask([]) == {}


def test_peers_are_asked_whichever_side_they_are_where_they_can_be_reached(bad_site: Site) -> None:
    rows = [a_row(bad_site.url("active")), a_row(bad_site.url("revoked"), direction="sender")]
    behind = a_row(bad_site.url("active"), direction="sender", has_callback=False)
    told = {rows[0].id: "active", rows[1].id: "revoked"}
    assert dict(fetch_peer_statuses([*rows, behind])) == told

    async def collected() -> dict[Any, str]:
        return {pk: status async for pk, status in afetch_peer_statuses([*rows, behind])}

    assert asyncio.run(collected()) == told


# in which order, and how many at a time


def test_they_come_in_the_order_of_their_answers(sites_here: None) -> None:
    release = {name: threading.Event() for name in "abc"}

    def behave(talk: Talk) -> None:
        name = talk.path.split("/")[1]
        assert release[name].wait(30)
        talk.answer(404, {"exists": False})

    with misbehaving(behave=behave) as site:
        rows = {name: a_row(site.url(name)) for name in "abc"}
        asked = fetch_sender_statuses(rows.values())
        for name in "cab":
            release[name].set()
            assert next(asked) == (rows[name].id, "not_found")
        assert list(asked) == []


def test_180_statuses_are_shown_as_they_come_while_20_sites_hang(sites_here: None) -> None:
    answered: dict[str, float] = {}

    def behave(talk: Talk) -> None:
        answered[talk.path] = time.monotonic()
        talk.answer(200, {"connection": {"exists": True, "status": "active"}})

    with misbehaving(behave=behave) as site:
        hanging = [a_row(site.url("hang", number)) for number in range(20)]
        quick = {row.id: row for row in (a_row(site.url("quick", number)) for number in range(180))}
        asked = fetch_sender_statuses(sorted([*hanging, *quick.values()], key=lambda row: str(row.id)[::-1]))
        late = []
        for pk, status in itertools.islice(asked, 180):
            assert status == "active"
            path = str(quick.pop(pk).site_url).removeprefix(site.origin)
            late.append(time.monotonic() - answered[f"{path}/api/status"])
        assert not quick
        assert max(late) < 1
        began = time.monotonic()
        asked.close()
        assert time.monotonic() - began < 2
        site.wait_for(lambda site: site.gone >= 20, within=2)


def test_64_are_asked_at_a_time_and_the_time_of_a_site_starts_with_its_turn(
    sites_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WITHIN", 3.0)
    assert enquiries.AT_ONCE == 64
    with misbehaving() as site:
        hanging = [a_row(site.url("hang")) for _ in range(64)]
        last = a_row(site.url("active"))
        asked = fetch_sender_statuses([*hanging, last])
        first = next(asked)
        assert first[1] == "offline"
        found = dict([first, *asked])
    assert found.pop(last.id) == "active"
    assert set(found.values()) == {"offline"}
    assert [talk.path for talk in site.talks].index("/active/api/status") == 64


def test_resolvers_that_hang_keep_no_place(sites_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, real = threading.Event(), socket.getaddrinfo

    def stuck(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).startswith("stuck"):
            let_go.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(calls, "WITHIN", 1.0)
    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    try:
        with misbehaving() as site:
            last = a_row(site.url("active"))
            began = time.monotonic()
            rows = [*(a_row(f"https://stuck-{number}.example") for number in range(128)), last]
            found = dict(fetch_sender_statuses(rows))
            assert time.monotonic() - began < 15
        assert found.pop(last.id) == "active"
        assert set(found.values()) == {"offline"}
    finally:
        let_go.set()


# how it ends


def test_nobody_is_asked_before_the_first_is_taken_nor_after_closing(bad_site: Site) -> None:
    asked = fetch_sender_statuses(a_row(bad_site.url("active")) for _ in range(3))
    asked.close()
    asked.close()
    assert list(asked) == []
    assert bad_site.connected == 0


def test_closing_cancels_what_is_in_flight_and_wakes_who_waits(bad_site: Site) -> None:
    asked = fetch_sender_statuses(a_row(bad_site.url("hang")) for _ in range(70))
    left: list[Any] = []
    consumer = threading.Thread(target=lambda: left.append(list(asked)), daemon=True)
    consumer.start()
    bad_site.wait_for(lambda site: len(site.talks) == 64)
    began = time.monotonic()
    asked.close()
    consumer.join(30)
    assert left == [[]]
    bad_site.wait_for(lambda site: site.gone == 64)
    assert time.monotonic() - began < 2
    assert len(bad_site.talks) == 64, "those whose turn had not come are not asked"


@pytest.mark.parametrize("form", ["sync", "async"])
def test_dropping_it_is_closing_it(bad_site: Site, form: str) -> None:
    rows = [a_row(bad_site.url("active")), *(a_row(bad_site.url("hang")) for _ in range(3))]
    if form == "sync":
        asked = fetch_sender_statuses(rows)
        assert next(asked)[1] == "active"
        bad_site.wait_for(lambda site: len(site.talks) == 4)
        del asked
    else:

        async def first() -> None:
            asked = afetch_sender_statuses(rows)
            assert (await anext(asked))[1] == "active"
            await asyncio.to_thread(bad_site.wait_for, lambda site: len(site.talks) == 4)

        asyncio.run(first())
    gc.collect()
    bad_site.wait_for(lambda site: site.gone >= 3, within=5)


async def test_closing_the_async_form_wakes_who_waits(bad_site: Site) -> None:
    asked = afetch_sender_statuses([a_row(bad_site.url("hang")) for _ in range(3)])

    async def consume() -> list[Any]:
        return [item async for item in asked]

    consumer = asyncio.create_task(consume())
    await asyncio.to_thread(bad_site.wait_for, lambda site: len(site.talks) == 3)
    began = time.monotonic()
    await asked.aclose()
    assert await asyncio.wait_for(consumer, 30) == []
    await asyncio.to_thread(bad_site.wait_for, lambda site: site.gone == 3)
    assert time.monotonic() - began < 2


async def test_a_consumer_that_is_cancelled_may_close_it(bad_site: Site) -> None:
    asked = afetch_sender_statuses([a_row(bad_site.url("hang"))])

    async def consume() -> None:
        async with contextlib.aclosing(asked):
            async for _ in asked:
                raise AssertionError

    consumer = asyncio.create_task(consume())
    await asyncio.to_thread(bad_site.wait_for, lambda site: len(site.talks) == 1)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await asyncio.to_thread(bad_site.wait_for, lambda site: site.gone == 1, 5)


async def test_the_loop_goes_on_while_sites_are_asked(bad_site: Site, short: None) -> None:
    asked = afetch_sender_statuses([a_row(bad_site.url("hang"))])
    consumer = asyncio.ensure_future(anext(asked))
    turns = 0
    while not consumer.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await consumer)[1] == "offline"
    assert turns > 20


async def test_the_async_form_reads_a_queryset_where_async_code_may(bad_site: Site) -> None:
    row = a_row(bad_site.url("active"))
    await row.asave()
    await a_row(bad_site.url("active"), direction="sender").asave()
    try:
        found = [item async for item in afetch_sender_statuses(Connection.objects.filter(site_url=row.site_url))]
        assert found == [(row.id, "active")]
    finally:
        await Connection.objects.all().adelete()


def test_nothing_is_logged_but_hosts_and_reasons(bad_site: Site, short: None, caplog: pytest.LogCaptureFixture) -> None:
    rows = [a_row(bad_site.url(name)) for name in ("active", "cut", "hang", "503")]
    with caplog.at_level(logging.DEBUG):
        assert len(list(fetch_sender_statuses(rows))) == 4
    said = caplog.text
    assert "127.0.0.1" in said
    assert not [row for row in rows if str(row.peer_token) in said]
