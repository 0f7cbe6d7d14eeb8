"""The admin's page of live sync sessions: who may see it, see codes and end sessions, and what it says."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from syncsessions import codes
from syncsessions.exceptions import NotFound
from syncsessions.pairing import SyncSession, overview, staff, sync_sessions
from syncsessions.pairing.models import ActiveSyncSession
from tests.staff import END, GONE, SEE_CODE, VIEW, client_of, member, put, sync_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_store")]


def open_one(**more: Any) -> SyncSession:
    return sync_sessions.create("send", "specific.abcdef!the-owner", {"device": "laptop"}, **more)


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def listed(text: str) -> list[str]:
    """The lives of the rows that the page came with."""
    return re.findall(r'<tr data-life="(\w+)"', text)


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


def choose(client: Client, *sessions: SyncSession, query: str = "") -> Any:
    fields = {"action": "end", "_selected_action": [session.life for session in sessions]}
    return client.post(sync_url() + query, fields, follow=True)


def said(response: Any) -> list[str]:
    text_of(response)
    return [str(message) for message in response.context["messages"]]


def lives(session: SyncSession) -> bool:
    try:
        sync_sessions.get(session.code, life=session.life)
    except NotFound:
        return False
    return True


WHO: dict[str, tuple[dict[str, Any] | None, tuple[str, ...]]] = {
    "anonymous": (None, ()),
    "no staff": ({"is_staff": False}, (VIEW, SEE_CODE, END)),
    "inactive": ({"is_active": False}, (VIEW, SEE_CODE, END)),
    "without": ({}, ()),
    "all but view": ({}, (SEE_CODE, END)),
    "view": ({}, (VIEW,)),
    "view and codes": ({}, (VIEW, SEE_CODE)),
    "view and end": ({}, (VIEW, END)),
    "superuser": ({"is_superuser": True}, ()),
}
VIEWERS = {"view", "view and codes", "view and end", "superuser"}
READERS = {"view and codes", "superuser"}
ENDERS = {"view and end", "superuser"}


@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what(who: str) -> None:
    fields, permissions = WHO[who]
    client = client_of(None if fields is None else member(*permissions, **fields))
    session = open_one()
    page, live = client.get(sync_url()), client.get(sync_url("live"))
    asked = client.post(sync_url(), {"only": session.life})
    if who not in VIEWERS:
        refused = 403 if who in ("without", "all but view") else 302
        assert (page.status_code, live.status_code, asked.status_code) == (refused,) * 3
        confirmed = client.post(sync_url(), {"only": session.life, "confirmed": "yes"})
        assert confirmed.status_code == refused
        assert lives(session)
        return
    shown = (codes.grouped if who in READERS else codes.masked)(session.code)
    assert [row["code"] for row in live.json()["sessions"]] == [shown]
    assert [row["code"] for row in config_of(text_of(page))["list"]["sessions"]] == [shown]
    for answer in [page, live] + ([asked] if who in ENDERS else []):
        text = text_of(answer)
        assert session.code not in text
        assert (codes.grouped(session.code) in text) == (who in READERS)
        assert shown in text or answer is live
    assert ('name="only"' in text_of(page)) == (who in ENDERS)
    assert asked.status_code == (200 if who in ENDERS else 403)
    assert lives(session)
    ended = client.post(sync_url(), {"only": session.life, "confirmed": "yes"})
    assert ended.status_code == (302 if who in ENDERS else 403)
    assert lives(session) == (who not in ENDERS)


def test_it_is_an_ordinary_entry_of_the_admin() -> None:
    client = client_of(member(VIEW))
    for page in (reverse("admin:index"), reverse("admin:app_list", args=["syncsessions"])):
        text = text_of(client.get(page))
        assert sync_url() in text
        assert "activesyncsession/add" not in text
    assert sync_url() not in text_of(client_of(member("view_stashslice")).get(reverse("admin:index")))
    for path in ("add/", "1/change/", "1/delete/", "1/history/", "1/"):
        assert client.get(sync_url() + path).status_code == 404
    names = Permission.objects.filter(content_type__model="activesyncsession").values_list("codename", flat=True)
    assert set(names) == {VIEW, SEE_CODE, END}


def test_what_walks_over_all_models_finds_no_rows_and_no_missing_table(capsys: Any) -> None:
    assert list(ActiveSyncSession.objects.all()) == list(ActiveSyncSession._base_manager.all()) == []
    assert ActiveSyncSession.objects.filter(life="x").count() == 0
    ActiveSyncSession.objects.all().delete()
    call_command("dumpdata", "syncsessions", verbosity=0)
    assert "activesyncsession" not in capsys.readouterr().out
    kind = ContentType.objects.get_for_model(ActiveSyncSession)
    boss = client_of(member(is_superuser=True))
    assert boss.get(reverse("admin:view_on_site", args=[kind.pk, "x"])).status_code == 404
    assert apps.get_model("syncsessions", "ActiveSyncSession")._meta.managed is False


def test_the_page_says_what_each_session_is(pairing_store: None) -> None:
    client = client_of(member(VIEW, SEE_CODE))
    assert "No sync session is open." in text_of(client.get(sync_url()))
    one = open_one()
    two = sync_sessions.create("receive", "short", {"name": "</pre><script>alert('ö')</script>"})
    sync_sessions.claim(two.code, "specific.abcdef!the-peer", {"long": "x" * 3000})
    text = text_of(client.get(sync_url()))
    assert listed(text) == [two.life, one.life]
    frame = client.get(sync_url("live")).json()
    shown = config_of(text)["list"]
    assert [row["life"] for row in shown["sessions"]] == [row["life"] for row in frame["sessions"]]
    row_two, row_one = frame["sessions"]
    assert row_one == {
        "life": one.life,
        "code": codes.grouped(one.code),
        "direction": "send",
        "status": "pending",
        "owner": "…he-owner",
        "peer": None,
        "age": row_one["age"],
        "left": row_one["left"],
        "sender_info": '{\n  "device": "laptop"\n}',
        "receiver_info": None,
    }
    assert 0 <= row_one["age"] < 10
    assert 20 < row_one["left"] <= 30.5
    assert (row_two["direction"], row_two["status"]) == ("receive", "connected")
    assert (row_two["owner"], row_two["peer"]) == ("short", "…the-peer")
    assert len(row_two["sender_info"]) == overview.INFO_SHOWN + 1
    assert frame["total"] == frame["counted"] == 2
    assert frame["counts"] == {"pending": 1, "connected": 1, "completed": 0, "failed": 0}
    assert "alert('ö')" in row_two["receiver_info"]
    assert "<script>alert" not in text
    assert " style=" not in text


def test_pages(monkeypatch: Any) -> None:
    monkeypatch.setattr(overview, "PAGE", 2)
    monkeypatch.setattr(overview, "COUNTED", 4)
    client = client_of(member(VIEW))
    opened = [open_one().life for _ in range(7)][::-1]
    for asked, page in [("", 1), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("99", 4), ("0", 1), ("-1", 1), ("ö", 1)]:
        text = text_of(client.get(sync_url(), {"p": asked}))
        assert listed(text) == opened[2 * (page - 1) : 2 * page]
        assert f"Page {page} of 4" in text
        assert (f"?p={page + 1}" in text.replace("hidden", "")) and ('data-part="next" hidden' in text) == (page == 4)
    frame = client.get(sync_url("live"), {"p": "4"}).json()
    assert (frame["page"], frame["pages"], frame["total"], frame["counted"]) == (4, 4, 7, 4)
    assert sum(frame["counts"].values()) == 4


def test_chosen_sessions_end_after_a_question(pairing_store: None) -> None:
    boss = member(VIEW, END)
    client = client_of(boss)
    first, second, third = (open_one() for _ in range(3))
    asking = choose(client, first, third)
    text = text_of(asking)
    assert "End 2 sync sessions?" in text
    assert text.count(f"{codes.masked(first.code)}: pending") >= 1
    assert all(lives(session) for session in (first, second, third))
    told = posted_back(client, asking)
    assert said(told) == ["2 sync sessions were ended."]
    assert [lives(session) for session in (first, second, third)] == [False, True, False]
    entries = LogEntry.objects.filter(user=boss)
    assert {entry.object_id for entry in entries} == {first.life, third.life}
    for entry in entries:
        assert entry.is_deletion()
        assert str(entry)
        assert entry.get_admin_url() is None
        for session in (first, third):
            for spelling in (session.code, codes.grouped(session.code)):
                assert spelling not in f"{entry.object_repr} {entry.change_message} {entry.object_id}"
    assert codes.masked(third.code) in [entry.object_repr[-8:] for entry in entries]
    assert "sync session" in text_of(client.get(reverse("admin:index")))


def test_what_has_ended_meanwhile_is_said_and_its_code_is_not_ended_anew() -> None:
    client = client_of(member(VIEW, END))
    first, second = open_one(), open_one()
    asking = choose(client, first, second)
    sync_sessions.delete(first.code)
    newer = open_one(code=first.code)
    told = posted_back(client, asking)
    assert said(told) == ["1 sync session was ended.", "1 sync session had ended already."]
    assert lives(newer)
    assert not lives(second)
    assert said(choose(client, first)) == ["1 sync session had ended already."]
    assert said(choose(client)) == ["No sync session was selected."]
    assert said(choose(client, first, query="?p=7")) == ["1 sync session had ended already."]
    assert lives(newer)


def test_of_two_who_end_one_at_once_one_has_ended_it(monkeypatch: Any) -> None:
    boss, session = member(VIEW, END), open_one()
    monkeypatch.setattr(sync_sessions, "get", lambda code, life: session)  # both have looked before either acts
    assert [staff.end(session, boss.pk) for _time in range(2)] == [True, False]
    assert LogEntry.objects.count() == 1


def test_ending_asks_for_the_token_of_csrf() -> None:
    boss, session = member(VIEW, END), open_one()
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    assert client.post(sync_url(), {"only": session.life, "confirmed": "yes"}).status_code == 403
    assert lives(session)


def test_a_store_that_does_not_answer(settings: Any) -> None:
    client = client_of(member(VIEW, END))
    put(settings, STORES={"default": GONE})
    text = text_of(client.get(sync_url(), {"p": "3"}))
    assert "does not answer" in text
    assert "No sync session is open." not in re.sub(r"<p[^>]* hidden>[^<]*</p>", "", text)
    assert config_of(text)["unavailable"] is True
    assert config_of(text)["list"]["page"] == 3
    live = client.get(sync_url("live"))
    assert (live.status_code, live.json()["code"]) == (503, "store_unavailable")
    told = client.post(sync_url(), {"only": "x"}, follow=True)
    assert said(told) == ["The store does not answer; whether this was done is not known. Try again."]


def test_in_a_language_that_is_read_from_right_to_left(settings: Any) -> None:
    settings.LANGUAGE_CODE = "ar"
    text = text_of(client_of(member(VIEW, END)).get(sync_url()))
    assert 'dir="rtl"' in text
    assert config_of(text)["texts"]["live"]


def test_a_user_who_lost_a_permission_is_refused_at_once() -> None:
    boss = member(VIEW, END)
    client, session = client_of(boss), open_one()
    asking = choose(client, session)
    boss.user_permissions.remove(Permission.objects.get(codename=END))
    assert client.post(sync_url(), {"only": session.life, "confirmed": "yes"}).status_code == 403
    assert text_of(asking)
    assert lives(session)
    User.objects.filter(pk=boss.pk).update(is_staff=False)
    assert client.get(sync_url("live")).status_code == 302
