"""The admin's pages of connections: who may see and do what, what they say, and what they never say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from syncsessions.admin import connection_actions
from syncsessions.admin.connections import ConnectionAdmin
from syncsessions.connections import flow, tokens
from syncsessions.models import Connection, ConnectionChange
from tests.connection_staff import (
    ACTIONS,
    ADD,
    APPROVE,
    CHANGE,
    DELETE,
    INVITE,
    ROTATE,
    STEPS,
    VERIFY,
    VIEW,
    badges,
    boss,
    buttons,
    choose,
    config_of,
    posted_back,
    press,
    said,
    text_of,
    url,
)
from tests.connections import a_connection, history, issued, notices
from tests.misbehaving import Site, Talk, misbehaving
from tests.staff import client_of, member

pytestmark = pytest.mark.django_db(transaction=True)

EVIL = "<script>alert(1)</script><b>\"'"
WHO: dict[str, tuple[dict[str, Any] | None, tuple[str, ...], int]] = {
    "anonymous": (None, (), 302),
    "no staff": ({"is_staff": False}, (VIEW, CHANGE, APPROVE), 302),
    "without": ({}, (), 403),
    "all but view": ({}, (ADD, DELETE, APPROVE, ROTATE, VERIFY, INVITE), 403),
    "view": ({}, (VIEW,), 200),
    "change": ({}, (CHANGE,), 200),
    "superuser": ({"is_superuser": True}, (), 200),
}


@pytest.mark.parametrize("who", WHO)
def test_who_may_see(who: str) -> None:
    fields, permissions, code = WHO[who]
    client = client_of(None if fields is None else member(*permissions, **fields))
    row = a_connection()
    for page in (url(), url("live"), url("change", row.pk)):
        assert client.get(page).status_code == code, page
    if code != 200:
        for action in ACTIONS:
            assert client.post(url("action", row.pk), {"action": action, "confirmed": "yes"}).status_code == code
        row.refresh_from_db()
        assert row.status == "active"


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_has_a_permission_of_its_own(action: str) -> None:
    row = a_connection(status="suspended", approved_at=timezone.now())
    for permissions in ((VIEW,), (VIEW, CHANGE, ADD, DELETE, *({APPROVE, ROTATE, VERIFY} - {ACTIONS[action]}))):
        client = client_of(member(*permissions))
        assert f'value="{action}"' not in text_of(client.get(url()))
        assert action not in buttons(client.get(url("change", row.pk)))
        choose(client, action, row, confirmed="yes")
        assert press(client, action, row, confirmed="yes").status_code == 403
        row.refresh_from_db()
        assert row.status == "suspended"
    client = client_of(member(VIEW, ACTIONS[action]))
    assert f'value="{action}"' in text_of(client.get(url()))


def test_a_view_only_page_has_no_form_and_no_action() -> None:
    row = a_connection(max_downloads=10)
    row.set_download_password("secret words")
    row.save()
    client = client_of(member(VIEW))
    page = text_of(client.get(url("change", row.pk)))
    assert 'name="name"' not in page and "new_password" not in page and "_save" not in page
    assert "One is set." in page and 'name="action"' not in page
    assert 'name="action"' not in text_of(client.get(url()))
    for target in (url("add"), url("delete", row.pk)):
        assert client.get(target).status_code == client.post(target, {}).status_code == 403
    assert client.post(url("change", row.pk), {"name": "x"}).status_code == 403


def test_the_list_shows_both_statuses() -> None:
    _user, client = boss()
    there = a_connection()
    laptop = a_connection(site_url=None, peer_token=None, has_callback=False)
    pulling = a_connection("receiver", "pending", has_callback=False)
    theirs = a_connection(status="suspended", set_by_peer=True)
    over = a_connection(expires_at=timezone.now() - timezone.timedelta(seconds=1))  # type: ignore[attr-defined]
    page = client.get(url())
    rows = (there, laptop, pulling, theirs, over)
    assert badges(page, "status") == dict(
        zip(map(str, (row.pk for row in rows)), ("active", "active", "pending", "suspended", "over"), strict=True)
    )
    assert badges(page, "remote") == {str(row.pk): "unreachable" if row is laptop else "checking" for row in rows}
    text = text_of(page)
    assert there.site_url in text and "Set by the other site." in text and "not reachable" in text
    assert config_of(page)["ids"] == [row.pk.hex for row in rows[::-1]]
    assert set(config_of(page)["words"]["remote"]) == {
        "checking", "unreachable", "not_found", "offline", "error", *flow.STATUSES
    }  # fmt: skip


def test_the_list_is_filtered_and_searched() -> None:
    _user, client = boss()
    sender = a_connection("sender", "active", site_url="https://alpha.example/sync")
    receiver = a_connection("receiver", "revoked")
    Connection.objects.filter(pk=receiver.pk).update(name="Berlin")

    def found(query: str) -> set[str]:
        return set(badges(client.get(f"{url()}?{query}"), "status"))

    assert found("") == {str(sender.pk), str(receiver.pk)}
    assert found("direction__exact=sender") == found("status__exact=active") == found("q=alpha") == {str(sender.pk)}
    assert found("direction__exact=receiver") == found("status__exact=revoked") == found("q=berl") == {str(receiver.pk)}
    assert found("q=nowhere") == set()


def test_the_list_asks_the_database_as_often_for_many_rows() -> None:
    _user, client = boss()
    counts = []
    for _ in range(2):
        a_connection()
        with CaptureQueriesContext(database) as queries:
            text_of(client.get(url()))
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("approve", "pending", "active"),
        ("reactivate", "suspended", "active"),
        ("suspend", "active", "suspended"),
        ("revoke", "active", "revoked"),
    ],
)
def test_a_step(action: str, before: str, after: str, many: bool) -> None:
    user, client = boss()
    rows = [a_connection(status=before, approved_at=None if before == "pending" else timezone.now()) for _ in "ab"]
    rows = rows if many else rows[:1]
    answer = choose(client, action, *rows) if many else press(client, action, *rows)
    if action in ("suspend", "revoke"):
        assert "Reason" in text_of(answer) and all(row.name in text_of(answer) for row in rows)
        for row in rows:
            row.refresh_from_db()
            assert row.status == before
        answer = posted_back(client, answer, reason="Because")
    assert answer.request["PATH_INFO"] == (url() if many else url("change", rows[0].pk))
    (message,) = said(answer)
    assert message.startswith(f"{len(rows)} connection")
    for row in rows:
        row.refresh_from_db()
        assert row.status == after
        assert LogEntry.objects.filter(object_id=str(row.pk), user=user).count() == 1
        change = ConnectionChange.objects.get(connection=row)
        assert (change.by_id, change.reason) == (user.pk, "Because" if action in ("suspend", "revoke") else "")
        assert [status for status, _reason, _seq in notices(row)] == [after]


def test_a_reason_that_is_too_long_is_asked_for_again() -> None:
    _user, client = boss()
    row = a_connection()
    again = posted_back(client, press(client, "suspend", row), reason="x" * 501)
    assert "at most 500 characters" in text_of(again)
    row.refresh_from_db()
    assert row.status == "active"
    posted_back(client, again, reason="x" * 500)
    row.refresh_from_db()
    assert row.suspended_reason == "x" * 500


def test_refused_steps_say_why_row_by_row() -> None:
    _user, client = boss()
    good = a_connection(status="pending")
    asked = a_connection(status="pending", asked_here=True)
    theirs = a_connection(status="suspended", set_by_peer=True, approved_at=timezone.now())
    over = a_connection(status="revoked")
    for row, name in ((good, "Good"), (asked, "Asked"), (theirs, "Theirs"), (over, "Over")):
        Connection.objects.filter(pk=row.pk).update(name=name)
    answer = choose(client, "approve", good, asked, theirs, over)
    assert set(said(answer)) == {
        "1 connection was approved.",
        "“Asked”: Only the other site can approve it.",
        "“Theirs”: This connection is suspended: it has to be reactivated.",
        "“Over”: This connection is revoked, for good. Delete it here and at the other site, then connect again.",
    }
    assert said(choose(client, "reactivate", theirs)) == ["“Theirs”: Only the side that suspended it can lift that."]
    assert said(press(client, "approve", asked)) == ["“Asked”: Only the other site can approve it."]
    # Its page has no such button, and says so.
    page = client.get(url("change", asked.pk))
    assert "Only the other site can approve it." in text_of(page) and "approve" not in buttons(page)
    assert buttons(client.get(url("change", over.pk))) == []


def test_many_names_are_cut() -> None:
    _user, client = boss()
    rows = [a_connection(status="revoked") for _ in range(12)]
    (message,) = said(choose(client, "approve", *rows))
    assert message.count("“B”") == 10 and "and 2 more" in message


def test_a_long_row_of_calls_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_actions, "PATIENCE", -1.0)
    _user, client = boss()
    row = a_connection(status="pending")
    assert said(choose(client, "approve", row)) == ["“B”: Not tried yet, as the others took long. Try again."]
    row.refresh_from_db()
    assert row.status == "pending"


def test_an_action_that_is_none_changes_nothing() -> None:
    _user, client = boss()
    row = a_connection()
    for action in ("", "status", "delete", "approve_connection"):
        assert press(client, action, row).status_code == 200
    assert client.get(url("action", row.pk)).status_code == 302
    for missing in ("00000000-0000-7000-8000-000000000000", "x"):
        assert client.post(url("action", missing), {"action": "approve"}).status_code == 404
    row.refresh_from_db()
    assert (row.status, history(row)) == ("active", [])


def test_verification_tells_who_was_severed_and_who_is_silent(bad_site: Site) -> None:
    user, client = boss()
    rows = {
        name: a_connection(site_url=bad_site.url(path), handed_over_at=timezone.now(), direction=direction)
        for name, path, direction in (
            ("Fine", "active", "sender"),
            ("Severed", "gone", "sender"),
            ("Silent", "503", "sender"),
            ("Wrong", "active/r", "receiver"),
        )
    }
    for name, row in rows.items():
        Connection.objects.filter(pk=row.pk).update(name=name)
    messages = said(choose(client, "verify", *rows.values()))
    assert messages[0] == "1 connection is known at the other site."
    assert messages[1].endswith("knows of no such connection: “Severed”")
    assert messages[2].endswith("could not be reached: “Silent”")
    assert messages[3].startswith("Not asked: “Wrong”.")
    assert history(rows["Severed"]) == [("active", "suspended", False)]
    assert [history(rows[name]) for name in ("Fine", "Silent", "Wrong")] == [[], [], []]
    assert "Remote site reports connection not found" in text_of(client.get(url("change", rows["Severed"].pk)))
    assert not LogEntry.objects.filter(user=user).exists()


def rotating(talk: Talk) -> None:
    talk.answer(200, {"token": tokens.draw()})


@pytest.mark.usefixtures("sites_here")
@pytest.mark.parametrize("atomic", [False, True])
def test_tokens_are_rotated(atomic: bool) -> None:
    user, client = boss()
    there = database.settings_dict
    kept = there["ATOMIC_REQUESTS"]
    there["ATOMIC_REQUESTS"] = atomic
    try:
        with misbehaving(behave=rotating) as site:
            rows = [a_connection(site_url=site.url("sync", number)) for number in range(3)]
            suspended = a_connection(status="suspended", site_url=site.url("sync", 9))
            assert said(press(client, "rotate", rows[0])) == ["The tokens of 1 connection were rotated."]
            messages = said(choose(client, "rotate", *rows[1:], suspended))
    finally:
        there["ATOMIC_REQUESTS"] = kept
    assert messages[0] == "The tokens of 2 connections were rotated."
    assert messages[1].startswith("“B”: The tokens of an active connection only")
    for row in rows:
        before = row.peer_token
        row.refresh_from_db()
        assert row.peer_token != before
        entry = LogEntry.objects.get(object_id=str(row.pk), user=user)
        assert entry.change_message == "Rotated the tokens."
    assert "rotate" not in buttons(client.get(url("change", suspended.pk)))


@pytest.mark.usefixtures("sites_here")
def test_a_site_that_does_not_answer_is_said_at_its_row() -> None:
    _user, client = boss()
    row = a_connection(site_url="http://127.0.0.1:1/sync")
    (message,) = said(press(client, "rotate", row))
    assert message.startswith("“B”: The other site did not answer")
    assert not LogEntry.objects.exists()


def test_one_that_was_never_answered_says_so() -> None:
    _user, client = boss()
    row = a_connection(status="pending", asked_here=True, peer_token=None, offered_token="x")
    page = text_of(client.get(url("change", row.pk)))
    assert "The other site has not answered yet." in page and "given no token" in page


def test_what_the_peer_did_is_told_as_such() -> None:
    _user, client = boss()
    row = a_connection(approved_at=timezone.now())
    ConnectionChange.objects.create(
        connection=row, at=timezone.now(), previous="active", status="suspended", by_peer=True, reason=EVIL
    )
    page = text_of(client.get(url("change", row.pk)))
    assert "by the other site" in page
    assert EVIL not in page and "<script>alert" not in page


def test_nothing_of_others_is_taken_for_markup() -> None:
    _user, client = boss()
    row = a_connection(status="active", delivery_error=EVIL, metadata={"x": EVIL})
    Connection.objects.filter(pk=row.pk).update(name=EVIL)
    row.suspend(reason=EVIL)
    pages = [
        client.get(url()),
        client.get(url("change", row.pk)),
        client.get(url("delete", row.pk)),
        client.get(url("history", row.pk)),
        press(client, "revoke", row),
        choose(client, "approve", row),
        choose(client, "delete_selected", row),
    ]
    for page in pages:
        assert "alert(1)" in text_of(page)
        assert "<script>alert" not in text_of(page) and "<b>" not in text_of(page)


def test_nothing_secret_is_shown() -> None:
    _user, client = boss()
    row = a_connection(metadata={"a": 1})
    row.offered_token = row.peer_token_at_rest[::-1]
    row.set_download_password("secret words")
    row.save()
    token = issued(row)
    row.suspend()
    hashes = list(row.tokens.values_list("token_hash", flat=True))
    secret = [row.peer_token, row.peer_token_at_rest, row.offered_token, row.download_password, row.site_hash, token]
    live = client.get(url("live"), {"ids": row.pk.hex})
    assert json.loads(live.content)["rows"]
    pages = [url(), url("change", row.pk), url("delete", row.pk), url("history", row.pk)]
    shown = text_of(live) + "".join(text_of(client.get(page)) for page in pages) + repr(row)
    shown += "".join(f"{entry.change_message}{entry.object_repr}" for entry in LogEntry.objects.all())
    for each in (*secret, *hashes):
        assert each and each not in shown


def test_a_deletion_says_that_the_other_site_is_told() -> None:
    user, client = boss()
    row, others = a_connection(), [a_connection(), a_connection()]
    issued(row)
    asking = text_of(client.get(url("delete", row.pk)))
    assert "The other site is told of it" in asking and "token" not in asking.lower().replace("csrfmiddlewaretoken", "")
    client.post(url("delete", row.pk), {"post": "yes"})
    asking = text_of(choose(client, "delete_selected", *others))
    assert "The other site is told of it" in asking
    choose(client, "delete_selected", *others, post="yes")
    assert not Connection.objects.exists()
    for each in (row, *others):
        assert [status for status, _reason, _seq in notices(each)] == [""]
    assert LogEntry.objects.filter(user=user).count() == 3


@pytest.mark.parametrize("use_tz", [True, False])
def test_with_and_without_time_zones(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    _user, client = boss()
    row = a_connection(status="pending", expires_at=timezone.now() + timezone.timedelta(days=1))  # type: ignore[attr-defined]
    said(press(client, "approve", row))
    posted_back(client, choose(client, "suspend", row), reason="x")
    assert set(badges(client.get(url("change", row.pk)), "status").values()) == {"suspended"}
    text_of(client.get(url()))
    text_of(client.get(url("add")))
    assert client.get(url("live"), {"ids": row.pk.hex}).json()["rows"][0]["status"] == "suspended"


def test_in_an_admin_of_another_name(settings: Any) -> None:
    office = AdminSite(name="office")
    office.register(Connection, ConnectionAdmin)

    class Urls:
        urlpatterns = [path("office/", office.urls)]

    settings.ROOT_URLCONF = Urls
    _user, client = boss()
    row = a_connection(status="pending")
    page = reverse("office:syncsessions_connection_change", args=[row.pk])
    assert page.startswith("/office/")
    list_url, add = (reverse(f"office:syncsessions_connection_{name}") for name in ("changelist", "add"))
    assert (
        'href="/admin/' not in text_of(client.get(list_url))
        and config_of(client.get(list_url))["poll"][:8] == "/office/"
    )
    asking = client.post(page.replace("change", "action"), {"action": "revoke"})
    assert "office" in text_of(asking)
    posted_back(client, asking, reason="x")
    text_of(client.get(add))
    row.refresh_from_db()
    assert row.status == "revoked"


def test_in_another_language(settings: Any) -> None:
    settings.LANGUAGE_CODE = "ar"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    _user, client = boss()
    row = a_connection(max_downloads=2000, downloads_used=1500)
    for page in (url(), url("change", row.pk), url("add")):
        text_of(client.get(page, headers={"Accept-Language": "ar"}))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_asks_for_the_token_of_csrf(step: str) -> None:
    from django.test import Client

    user = member(is_superuser=True)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    row = a_connection()
    assert press(client, step, row, confirmed="yes").status_code == 403
    assert choose(client, step, row, confirmed="yes").status_code == 403
    assert client.post(url("add"), {"way": "invite", "invite-name": "x"}).status_code == 403
    row.refresh_from_db()
    assert row.status == "active"
