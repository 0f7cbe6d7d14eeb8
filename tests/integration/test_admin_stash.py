"""The stash in the admin: who sees what, what the lists find, and removals that ask, ring and are logged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import get_random_string

from syncsessions.exceptions import StoreUnavailable
from syncsessions.signals import stash_written
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice

User = get_user_model()
HASH = re.compile(r"\b[0-9a-f]{13,}\b")
PERMISSIONS = ("view_stashowner", "view_stashslice", "delete_stashowner", "delete_stashslice")


@pytest.fixture
def person(database: str) -> Iterator[Callable[..., Any]]:
    """Makes users with a name that no other test has."""
    made = []

    def make(prefix: str = "person", *codenames: str, **fields: Any) -> Any:
        user = User.objects.create(username=f"{prefix}-{get_random_string(8)}", **fields)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        made.append(user)
        return user

    yield make
    for user in made:
        User.objects.filter(pk=user.pk).delete()


def entered(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin(person: Callable[..., Any]) -> Iterator[Client]:
    client = entered(person("boss", is_staff=True, is_superuser=True))
    yield client
    client.logout()


@pytest.fixture
def rung() -> Iterator[list[tuple[str, str, int, int]]]:
    heard: list[tuple[str, str, int, int]] = []

    def hear(*, view: str, tab: str, vsn: int, revision: int, **kwargs: Any) -> None:
        heard.append((view, tab, vsn, revision))

    stash_written.connect(hear)
    yield heard
    stash_written.disconnect(hear)


def url(model: str, page: str = "changelist", *args: object) -> str:
    return reverse(f"admin:syncsessions_{model}_{page}", args=args)


def row(database: str, **which: Any) -> StashSlice:
    return StashSlice.objects.using(database).filter(**which).order_by("pk")[0]


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def listed(response: Any) -> list[str]:
    """The first column of a list."""
    text_of(response)
    return [str(getattr(row, "owner_label", row)) for row in response.context["cl"].result_list]


def posted_back(client: Client, asking: Any) -> Any:
    """What a press of the asking page's button brings."""
    form = re.search(r'<form method="post" action="([^"]*)">(.*?)</form>', text_of(asking), re.DOTALL)
    assert form
    fields: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form[2]):
        name, value = (re.search(rf'{which}="([^"]*)"', tag) for which in ("name", "value"))
        assert name
        assert value
        fields.setdefault(name[1], []).append(unescape(value[1]))
    return client.post(unescape(form[1]), fields, follow=True)


def act(client: Client, model: str, action: str, *pks: int, query: str = "", **more: str) -> Any:
    fields = {"action": action, "_selected_action": list(pks), "index": "0", **more}
    return client.post(url(model) + query, fields, follow=True)


def said(response: Any) -> list[str]:
    text_of(response)
    return [str(message) for message in response.context["messages"]]


def fill(name: str, *views: str) -> StashSession:
    stash = StashSession(name)
    for view in views:
        stash.merge(view, {"a": 1})
    return stash


def test_one_row_an_owner_with_what_it_amounts_to(database: str, admin: Client, person: Callable[..., Any]) -> None:
    stash = fill("one", "shop", "mail")
    stash.merge("shop", {"ö": 1}, tab="tab")
    stash.merge("shop", {"a": 1}, vsn=2)
    anna = person("anna")
    StashSession.for_user(anna).merge("shop", {"a": 1})
    StashSession.for_user(User(pk=987654)).merge("shop", {"a": 1})
    response = admin.get(url("stashowner"))
    session_hash = row(database, user_pk="").owner
    assert listed(response) == ["user 987654", anna.username, f"session {session_hash[:12]}"]
    summary = response.context["cl"].result_list[2].summary
    assert (summary.views, summary.slices, summary.bytes) == (2, 4, 8 * 3 + 9)
    assert summary.created < summary.seen
    assert session_hash[:13] not in text_of(response)


@pytest.mark.parametrize("model", ["stashowner", "stashslice"])
def test_a_longer_list_takes_no_more_queries(database: str, admin: Client, model: str, person: Any) -> None:
    def queries() -> int:
        with (
            CaptureQueriesContext(connections[database]) as stash,
            CaptureQueriesContext(connections["default"]) as own,
        ):
            text_of(admin.get(url(model)))
        return len(own) if database == "default" else len(stash) + len(own)

    fill("first", "shop")
    StashSession.for_user(person()).merge("shop", {"a": 1})
    few = queries()
    for number in range(20):
        fill(f"session {number}", "shop", "mail")
        StashSession.for_user(person()).merge("shop", {"a": 1})
    assert queries() == few <= 8


@pytest.mark.parametrize("model", ["stashowner", "stashslice"])
@pytest.mark.parametrize("column", range(1, 8))
def test_lists_sort_by_every_column(database: str, admin: Client, model: str, column: int) -> None:
    fill("small", "shop")
    fill("large", "shop", "mail").merge("note", {"text": "long " * 20}, tab="tab", vsn=3)
    forth = listed(admin.get(url(model), {"o": str(column)}))
    back = listed(admin.get(url(model), {"o": f"-{column}"}))
    assert sorted(forth) == sorted(back)
    if model == "stashowner" and column in (2, 3, 4, 5, 6):
        assert forth == back[::-1]


def test_the_list_is_by_last_seen(database: str, admin: Client) -> None:
    for name in ("one", "two", "three"):
        fill(name, name)
    StashSlice.objects.using(database).filter(view="two").update(last_seen_at=timezone.now() + timedelta(hours=1))
    shown = [found.view for found in admin.get(url("stashowner")).context["cl"].result_list]
    assert shown == ["two", "three", "one"]


def test_search_finds_views_users_and_sessions(database: str, admin: Client, person: Callable[..., Any]) -> None:
    fill("one", "shop.checkout", "mail")
    fill("two", "note")
    anna = person("anna")
    StashSession.for_user(anna).merge("profile", {"a": 1})
    one, two = row(database, view="mail"), row(database, view="note")

    def found(model: str, term: str) -> set[str]:
        return {str(each.view) for each in admin.get(url(model), {"q": term}).context["cl"].result_list}

    assert found("stashowner", "CHECK") == {"shop.checkout"}
    assert found("stashowner", "mail") == {"shop.checkout"}  # the session's row, by another of its slices
    assert found("stashowner", f" {two.owner[:12]}… ") == {"note"}
    assert found("stashowner", anna.username.upper()) == {"profile"}
    assert found("stashowner", "nowhere") == set()
    assert found("stashslice", one.owner[:8]) == {"shop.checkout", "mail"}
    assert found("stashslice", anna.username) == {"profile"}
    assert found("stashslice", "mai") == {"mail"}


@pytest.mark.parametrize("use_tz", [True, False])
def test_filters(database: str, admin: Client, person: Any, settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Kolkata"
    for name, days in (("now", 0), ("week", 6), ("month", 20), ("older", 40)):
        fill(name, name)
        age = timezone.now() - timedelta(days=days)
        StashSlice.objects.using(database).filter(view=name).update(last_seen_at=age)
    StashSession.for_user(person()).merge("mine", {"a": 1}, vsn=7)

    def found(model: str, **query: str) -> set[str]:
        return {str(each.view) for each in admin.get(url(model), query).context["cl"].result_list}

    for model in ("stashowner", "stashslice"):
        assert found(model, kind="user") == {"mine"}
        assert found(model, kind="session") == {"now", "week", "month", "older"}
        assert found(model, seen="today") == {"now", "mine"}
        assert found(model, seen="week") == {"now", "mine", "week"}
        assert found(model, seen="month") == {"now", "mine", "week", "month"}
        assert found(model, seen="older") == {"older"}
        assert "(1)" in text_of(admin.get(url(model), {"_facets": "True"}))
    assert found("stashslice", vsn="7") == {"mine"}


def test_pages_show_values_pretty_and_harmless(database: str, admin: Client) -> None:
    hostile = "</pre><script>alert('ö')</script>"
    stash = StashSession("one")
    stash.merge("shop", {"note": hostile, hostile: [1, {"deep": None}]}, tab="<b>tab</b>")
    stash.merge("<i>view</i>", {"a": 1})
    shop = row(database, view="shop")
    for page in (
        admin.get(url("stashslice", "change", shop.pk)),
        admin.get(url("stashowner", "change", shop.pk)),
        admin.get(url("stashslice")),
        admin.get(url("stashslice", "reset", row(database, view="<i>view</i>").pk)),
    ):
        text = text_of(page)
        assert "<script>" not in text
        assert "<b>tab" not in text
        assert "<i>view" not in text
        assert " style=" not in text
        assert shop.owner[:13] not in text
    text = unescape(text_of(admin.get(url("stashslice", "change", shop.pk))))
    assert f'\n  "note": "{hostile}"' in text
    assert '\n    {\n      "deep": null\n    }' in text
    assert "session " + shop.owner[:12] in text


def test_a_slice_at_its_bound_is_shown_whole_on_its_page_and_cut_among_others(database: str, admin: Client) -> None:
    StashSession("one").merge("shop", {"rows": ["ö" * 500] * 64, "the last key": "the very end"})
    shop = row(database)
    whole = text_of(admin.get(url("stashslice", "change", shop.pk)))
    assert "the very end" in whole
    assert whole.count("ö" * 500) == 64
    cut = text_of(admin.get(url("stashowner", "change", shop.pk)))
    assert "the very end" not in cut
    assert "more characters" in cut
    assert url("stashslice", "change", shop.pk) in cut


def test_an_owners_page_lists_its_slices_and_no_others(database: str, admin: Client) -> None:
    stash = fill("one", "shop", "mail")
    stash.merge("shop", {"a": 2}, vsn=4, tab="0123456789abcdef")
    fill("two", "foreign")
    text = text_of(admin.get(url("stashowner", "change", row(database, view="shop").pk)))
    for mine in StashSlice.objects.using(database).exclude(view="foreign"):
        assert url("stashslice", "change", mine.pk) in text
    assert "foreign" not in text
    assert "version 4" in text
    assert "tab 01234567<" in text


def test_what_is_gone_is_not_an_error(database: str, admin: Client) -> None:
    for model in ("stashowner", "stashslice"):
        assert admin.get(url(model, "change", 10**9), follow=True).redirect_chain
    assert admin.get(url("stashowner", "purge", 10**9)).status_code == 404
    assert admin.get(url("stashslice", "reset", "x")).status_code == 404


@pytest.mark.parametrize("model", ["stashowner", "stashslice"])
def test_nobody_adds_changes_or_deletes_past_the_doorbell(database: str, admin: Client, model: str) -> None:
    fill("one", "shop")
    pk = row(database).pk
    assert admin.get(url(model, "add")).status_code == 403
    assert admin.post(url(model, "change", pk), {"view": "x"}).status_code == 403
    assert admin.post(url(model, "delete", pk), {"post": "yes"}).status_code == 403
    act(admin, model, "delete_selected", pk, post="yes")
    assert row(database).view == "shop"
    assert "delete_selected" not in text_of(admin.get(url(model)))


def test_purge_asks_then_removes_rings_and_logs(database: str, admin: Client, rung: Any, person: Any) -> None:
    fill("one", "shop", "mail").merge("shop", {"a": 1}, vsn=2, tab="tab")
    anna = person("anna")
    StashSession.for_user(anna).merge("profile", {"a": 1})
    fill("other", "kept")
    one, mine = row(database, view="shop"), row(database, view="profile")
    rung.clear()
    asking = act(admin, "stashowner", "purge", one.pk, mine.pk)
    text = text_of(asking)
    assert "Purge 2 stash sessions?" in text
    assert "4 slices" in text
    assert f"session {one.owner[:12]}: 3 slices" in text
    assert f"{anna.username}: 1 slice" in text
    assert rung == []
    done = posted_back(admin, asking)
    assert said(done) == ["Purged 2 stash sessions (4 slices)."]
    assert [found.view for found in StashSlice.objects.using(database).all()] == ["kept"]
    assert sorted(rung) == [("mail", "", 1, 0), ("profile", "", 1, 0), ("shop", "", 1, 0), ("shop", "tab", 2, 0)]
    entries = LogEntry.objects.filter(user=done.context["user"]).order_by("object_repr")
    assert [(entry.action_flag, entry.object_repr, entry.change_message) for entry in entries] == [
        (DELETION, f"session {one.owner[:12]}", "Purged: 3 slices."),
        (DELETION, f"user {anna.pk}", "Purged: 1 slice."),
    ]
    assert posted_back(admin, asking).status_code == 200


def test_reset_removes_all_tabs_and_versions_of_a_view(database: str, admin: Client, rung: Any) -> None:
    stash = fill("one", "shop", "mail")
    stash.merge("shop", {"a": 1}, vsn=2, tab="tab")
    fill("other", "shop")
    shop = row(database, view="shop", vsn=2)
    rung.clear()
    asking = act(admin, "stashslice", "reset", shop.pk, row(database, view="shop", owner=shop.owner).pk)
    text = text_of(asking)
    assert "Reset 1 view?" in text
    assert "every version" in text
    assert f"shop, of session {shop.owner[:12]}: 2 slices" in text
    done = posted_back(admin, asking)
    assert said(done) == ["Reset 1 view (2 slices)."]
    assert sorted(rung) == [("shop", "", 1, 0), ("shop", "tab", 2, 0)]
    assert stash.views() == ["mail"]
    assert StashSession("other").views() == ["shop"]
    entry = LogEntry.objects.get(user=done.context["user"])
    assert entry.change_message == f"Reset shop of session {shop.owner[:12]}: 2 slices."
    assert not HASH.search(entry.object_repr + entry.change_message)


@pytest.mark.parametrize(("model", "removal"), [("stashowner", "purge"), ("stashslice", "reset")])
def test_a_rows_own_page_leads_to_its_removal(database: str, admin: Client, model: str, removal: str) -> None:
    fill("one", "shop")
    fill("two", "shop")
    pk = row(database).pk
    assert url(model, removal, pk) in text_of(admin.get(url(model, "change", pk)))
    done = posted_back(admin, admin.get(url(model, removal, pk)))
    assert done.redirect_chain == [(url(model), 302)]
    assert [found.pk for found in StashSlice.objects.using(database).all()] == [row(database).pk]


def test_all_of_a_filtered_list_but_nothing_that_came_later(database: str, admin: Client, person: Any) -> None:
    for number in range(3):
        fill(f"session {number}", "shop")
    StashSession.for_user(person()).merge("shop", {"a": 1})
    first = row(database)
    asking = act(admin, "stashowner", "purge", first.pk, query="?kind=session", select_across="1")
    assert "Purge 3 stash sessions?" in text_of(asking)
    fill("late", "late")
    StashSession("session 0").merge("new", {"a": 1})  # an owner that writes on stays selected
    assert said(posted_back(admin, asking)) == ["Purged 3 stash sessions (4 slices)."]
    assert {found.view for found in StashSlice.objects.using(database).all()} == {"late", "shop"}


def test_a_selection_that_went_by_itself_is_told(database: str, admin: Client) -> None:
    stash = fill("one", "shop")
    for model, action, told in (
        ("stashowner", "purge", "Nothing was purged"),
        ("stashslice", "reset", "Nothing was reset"),
    ):
        stash.merge("shop", {"a": 1})
        asking = act(admin, model, action, row(database).pk)
        stash.destroy()
        assert said(posted_back(admin, asking))[0].startswith(told)


def test_a_database_that_fails_midway_is_told(database: str, admin: Client, monkeypatch: Any) -> None:
    remove = StashSession.remove
    calls = []

    def fail_second(self: StashSession, **which: Any) -> Any:
        calls.append(which)
        if len(calls) == 2:
            raise StoreUnavailable
        return remove(self, **which)

    for name in ("one", "two", "three"):
        fill(name, "shop")
    pks = list(StashSlice.objects.using(database).values_list("pk", flat=True))
    asking = act(admin, "stashowner", "purge", *pks)
    monkeypatch.setattr(StashSession, "remove", fail_second)
    done = posted_back(admin, asking)
    assert "not everything was removed" in said(done)[0]
    assert said(done)[1] == "Purged 1 stash session (1 slice)."
    assert LogEntry.objects.filter(user=done.context["user"]).count() == 1


@pytest.mark.parametrize("granted", [PERMISSIONS[:1], PERMISSIONS[:2], PERMISSIONS[:3], (), PERMISSIONS])
def test_permissions(database: str, person: Callable[..., Any], granted: tuple[str, ...]) -> None:
    client = entered(person("staff", *granted, is_staff=True))
    fill("one", "shop", "mail")
    pk = row(database, view="shop").pk
    for model, removal in (("stashowner", "purge"), ("stashslice", "reset")):
        may_view, may_remove = f"view_{model}" in granted, f"delete_{model}" in granted
        assert client.get(url(model)).status_code == (200 if may_view else 403)
        page = client.get(url(model, "change", pk))
        assert page.status_code == (200 if may_view else 403)
        assert (url(model, removal, pk) in page.content.decode()) is may_remove
        assert client.get(url(model, removal, pk)).status_code == (200 if may_remove else 403)
        before = StashSlice.objects.using(database).count()
        act(client, model, removal, pk, confirmed="yes") if may_view else client.post(url(model), {"confirmed": "yes"})
        assert (StashSlice.objects.using(database).count() < before) is may_remove
        fill("one", "shop", "mail")
        pk = row(database, view="shop").pk
    owner_page = client.get(url("stashowner", "change", pk)).content.decode()
    assert (url("stashslice", "change", pk) in owner_page) is ("view_stashslice" in granted and bool(granted))


def test_visitors_and_plain_users_are_sent_to_the_login(database: str, person: Callable[..., Any]) -> None:
    fill("one", "shop")
    pk = row(database).pk
    for client in (Client(), entered(person("plain", *PERMISSIONS))):
        for address in (url("stashowner"), url("stashslice", "change", pk), url("stashowner", "purge", pk)):
            assert reverse("admin:login") in client.get(address).headers["Location"]
