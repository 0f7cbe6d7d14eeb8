"""The id of a browser session: lazy, agreed upon, kept through login, gone with logout."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import alogin, alogout, get_user_model, login, logout
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from syncsessions import session_id
from syncsessions.middleware import SessionIdMiddleware, SessionIdScopeMiddleware
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

ID = re.compile(r"[A-Za-z0-9_-]{32}")
both_at_once: threading.Barrier | None = None


def accessed(request: HttpRequest) -> JsonResponse:
    before = request.session.accessed
    found = request.session_id
    return JsonResponse({"before": before, "after": request.session.accessed, "type": type(found).__name__})


def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"accessed": request.session.accessed})


def read(request: HttpRequest) -> JsonResponse:
    if both_at_once is not None:
        request.session.get("any")
        both_at_once.wait(20)
    found = request.session_id
    if both_at_once is not None:
        both_at_once.wait(20)
    return JsonResponse({"id": found, "again": request.session_id})


def only_look(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"id": session_id.peek(request.session), "stash": StashSession.for_request(request).views()})


def save(request: HttpRequest) -> JsonResponse:
    StashSession.for_request(request).merge("shop", {request.GET["key"]: 1})
    return JsonResponse({"by_id": StashSession(request.session_id).get_view("shop")})


def log_in(request: HttpRequest, name: str) -> JsonResponse:
    login(request, get_user_model().objects.get(username=name), "django.contrib.auth.backends.ModelBackend")
    return JsonResponse({"stash": StashSession.for_request(request).get_view("shop")})


def log_out(request: HttpRequest) -> JsonResponse:
    before = StashSession.for_request(request)
    before.get_view("shop")
    logout(request)
    if "key" in request.GET:
        before.merge("shop", {request.GET["key"]: 1})
        return JsonResponse({"stash": before.get_view("shop")})
    return JsonResponse({"stash": StashSession.for_request(request).get_view("shop")})


async def aread(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"id": await request.asession_id(), "again": await request.asession_id()})


async def asave(request: HttpRequest) -> JsonResponse:
    stash = StashSession.for_request(request)
    await stash.amerge("shop", {request.GET["key"]: 1})
    return JsonResponse({"by_id": await StashSession(await request.asession_id()).aget_view("shop")})


async def alog_in(request: HttpRequest, name: str) -> JsonResponse:
    user = await get_user_model().objects.aget(username=name)
    await alogin(request, user, "django.contrib.auth.backends.ModelBackend")
    return JsonResponse({"stash": await StashSession.for_request(request).aget_view("shop")})


async def alog_out(request: HttpRequest) -> JsonResponse:
    await alogout(request)
    return JsonResponse({"stash": await StashSession.for_request(request).aget_view("shop")})


urlpatterns = [
    path("accessed/", accessed),
    path("untouched/", untouched),
    path("read/", read),
    path("look/", only_look),
    path("save/", save),
    path("login/<name>/", log_in),
    path("logout/", log_out),
    path("aread/", aread),
    path("asave/", asave),
    path("alogin/<name>/", alog_in),
    path("alogout/", alog_out),
]


def told(client: Client, url: str) -> Any:
    return client.get(url).json()


def client_with_a_session() -> tuple[Client, str]:
    """A browser whose session is older than our id in it."""
    session = SessionStore()
    session["cart"] = [1]
    session.save()
    return same_browser(session.session_key), session.session_key


def same_browser(session_key: str) -> Client:
    client = Client()
    client.cookies["sessionid"] = session_key
    return client


@pytest.fixture
def users() -> None:
    for name in ("ada", "grace"):
        get_user_model().objects.create_user(name)


# What it is


def test_it_is_lazy_and_plain_text() -> None:
    assert told(Client(), "/untouched/") == {"accessed": False}
    assert told(Client(), "/accessed/") == {"before": False, "after": True, "type": "str"}


def test_it_is_32_url_safe_characters_and_stays() -> None:
    client = Client()
    found = told(client, "/read/")
    assert ID.fullmatch(found["id"])
    assert found["again"] == found["id"] == told(client, "/read/")["id"] == told(client, "/look/")["id"]
    assert told(Client(), "/read/")["id"] != found["id"]
    client, _key = client_with_a_session()
    assert ID.fullmatch(told(client, "/read/")["id"])


def test_only_looking_makes_none() -> None:
    client = Client()
    response = client.get("/look/")
    assert response.json() == {"id": None, "stash": []}
    assert not response.cookies


def test_a_request_and_its_id_are_the_same_session() -> None:
    client = Client()
    assert told(client, "/save/?key=a") == {"by_id": {"a": 1}}
    assert StashSession(told(client, "/read/")["id"]).get_view("shop") == {"a": 1}


async def test_async_views() -> None:
    client = AsyncClient()
    first = (await client.get("/aread/")).json()
    assert first["id"] == first["again"]
    assert ID.fullmatch(first["id"])
    assert (await client.get("/aread/")).json() == first
    assert (await client.get("/read/")).json()["id"] == first["id"]
    assert (await client.get("/asave/?key=a")).json() == {"by_id": {"a": 1}}


def test_the_middleware_needs_a_session() -> None:
    with pytest.raises(ImproperlyConfigured, match="SessionMiddleware"):
        SessionIdMiddleware(lambda request: None)(RequestFactory().get("/"))


# A cookie without an id


@pytest.mark.parametrize("fallbacks", [[], ["older"]])
def test_an_unknown_cookie_gives_no_id(fallbacks: list[str]) -> None:
    key = "abcdefghijklmnopqrstuvwxyz012345"
    with override_settings(SECRET_KEY_FALLBACKS=fallbacks):
        assert told(same_browser(key), "/look/") == {"id": None, "stash": []}
        one, other = told(same_browser(key), "/read/")["id"], told(same_browser(key), "/read/")["id"]
        assert one != other
        assert told(same_browser(key), "/save/?key=a") == {"by_id": {"a": 1}}
        assert told(same_browser(key), "/save/?key=b") == {"by_id": {"b": 1}}


def test_two_first_requests_at_once_get_the_same_id() -> None:
    global both_at_once
    client, key = client_with_a_session()
    both_at_once = threading.Barrier(2)

    def ask(url: str) -> str:
        try:
            return str(told(same_browser(key), url)["id"])
        finally:
            connections.close_all()

    try:
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(ask, ["/read/", "/read/"])
    finally:
        both_at_once = None
    assert one == other == told(client, "/read/")["id"]


def test_a_clobbered_session_keeps_its_id() -> None:
    """Django's session save is last-wins: one that was loaded before the id was in it may be saved after."""
    client, key = client_with_a_session()
    late = SessionStore(key)
    assert late["cart"] == [1]
    found = told(client, "/read/")["id"]
    told(client, "/save/?key=a")
    late["cart"] = [1, 2]
    late.save()
    assert session_id.SESSION_KEY not in SessionStore(key)
    assert told(client, "/look/") == {"id": found, "stash": ["shop"]}
    assert told(client, "/read/")["id"] == found


def test_it_is_kept_in_the_session() -> None:
    client, key = client_with_a_session()
    found = told(client, "/read/")["id"]
    assert SessionStore(key)[session_id.SESSION_KEY] == found
    client, key = client_with_a_session()
    told(client, "/save/?key=a")
    assert SessionStore(key)[session_id.SESSION_KEY]


# Login and logout


@pytest.mark.usefixtures("users")
def test_login_keeps_the_stash() -> None:
    client = Client()
    told(client, "/save/?key=a")
    key = client.cookies["sessionid"].value
    found = told(client, "/read/")["id"]
    assert told(client, "/login/ada/") == {"stash": {"a": 1}}
    assert client.cookies["sessionid"].value != key
    assert told(client, "/read/")["id"] == found


@pytest.mark.usefixtures("users")
def test_login_keeps_what_only_a_socket_has_written() -> None:
    """A socket cannot save the session: its id derives from the key, which login is about to change."""
    client, key = client_with_a_session()
    StashSession.for_scope({"session": SessionStore(key)}).merge("shop", {"a": 1})
    assert session_id.SESSION_KEY not in SessionStore(key)
    assert told(client, "/login/ada/") == {"stash": {"a": 1}}
    assert told(client, "/save/?key=b") == {"by_id": {"a": 1, "b": 1}}


@pytest.mark.usefixtures("users")
async def test_async_login_keeps_it_too() -> None:
    client = AsyncClient()
    session = SessionStore()
    await session.aset("cart", [1])
    await session.asave()
    client.cookies["sessionid"] = str(session.session_key)
    scope = {"session": SessionStore(session.session_key)}
    await StashSession.for_scope(scope).amerge("shop", {"a": 1})
    assert (await client.get("/alogin/ada/")).json() == {"stash": {"a": 1}}
    assert (await client.get("/asave/?key=b")).json() == {"by_id": {"a": 1, "b": 1}}
    assert (await client.get("/alogout/")).json() == {"stash": {}}
    assert not await StashSlice.objects.aexists()


@pytest.mark.usefixtures("users")
def test_logout_ends_it_and_purges_the_stash() -> None:
    client = Client()
    told(client, "/save/?key=a")
    told(client, "/login/ada/")
    found = told(client, "/read/")["id"]
    assert told(client, "/logout/") == {"stash": {}}
    assert not StashSlice.objects.exists()
    assert told(client, "/look/")["id"] is None
    assert told(client, "/read/")["id"] != found


@pytest.mark.usefixtures("users")
def test_logout_purges_what_only_a_socket_has_written() -> None:
    client, key = client_with_a_session()
    StashSession.for_scope({"session": SessionStore(key)}).merge("shop", {"a": 1})
    told(client, "/logout/")
    assert not StashSlice.objects.exists()


@pytest.mark.usefixtures("users")
def test_what_is_saved_after_a_logout_belongs_to_the_new_session() -> None:
    client = Client()
    told(client, "/save/?key=a")
    told(client, "/login/ada/")
    assert told(client, "/logout/?key=b") == {"stash": {"b": 1}}
    assert told(client, "/save/?key=c") == {"by_id": {"b": 1, "c": 1}}
    assert StashSlice.objects.count() == 1


@pytest.mark.usefixtures("users")
def test_another_user_in_the_same_browser_gets_another_stash() -> None:
    client = Client()
    told(client, "/login/ada/")
    told(client, "/save/?key=a")
    assert told(client, "/login/grace/") == {"stash": {}}
    assert told(client, "/save/?key=g") == {"by_id": {"g": 1}}


@pytest.mark.usefixtures("users")
def test_the_same_user_again_keeps_it() -> None:
    client = Client()
    told(client, "/login/ada/")
    told(client, "/save/?key=a")
    assert told(client, "/login/ada/") == {"stash": {"a": 1}}


# Sockets


async def test_a_scopes_session_id() -> None:
    scopes: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scopes.append(scope)

    _client, key = await sync_to_async(client_with_a_session)()
    middleware = SessionIdScopeMiddleware(application)
    for scope in ({"session": SessionStore(key)}, {"session": SessionStore()}, {"session": SessionStore("x" * 32)}, {}):
        await middleware(scope, None, None)
    found = [scope["session_id"] for scope in scopes]
    assert ID.fullmatch(found[0])
    assert found[1:] == [None, None, None]
    by_http = (await sync_to_async(told)(same_browser(key), "/read/"))["id"]
    assert by_http == found[0]
