"""A user's stash: it follows the user and goes with the user. What goes at logout is in test_session_id.py."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model, login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.test.utils import isolate_apps
from django.urls import path

from syncsessions.exceptions import AccessRefused
from syncsessions.stash import RECONNECT, SESSION, StashSession, ViewStash, departures
from syncsessions.stash.models import StashSlice
from tests.routers import StashRouter

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


class NotesStash(ViewStash):
    view = "tests.notes"
    owner = "user"
    keys = {"note": SESSION, "draft": RECONNECT}


def log_in(request: HttpRequest, name: str) -> JsonResponse:
    user = authenticate(request, username=name, password="secret")
    assert user is not None
    login(request, user)
    return JsonResponse({})


def log_out(request: HttpRequest) -> JsonResponse:
    logout(request)
    return JsonResponse({})


def recover(request: HttpRequest) -> JsonResponse:
    status, values = NotesStash.for_request(request).recover()
    return JsonResponse({"status": status, "values": values})


def save(request: HttpRequest) -> JsonResponse:
    try:
        NotesStash.for_request(request).save({"note": request.GET["note"]})
    except AccessRefused as error:
        return JsonResponse(error.as_dict(), status=403)
    return JsonResponse({})


def stash_in_session(request: HttpRequest) -> JsonResponse:
    StashSession.for_request(request).merge("tests.cart", {"item": 1})
    return JsonResponse({})


urlpatterns = [
    path("cart/", stash_in_session),
    path("login/<name>/", log_in),
    path("logout/", log_out),
    path("recover/", recover),
    path("save/", save),
]


@pytest.fixture
def ada() -> User:
    return get_user_model().objects.create_user("ada", password="secret")


def told(client: Client, url: str) -> Any:
    return client.get(url).json()


def test_it_follows_from_one_browser_to_another_and_survives_logout(ada: User) -> None:
    desk, phone = Client(), Client()
    told(desk, "/login/ada/")
    told(desk, "/save/?note=milk")
    told(phone, "/login/ada/")
    assert told(phone, "/recover/") == {"status": "recovered", "values": {"note": "milk"}}
    told(phone, "/logout/")
    assert told(phone, "/recover/") == {"status": "not_found", "values": {}}
    assert told(desk, "/recover/")["values"] == {"note": "milk"}
    assert StashSession.for_user(ada).get_view(NotesStash.view) == {"note": "milk"}


def test_an_anonymous_user_finds_nothing_and_may_not_save(ada: User) -> None:
    client = Client()
    assert told(client, "/recover/") == {"status": "not_found", "values": {}}
    response = client.get("/save/?note=milk")
    assert (response.status_code, response.json()["code"]) == (403, "not_allowed")
    assert not StashSlice.objects.exists()
    stash = StashSession.for_user(AnonymousUser())
    assert (stash.get_view("a"), stash.views()) == ({}, [])
    with pytest.raises(AccessRefused) as caught:
        stash.merge("a", {"b": 1})
    assert caught.value.code == "not_allowed"


def test_a_scopes_user(ada: User) -> None:
    NotesStash.for_scope({"user": ada}, "tab-1").save({"note": "milk", "draft": "Dear"})
    assert NotesStash.for_scope({"user": ada}, "tab-1").recover(reconnected=True).values == {
        "note": "milk",
        "draft": "Dear",
    }
    assert NotesStash.for_scope({"user": AnonymousUser()}).recover().status == "not_found"
    assert NotesStash.for_scope({}).recover().status == "not_found"


def test_users_do_not_see_each_other(ada: User) -> None:
    grace = get_user_model().objects.create_user("grace")
    StashSession.for_user(ada).merge("a", {"b": 1})
    assert StashSession.for_user(grace).get_view("a") == {}
    assert StashSlice.objects.get().user_pk == str(ada.pk)


def test_a_session_id_is_no_way_to_a_users_stash(ada: User) -> None:
    StashSession.for_user(ada).merge("a", {"b": 1})
    for guess in (f"user:{ada.pk}", str(ada.pk)):
        assert StashSession(guess).views() == []


@pytest.mark.parametrize("way", ["instance", "queryset"])
def test_it_goes_with_the_user_and_only_that_ones(ada: User, way: str) -> None:
    grace = get_user_model().objects.create_user("grace")
    for user in (ada, grace):
        StashSession.for_user(user).merge("a", {"b": 1}, tab="t")
        StashSession.for_user(user).merge("c", {"b": 1}, vsn=2)
    StashSession("of a browser").merge("a", {"b": 1})
    pk = ada.pk
    if way == "instance":
        ada.delete()
    else:
        get_user_model().objects.filter(pk=pk).delete()
    assert set(StashSlice.objects.values_list("user_pk", flat=True)) == {str(grace.pk), ""}
    assert StashSlice.objects.count() == 3


def test_a_deletion_that_is_rolled_back_leaves_it(ada: User) -> None:
    StashSession.for_user(ada).merge("a", {"b": 1})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        get_user_model().objects.get(pk=ada.pk).delete()
        _ = 1 / 0
    assert StashSession.for_user(ada).get_view("a") == {"b": 1}


def test_a_store_that_fails_does_not_keep_the_user(
    ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(departures.StashSession, "destroy", failing_destroy)
    with transaction.atomic():
        ada.delete()
    assert not get_user_model().objects.filter(username="ada").exists()
    assert "could not be removed" in caplog.text


def failing_destroy(stash: StashSession) -> None:
    """As where the table is missing."""
    from syncsessions.stash.sql import run

    def work(connection: Any, _statements: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM nowhere_at_all")

    run(work)


@isolate_apps("django.contrib.auth", "django.contrib.contenttypes")
def test_it_goes_with_a_user_who_is_removed_as_a_proxy(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    class Person(User):
        class Meta:
            proxy = True
            app_label = "auth"

    monkeypatch.setattr(departures.apps, "get_models", lambda: [Person])
    departures.watch()
    StashSession.for_user(ada).merge("a", {"b": 1})
    Person.objects.get(pk=ada.pk).delete()
    assert not StashSlice.objects.exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_it_goes_with_the_user_on_another_database(ada: User, database: str) -> None:
    StashSession.for_user(ada).merge("a", {"b": 1})
    assert StashSlice.objects.using(database).count() == 1
    assert StashRouter.alias == database
    with transaction.atomic():
        get_user_model().objects.get(pk=ada.pk).delete()
        assert StashSlice.objects.using(database).exists() is (database != "default")
    assert not StashSlice.objects.using(database).exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_stash_on_another_database_stays_when_the_deletion_is_rolled_back(ada: User, database: str) -> None:
    StashSession.for_user(ada).merge("a", {"b": 1})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        get_user_model().objects.get(pk=ada.pk).delete()
        _ = 1 / 0
    assert StashSession.for_user(ada).get_view("a") == {"b": 1}


def test_a_login_over_somebody_elses_session_removes_what_that_one_stashed(ada: User) -> None:
    get_user_model().objects.create_user("eve", password="secret")
    client = Client()
    client.get("/login/ada/")
    client.get("/cart/")
    assert StashSlice.objects.count() == 1
    client.get("/login/eve/")
    assert not StashSlice.objects.exists()
