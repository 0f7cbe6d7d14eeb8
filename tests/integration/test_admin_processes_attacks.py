"""The admin's pages of session processes under attack: hostile states and names, forged keys, methods, rights that are
lost on the way, and work that one request makes."""

from __future__ import annotations

import html.parser
import json
import time
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest
from channels.db import database_sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from syncsessions import veil
from syncsessions.consumers.sync_admin import SyncAdminConsumer
from syncsessions.processes import DefaultProcess, Reducer, SessionProcess, action, names, overview
from syncsessions.stores import stores
from syncsessions.stores.operations import Create
from tests.sockets import Page, new_session
from tests.staff import TERMINATE, TOUCH, VIEW_PROCESSES, client_of, key_of, member

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_store")]
EVIL = "</script><script>ran()</script><img src=x onerror=ran()>\"'` onfocus=ran() javascript:ran() {{7*7}} %(codes)s"
ID = "A-browser-sessions-whole-name-01"


class Everything(Reducer):
    """Takes every action, whatever stands before the dot."""

    name = "all"
    prefix = ""
    initial_state: ClassVar[Any] = {}

    @action
    def keep(self, state: Any, payload: Any) -> Any:
        return {"payload": payload}

    @action(debounce=60)
    def later(self, state: Any, payload: Any) -> Any:
        return state


class Board(SessionProcess):
    reducers = [Everything]
    history = 10

    def init(self, args: Any) -> Any:
        return args


def url(page: str = "changelist", *args: str) -> str:
    return reverse(f"admin:syncsessions_activeprocess_{page}", args=args)


def of_an_unknown_class(path: str) -> overview.Place:
    data = {"state": {EVIL: EVIL}, "revision": 3, "vsn": 1, "start": {}}
    place = overview.Place(f"{path}:some-id", "0123456789abcdef")
    stores["processes"].execute(
        Create(names.NAMESPACE, place.record_id, place.life, data, json.dumps(data), 60, None, None)
    )
    return place


class Markup(html.parser.HTMLParser):
    """What a browser makes elements and attributes of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, tuple[str, ...]]] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        named = dict(attrs)
        self.elements.add((tag, tuple(sorted(named))))
        self.links |= {str(named[name]) for name in ("href", "src", "action") if name in named}


def markup(response: Any) -> Markup:
    assert response.status_code == 200
    return Markup(response.content.decode())


@pytest.fixture
def evil_class() -> Any:
    return type(EVIL, (Board,), {"history": 10})


def pages(client: Client, path: str, *keys: str) -> list[Any]:
    found = [client.get(url()), client.get(url(), {"class": path})]
    found += [client.get(url("detail", key)) for key in keys]
    return [*found, client.post(url(), {"action": "terminate", "_selected_action": keys})]


def test_nothing_that_a_process_says_becomes_markup(evil_class: Any) -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    plain = Board.start("plain", {"key": "value", "more": [{"key": "value"}, 1, None, [], {}]})
    plain.dispatch("board.keep", {"key": "value"})
    plain.dispatch("board.later", {"key": "value"})
    other = of_an_unknown_class("gone.from.the.Code")
    usual = [markup(page) for page in pages(client, Board.path, key_of(plain), other.key)]
    plain.terminate()
    evil = evil_class.start("evil", {EVIL: EVIL, f"{EVIL}2": [{EVIL: EVIL}, 1, None, [], {}]})
    evil.dispatch(f"{EVIL}.keep", {EVIL: EVIL})
    evil.dispatch(f"{EVIL}.later", EVIL)
    for page, expected in zip(pages(client, EVIL, key_of(evil), of_an_unknown_class(EVIL).key), usual, strict=True):
        found = markup(page)
        assert found.elements <= expected.elements | {("tr", ("data-key",))}
        assert not [link for link in found.links if link.strip().lower().startswith(("javascript:", "data:", "//"))]
        assert "<img" not in page.content.decode()
        assert "<script>ran" not in page.content.decode()
    assert client.post(url(), {"only_touch": key_of(evil)}, follow=True).status_code == 200
    assert "<img" not in client.get(reverse("admin:index")).content.decode()
    assert LogEntry.objects.count() == 1


def test_no_other_method_changes_anything() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    session = Board.start(ID, {})
    key = key_of(session)
    fields = {"only_terminate": key, "confirmed": "yes", "action": "terminate", "_selected_action": key}
    for address in (url(), url("detail", key), url("live"), url("live_detail", key)):
        for method in ("get", "head", "options"):
            assert getattr(client, method)(address, fields).status_code in (200, 405)
        for method in ("put", "patch", "delete"):
            getattr(client, method)(f"{address}?only_terminate={key}&confirmed=yes", json.dumps(fields))
        client.get(address, fields, headers={"X-HTTP-Method-Override": "POST"})
        client.post(f"{address}?only_terminate={key}&action=terminate&confirmed=yes&_selected_action={key}")
    for address in (url("live"), url("live_detail", key)):
        client.post(address, fields)
    assert session.process.started(session.id)
    assert not LogEntry.objects.exists()


def forged(session: Any) -> list[str]:
    """What is no key of this session's life, though it looks like one."""
    key, place = key_of(session), overview.Place(*session.key)
    flipped = [f"{key[:at]}{'A' if key[at] != 'A' else 'B'}{key[at + 1 :]}" for at in range(0, len(key), 7)]
    others = [veil.veiled(purpose, " ".join(place)) for purpose in ("sync", "Process", "process.tag", "", "stash")]
    shapes = [place.record_id, " ".join(place), key[:-4], key + "AAAA", key * 2, key.swapcase(), "A" * 200, "A" * 22]
    return [*flipped, *others, *shapes, f"{key}\x00", f" {key}", f"{key}\n", "\x00", "ö" * 200, "'\"<>/\\", "../..", ""]


def test_forged_keys_name_nothing() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    session = Board.start(ID, {})
    for name in forged(session):
        assert overview.place_of(name) is None
        for fields in ({"only_terminate": name}, {"action": "terminate", "_selected_action": name}):
            told = client.post(url(), {**fields, "confirmed": "yes"})
            assert told.status_code == 302
        for address in (f"{url()}{name}/", f"{url()}{name}/live/"):
            quoted = address.replace("\x00", "%00").replace("\n", "%0A")
            assert client.get(quoted).status_code in ((200, 301, 404) if name in ("", "../..") else (301, 404))
    assert session.process.started(session.id)
    assert not LogEntry.objects.exists()


async def staff_page(user: Any, **query: str) -> Page:
    page = Page(await new_session(user), SyncAdminConsumer)
    page.socket.scope["query_string"] = urlencode(query).encode()
    return page


async def test_forged_keys_name_nothing_on_the_socket_either() -> None:
    session = await Board.astart(ID, {})
    boss = await database_sync_to_async(member)(VIEW_PROCESSES, TOUCH, TERMINATE)

    class Patient(SyncAdminConsumer):
        frame_burst = 1000

    page = Page(await new_session(boss), Patient)
    page.socket.scope["query_string"] = b"show=processes&p=%ED%A0%80&class=%00&key=%FF"
    async with page:
        await page.hear("process.list")
        junk = [*forged(session), "\ud800", None, True, 10**100, 1.5, [key_of(session)], {"key": key_of(session)}]
        for name in junk:
            for kind in ("process.touch", "process.terminate"):
                assert (await page.ask(type=kind, key=name))["code"] == "bad_frame"
        for kind in ("__class__", "answers", "read", "process.__init__", "_done", "process.gone"):
            assert (await page.ask(type=kind, key=key_of(session)))["code"] == "unknown_type"
        for text in ('{"type": "process.touch", "key": ' + "[" * 1500 + "]" * 1500 + "}", "[" * 4000, "\x00"):
            await page.socket.send_to(text_data=text)
            while (answer := await page.hear())["type"] == "process.list":
                pass
            assert answer["code"] == "bad_frame"
    assert await Board.astarted(ID)
    for name in forged(session)[:12]:
        async with await staff_page(boss, show="process", key=name) as page:
            assert await page.hear() == {"type": "process.gone", "key": name}


@pytest.mark.parametrize("lost", [VIEW_PROCESSES, TERMINATE, "is_staff", "is_active"])
def test_a_right_that_was_lost_between_question_and_answer(lost: str) -> None:
    boss = member(VIEW_PROCESSES, TOUCH, TERMINATE)
    client, session = client_of(boss), Board.start(ID, {})
    fields = {"action": "terminate", "_selected_action": key_of(session)}
    assert client.post(url(), fields).status_code == 200
    if lost in (VIEW_PROCESSES, TERMINATE):
        boss.user_permissions.remove(Permission.objects.get(codename=lost))
    else:
        setattr(boss, lost, False)
        boss.save()
    assert client.post(url(), {**fields, "confirmed": "yes"}).status_code in (302, 403)
    assert session.process.started(session.id)


def test_who_may_only_touch_cannot_terminate_under_another_name() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH))
    session = Board.start(ID, {})
    key = key_of(session)
    for fields in (
        {"only_terminate": key, "confirmed": "yes"},
        {"action": "terminate", "_selected_action": key, "confirmed": "yes"},
        {"action": ["touch", "terminate"], "_selected_action": key, "confirmed": "yes"},
        {"action": "TERMINATE", "_selected_action": key, "confirmed": "yes"},
        {"action": "delete_selected", "_selected_action": key, "post": "yes"},
        {"only_touch": "", "only_terminate": key, "confirmed": "yes"},
    ):
        for address in (url(), url("detail", key)):
            assert client.post(address, fields).status_code in (302, 403)
    assert session.process.started(session.id)


def test_a_post_that_lists_very_many_is_bounded() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    session = Board.start(ID, {})
    same = [key_of(session)] * 900
    began = time.monotonic()
    told = client.post(url(), {"action": "touch", "_selected_action": same}, follow=True)
    assert [str(message) for message in told.context["messages"]] == ["1 process was touched."]
    assert LogEntry.objects.count() == 1
    assert client.post(url(), {"action": "touch", "_selected_action": ["x"] * 5000}).status_code == 400
    assert time.monotonic() - began < 10


def test_nowhere_back_but_here() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH))
    key = key_of(Board.start(ID, {}))
    for query in ("?next=//evil.example", "?class=//evil.example", "?p=//evil.example", "?class=%0d%0aX: y"):
        told = client.post(url() + query, {"only_touch": key, "next": "//evil.example"})
        assert told["Location"].startswith(f"{url()}?") or told["Location"] == url()
        assert "X" not in told


def test_what_the_admin_and_its_log_say_holds_no_whole_id(caplog: Any) -> None:
    caplog.set_level("DEBUG")
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    session = DefaultProcess.start(ID)
    session.cast("put", "token", "sesame")
    key = key_of(session)
    said = [client.get(address).content.decode() for address in (url(), url("detail", key), url("live"))]
    said.append(client.post(url(), {"only_terminate": key}).content.decode())
    client.post(url(), {"only_touch": key})
    client.post(url(), {"only_terminate": key, "confirmed": "yes"})
    said += [f"{entry.object_id} {entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    assert ID not in "".join(said)
    assert "sesame" not in caplog.text + said[0] + said[2] + "".join(said[3:])
    assert ID not in caplog.text


@pytest.mark.usefixtures("pairing_store")
def test_a_page_of_huge_states_and_histories_stays_small() -> None:
    client = client_of(member(VIEW_PROCESSES))
    session = Board.start(ID, {f"{number:090}": ["x" * 5000] * 20 for number in range(120)})
    for number in range(12):
        session.dispatch(f"{'long' * 500}{number}.keep", {"k" * 10_000: ["y" * 300_000, [[[[number]]]]]})
    for address in (url("detail", key_of(session)), url("live_detail", key_of(session)), url(), url("live")):
        found = client.get(address)
        assert found.status_code == 200
        assert len(found.content) < 300_000
