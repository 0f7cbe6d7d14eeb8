"""The admin's pages of session processes: who may see, touch and terminate them, and what they show, and how much."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from syncsessions import processes
from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import DefaultProcess, Reducer, SessionProcess, action, names, overview, staff
from syncsessions.processes.models import ActiveProcess
from syncsessions.stores import stores
from syncsessions.stores.operations import Create, Get
from tests.staff import GONE, TERMINATE, TOUCH, VIEW_PROCESSES, client_of, key_of, member, put

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_store")]
ID = "A-browser-sessions-whole-name-01"
every_store = pytest.mark.usefixtures("pairing_store")


class Wares(Reducer):
    name = "wares"
    initial_state = {"items": []}

    @action
    def add(self, state: Any, item: Any) -> Any:
        return {"items": [*state["items"], item]}

    @action(debounce=60)
    def later(self, state: Any, item: Any) -> Any:
        return state


class Stall(SessionProcess):
    reducers = [Wares]
    history = 40
    ttl = 500

    def on_stop(self, session_id: str, state: Any, reason: str) -> None:
        STOPPED.append((session_id, reason))


STOPPED: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def nothing_stopped() -> None:
    STOPPED.clear()


def url(page: str = "changelist", *args: str) -> str:
    return reverse(f"admin:syncsessions_activeprocess_{page}", args=args)


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def listed(text: str) -> list[str]:
    """The keys of the rows that the page came with."""
    return re.findall(r'<tr data-key="([\w-]+)"', text)


def config_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script id="syncsessions-live-config" type="application/json">(.*?)</script>', text)
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


def posted_back(client: Client, asking: Any) -> Any:
    """What a press of the asking page's button brings."""
    form = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', text_of(asking), re.DOTALL)
    assert form
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="([^"]*)" value="([^"]*)"', form[2]):
        fields.setdefault(name, []).append(unescape(value))
    return client.post(unescape(form[1]), fields, follow=True)


def choose(client: Client, action: str, *sessions: Any, query: str = "") -> Any:
    fields = {"action": action, "_selected_action": [key_of(session) for session in sessions]}
    return client.post(url() + query, fields, follow=True)


def said(response: Any) -> list[str]:
    text_of(response)
    return [str(message) for message in response.context["messages"]]


def lives(session: Any) -> bool:
    return session.process.started(session.id) and session.process.get(session.id).key == session.key


def left(session: Any) -> float:
    record = stores["processes"].execute(Get(names.NAMESPACE, session.key[0]))
    return float(record.expires_at.timestamp() - time.time())


WHO: dict[str, tuple[dict[str, Any] | None, tuple[str, ...]]] = {
    "anonymous": (None, ()),
    "no staff": ({"is_staff": False}, (VIEW_PROCESSES, TOUCH, TERMINATE)),
    "inactive": ({"is_active": False}, (VIEW_PROCESSES, TOUCH, TERMINATE)),
    "without": ({}, ("view_activesyncsession", "end_activesyncsession")),
    "all but view": ({}, (TOUCH, TERMINATE)),
    "view": ({}, (VIEW_PROCESSES,)),
    "view and touch": ({}, (VIEW_PROCESSES, TOUCH)),
    "view and terminate": ({}, (VIEW_PROCESSES, TERMINATE)),
    "superuser": ({"is_superuser": True}, ()),
}
VIEWERS = {"view", "view and touch", "view and terminate", "superuser"}
TOUCHERS = {"view and touch", "superuser"}
ENDERS = {"view and terminate", "superuser"}


@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what(who: str) -> None:
    fields, permissions = WHO[who]
    client = client_of(None if fields is None else member(*permissions, **fields))
    session = Stall.start(ID)
    key = key_of(session)
    pages = [client.get(address) for address in (url(), url("detail", key), url("live"), url("live_detail", key))]
    touch, terminate = {"only_touch": key}, {"only_terminate": key, "confirmed": "yes"}
    if who not in VIEWERS:
        refused = 403 if who in ("without", "all but view") else 302
        acted = [client.post(url("detail", key), fields) for fields in (touch, terminate)]
        acted += [client.post(url(), fields) for fields in (touch, terminate)]
        assert {answer.status_code for answer in pages + acted} == {refused}
        assert lives(session)
        return
    for answer in pages:
        text = text_of(answer)
        assert ID not in text
        assert f"{ID[:8]}\\u2026" in text or f"{ID[:8]}…" in text
    for page in pages[:2]:
        assert ("only_touch" in text_of(page)) == (who in TOUCHERS)
        assert ("only_terminate" in text_of(page)) == (who in ENDERS)
    for address in (url(), url("detail", key)):
        assert client.post(address, touch).status_code == (302 if who in TOUCHERS else 403)
    assert client.post(url(), {"only_terminate": key}).status_code == (200 if who in ENDERS else 403)
    assert lives(session)
    assert client.post(url("detail", key), terminate).status_code == (302 if who in ENDERS else 403)
    assert lives(session) == (who not in ENDERS)


def test_it_is_an_ordinary_entry_of_the_admin(capsys: Any) -> None:
    client = client_of(member(VIEW_PROCESSES))
    for page in (reverse("admin:index"), reverse("admin:app_list", args=["syncsessions"])):
        text = text_of(client.get(page))
        assert url() in text
        assert "activeprocess/add" not in text
        assert "activesyncsession" not in text
    for path in ("add/", "1/change/", "1/delete/", "1/history/", "1/", "live/live/", "ö/", "A" * 600 + "/"):
        assert client.get(url() + path).status_code == 404
    found = Permission.objects.filter(content_type__model="activeprocess").values_list("codename", flat=True)
    assert set(found) == {VIEW_PROCESSES, TOUCH, TERMINATE}
    assert list(ActiveProcess.objects.all()) == list(ActiveProcess._base_manager.all()) == []
    call_command("dumpdata", "syncsessions", verbosity=0)
    assert "activeprocess" not in capsys.readouterr().out
    assert apps.get_model("syncsessions", "ActiveProcess")._meta.managed is False


@every_store
def test_the_list_says_what_each_process_is() -> None:
    client = client_of(member(VIEW_PROCESSES))
    assert "No process is running." in text_of(client.get(url()))
    old = DefaultProcess.start("short", None)
    old.cast("put", "name", "</script><script>alert('ö')</script>")
    new = Stall.start(ID)
    text = text_of(client.get(url()))
    assert listed(text) == [key_of(new), key_of(old)]
    frame = client.get(url("live")).json()
    assert config_of(text)["list"]["processes"][0].keys() == frame["processes"][0].keys()
    first, second = frame["processes"]
    assert first == {
        "key": key_of(new),
        "class": f"{__name__}.Stall",
        "name": "Stall",
        "id": "A-browse…",
        "revision": 0,
        "age": first["age"],
        "left": first["left"],
        "bytes": first["bytes"],
    }
    assert 0 <= first["age"] < 10
    assert 490 < first["left"] <= 500.5
    assert 20 < first["bytes"] < 200
    assert (second["name"], second["id"], second["revision"]) == ("DefaultProcess", "short", 1)
    assert sum(row["bytes"] for row in frame["processes"]) == processes.session_stats()["memory_bytes"]
    assert (frame["total"], frame["read"], frame["page"], frame["pages"]) == (2, 2, 1, 1)
    assert "alert(" not in text
    assert " style=" not in text


@every_store
def test_the_list_by_class() -> None:
    client = client_of(member(VIEW_PROCESSES))
    stall, other = Stall.start("a"), DefaultProcess.start("a")
    for process, session in ((Stall, stall), (DefaultProcess, other)):
        text = text_of(client.get(url(), {"class": process.path}))
        assert listed(text) == [key_of(session)]
        assert "Of this class: 1 of the 2 processes on this page." in text
        frame = client.get(url("live"), {"class": process.path}).json()
        assert [row["class"] for row in frame["processes"]] == [process.path]
        assert {Stall.path, DefaultProcess.path} <= set(frame["classes"])
        assert SessionProcess.path not in frame["classes"]
    assert listed(text_of(client.get(url(), {"class": '"><b>'}))) == []


@every_store
def test_pages_are_read_one_at_a_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "PAGE", 2)
    client = client_of(member(VIEW_PROCESSES, TERMINATE))
    sessions = [Stall.start(f"s{number}") for number in range(7)][::-1]
    started = [key_of(session) for session in sessions]
    store = type(stores["processes"])
    asked: list[Any] = []
    execute = store.execute

    def counting(self: Any, operation: Any) -> Any:
        found = execute(self, operation)
        asked.append(len(found) if isinstance(found, list) else type(operation).__name__)
        return found

    monkeypatch.setattr(store, "execute", counting)
    for wanted, page in [("", 1), ("1", 1), ("2", 2), ("4", 4), ("99", 4), ("0", 1), ("-1", 1), ("ö", 1)]:
        text = text_of(client.get(url(), {"p": wanted}))
        assert listed(text) == started[2 * (page - 1) : 2 * page]
        assert f"Page {page} of 4" in text
        assert asked == ["Count", len(listed(text))]
        asked.clear()
    one = sessions[-1]
    assert text_of(client.get(url("detail", key_of(one))))
    assert asked == ["Get", 0]
    done = client.post(f"{url()}?p=4&class={Stall.path}", {"only_terminate": key_of(one), "confirmed": "yes"})
    assert done["Location"] == f"{url()}?class={Stall.path}&p=4"
    assert "List" not in asked and not any(isinstance(each, int) and each > 2 for each in asked)


@every_store
def test_a_process_with_its_state_and_history() -> None:
    client = client_of(member(VIEW_PROCESSES))
    session = Stall.start(ID)
    for number in range(30):
        session.dispatch("wares.add", {"n": number, "text": "<b>ö</b>"})
    session.dispatch("wares.later", 1)
    text = text_of(client.get(url("detail", key_of(session))))
    frame = client.get(url("live_detail", key_of(session))).json()
    assert (frame["type"], frame["name"], frame["revision"]) == ("process.shown", "Stall", 30)
    wares = frame["state"]["items"][0]
    assert (wares["key"], wares["kind"], wares["size"]) == ("wares", "object", 1)
    items = wares["items"][0]
    assert (items["key"], items["kind"], items["size"], items["more"]) == ("items", "list", 30, 0)
    first = {node["key"]: node["text"] for node in items["items"][0]["items"]}
    assert first == {"n": "0", "text": '"<b>ö</b>"'}
    assert [entry["revision"] for entry in frame["history"]] == list(range(30, 30 - overview.HISTORY_SHOWN, -1))
    assert frame["older"] is True
    newest = frame["history"][0]
    assert (newest["action"], newest["payload"]) == ("wares.add", '{"n": 29, "text": "<b>ö</b>"}')
    assert abs(newest["at"] - time.time()) < 60
    assert frame["waiting"] == ["wares.later"]
    assert "&lt;b&gt;ö&lt;/b&gt;" in text
    assert "<b>ö" not in text
    assert " style=" not in text
    assert text.count("<details") == 32
    shown = text.partition('<tbody data-part="history">')[2]
    assert shown.index(">30</bdi>") < shown.index(">29</bdi>") < shown.index(">6</bdi>")
    assert ">5</bdi>" not in shown


def test_a_large_state_is_shown_in_part() -> None:
    client = client_of(member(VIEW_PROCESSES))
    session = DefaultProcess.start(ID)
    session.cast("put", "long", "x" * 1_000_000)
    session.cast("put", "<key>" * 40, list(range(100_000)))
    session.cast("put", "many", {f"k{number}": {"deep": [number]} for number in range(1000)})
    deep: Any = "bottom"
    for _ in range(60):
        deep = [deep]
    session.cast("put", "deep", deep)
    began = time.monotonic()
    text = text_of(client.get(url("detail", key_of(session))))
    assert time.monotonic() - began < 5
    assert len(text) < 300_000
    assert "x" * 200 in text
    assert "x" * 201 not in text
    assert "999800 more characters" in text
    assert "99900 more" in text
    assert "<key>" not in text
    assert "bottom" not in text
    stall = Stall.start("stall")
    stall.dispatch("wares.add", "y" * 1_000_000)
    text = text_of(client.get(url("detail", key_of(stall))))
    assert len(text) < 50_000
    assert "y" * 201 in text  # the payload's beginning
    assert "y" * 301 not in text


@every_store
def test_a_touch_gives_a_process_its_ttl_anew() -> None:
    boss = member(VIEW_PROCESSES, TOUCH)
    client = client_of(boss)
    session, other = Stall.start(ID), DefaultProcess.start("other")
    stores["processes"].touch(names.NAMESPACE, session.key[0], 5)
    assert left(session) < 6
    assert said(choose(client, "touch", session, other)) == ["2 processes were touched."]
    assert left(session) > 490
    told = client.post(url("detail", key_of(session)), {"only_touch": key_of(other)}, follow=True)
    assert said(told) == ["1 process was touched."]
    assert told.redirect_chain[-1][0] == url("detail", key_of(session))
    entries = LogEntry.objects.filter(user=boss, action_flag=CHANGE)
    assert {entry.object_id for entry in entries} == {session.key[1], other.key[1]}
    assert not any(ID in f"{entry.object_repr} {entry.change_message}" for entry in entries)
    assert {entry.get_admin_url() for entry in entries} == {None}
    assert session.revision() == 0


@every_store
def test_chosen_processes_are_terminated_after_a_question() -> None:
    boss = member(VIEW_PROCESSES, TERMINATE)
    client = client_of(boss)
    first, second, third = (Stall.start(f"{number}{ID}") for number in range(3))
    asking = choose(client, "terminate", first, third)
    text = text_of(asking)
    assert "Terminate 2 processes?" in text
    assert "Stall 0A-brows…" in text
    assert ID not in text
    assert all(lives(session) for session in (first, second, third))
    assert said(posted_back(client, asking)) == ["2 processes were terminated."]
    assert [lives(session) for session in (first, second, third)] == [False, True, False]
    assert STOPPED == [(first.id, "terminated"), (third.id, "terminated")]
    entries = LogEntry.objects.filter(user=boss, action_flag=DELETION)
    assert {entry.object_id for entry in entries} == {first.key[1], third.key[1]}
    assert {entry.object_repr for entry in entries} == {"process Stall 0A-brows…", "process Stall 2A-brows…"}
    asking = client.post(url("detail", key_of(second)), {"only_terminate": key_of(second)})
    assert f'href="{url("detail", key_of(second))}"' in text_of(asking)
    assert said(posted_back(client, asking)) == ["1 process was terminated."]
    assert processes.count_sessions() == 0


@every_store
def test_what_has_ended_meanwhile_is_said_and_the_next_of_its_id_lives_on() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    first = Stall.start(ID)
    asking = choose(client, "terminate", first)
    key = key_of(first)
    first.terminate()
    second = Stall.start(ID)
    assert key != key_of(second)
    assert said(posted_back(client, asking)) == ["1 process had ended already."]
    assert said(choose(client, "touch", first)) == ["1 process had ended already."]
    assert lives(second)
    assert not LogEntry.objects.exists()
    assert said(choose(client, "terminate")) == ["No process was selected."]
    assert said(choose(client, "fly", second)) == ["No action was selected."]
    assert said(client.post(url(), {"only_touch": "nonsense"}, follow=True)) == ["No process was selected."]
    shown = client.get(url("detail", key), follow=True)
    assert said(shown) == ["This process has ended."]
    assert client.get(url("live_detail", key)).json() == {"type": "process.gone", "key": key}


@every_store
def test_a_process_whose_class_nobody_knows_can_be_touched_and_terminated() -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    data = {"state": {"a": 1}, "revision": 3, "vsn": 1, "start": {}}
    place = overview.Place("gone.from.the.Code:some-id", "0123456789abcdef")
    create = Create(names.NAMESPACE, place.record_id, place.life, data, json.dumps(data), 60, None, None)
    stores["processes"].execute(create)
    (row,) = client.get(url("live")).json()["processes"]
    assert (row["class"], row["name"], row["revision"]) == ("gone.from.the.Code", "Code", 3)
    assert "gone.from.the.Code" in text_of(client.get(url("detail", row["key"])))
    assert said(client.post(url(), {"only_touch": row["key"]}, follow=True)) == ["1 process was touched."]
    fields = {"only_terminate": row["key"], "confirmed": "yes"}
    assert said(client.post(url(), fields, follow=True)) == ["1 process was terminated."]
    assert processes.count_sessions() == 0


def test_a_terminated_process_is_noted_once() -> None:
    boss, session = member(VIEW_PROCESSES, TERMINATE), Stall.start(ID)
    place = overview.Place(*session.key)
    assert [staff.terminate(place, boss.pk) for _time in range(2)] == [True, False]
    assert [staff.touch(place, boss.pk)] == [False]
    assert LogEntry.objects.count() == 1
    with pytest.raises(SessionNotFound):
        session.state()


def test_actions_ask_for_the_token_of_csrf() -> None:
    boss, session = member(VIEW_PROCESSES, TOUCH, TERMINATE), Stall.start(ID)
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    for address in (url(), url("detail", key_of(session))):
        fields = {"only_terminate": key_of(session), "confirmed": "yes"}
        assert client.post(address, fields).status_code == 403
    assert lives(session)


def test_a_store_that_does_not_answer(settings: Any) -> None:
    client = client_of(member(VIEW_PROCESSES, TOUCH, TERMINATE))
    key = key_of(Stall.start(ID))
    put(settings, STORES={"default": GONE})
    for address in (url(), url("detail", key)):
        text = text_of(client.get(address, {"p": "3"}))
        assert "does not answer" in text
        assert "No process is running." not in re.sub(r"<p[^>]* hidden>[^<]*</p>", "", text)
        assert config_of(text)["unavailable"] is True
    for address in (url("live"), url("live_detail", key)):
        live = client.get(address)
        assert (live.status_code, live.json()["code"]) == (503, "store_unavailable")
    for fields in ({"only_touch": key}, {"only_terminate": key, "confirmed": "yes"}):
        told = client.post(url(), fields, follow=True)
        assert said(told) == ["The store does not answer; whether this was done is not known. Try again."]


def test_in_a_language_that_is_read_from_right_to_left(settings: Any) -> None:
    settings.LANGUAGE_CODE = "ar"
    client = client_of(member(VIEW_PROCESSES, TERMINATE))
    session = Stall.start(ID)
    for address in (url(), url("detail", key_of(session))):
        assert 'dir="rtl"' in text_of(client.get(address))


@pytest.mark.parametrize("use_tz", [False, True])
def test_with_and_without_time_zones(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    session = Stall.start(ID)
    session.dispatch("wares.add", 1)
    text_of(client_of(member(VIEW_PROCESSES)).get(url("detail", key_of(session))))
