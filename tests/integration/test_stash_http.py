"""`{mount}/stash/`: the socket's frames over HTTP, with CSRF, statuses, cookies, in autocommit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.test import Client
from django.urls import include, path

from syncsessions.exceptions import StoreUnavailable
from syncsessions.stash.browser import Browser
from syncsessions.stash.models import StashSlice
from tests.sockets import MIXED, MOVED, NOTE, ServerStash, stash_of

URL = "/syncsessions/stash/"
urlpatterns = [path("syncsessions/", include("syncsessions.urls"))]
pytestmark = [
    pytest.mark.parametrize("database", ["default"], indirect=True),
    pytest.mark.usefixtures("database", "site"),
]


@pytest.fixture
def site(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    yield
    SessionStore.get_model_class().objects.all().delete()


@pytest.fixture
def client() -> Client:
    """A browser, with CSRF as in earnest."""
    return Client(enforce_csrf_checks=True)


def token_of(client: Client) -> str:
    token: str = client.get(URL, {"token": ""}).json()["token"]
    return token


def post(client: Client, frame: Any, content_type: str = "application/json", **headers: str) -> Any:
    body = frame if isinstance(frame, str | bytes) else json.dumps(frame)
    return client.post(URL, body, content_type, headers={"X-CSRFToken": token_of(client), **headers})


def save(client: Client, view: str = NOTE, **more: Any) -> Any:
    return post(client, {"type": "stash.save", "view": view, "changes": {"a": 1}, **more})


def key_of(client: Client) -> str:
    return client.cookies["sessionid"].value


def test_a_save_without_the_token_is_refused(client: Client) -> None:
    frame = json.dumps({"type": "stash.save", "view": NOTE, "changes": {"a": 1}})
    assert client.post(URL, frame, "application/json").status_code == 403
    token = token_of(client)
    assert client.post(URL, frame, "application/json").status_code == 403
    assert client.post(URL, frame, "application/json", headers={"X-CSRFToken": token[::-1]}).status_code == 403
    assert not StashSlice.objects.exists()
    assert client.post(URL, frame, "application/json", headers={"X-CSRFToken": token}).status_code == 200


def test_csrf_holds_where_the_project_has_no_middleware_for_it(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    frame = json.dumps({"type": "stash.save", "view": NOTE, "changes": {"a": 1}})
    assert client.post(URL, frame, "application/json").status_code == 403
    assert save(client).status_code == 200


def test_csrf_tokens_in_the_session(client: Client, settings: Any) -> None:
    settings.CSRF_USE_SESSIONS = True
    token = token_of(client)
    assert "csrftoken" not in client.cookies
    frame = json.dumps({"type": "stash.save", "view": NOTE, "changes": {"a": 1}})
    assert client.post(URL, frame, "application/json").status_code == 403
    assert client.post(URL, frame, "application/json", headers={"X-CSRFToken": token}).status_code == 200
    assert stash_of(key_of(client)).get_view(NOTE) == {"a": 1}


def test_looking_makes_no_session(client: Client) -> None:
    assert client.get(URL, {"token": ""}).status_code == 200
    assert set(client.cookies) == {"csrftoken"}
    bare = Client()
    answer = bare.get(URL, {"view": NOTE, "vsn": "1", "tab": "t", "fresh": "1"})
    assert answer.status_code == 200
    assert not bare.cookies
    assert "Set-Cookie" not in answer.headers
    assert not StashSlice.objects.exists()


def test_the_first_save_makes_the_session_and_the_next_ones_use_it(client: Client) -> None:
    answer = save(client, ref="r", vsn=3, tab="t")
    saved = answer.json()
    life = saved["life"]
    assert saved == {
        "type": "stash.saved",
        "ref": "r",
        "view": NOTE,
        "vsn": 3,
        "tab": "t",
        "life": life,
        "revision": 1,
    }
    key = key_of(client)
    assert save(client, vsn=3, tab="t", base={"life": life, "revision": 1}).json()["revision"] == 2
    assert key_of(client) == key
    assert stash_of(key).get_view(NOTE, tab="t") == {"a": 1}


def test_a_get_subscribes_to_one_view(client: Client) -> None:
    saved = save(client, vsn=2, tab="t").json()
    changed, subscribed = client.get(URL, {"view": NOTE, "vsn": "2", "tab": "t"}).json()["frames"]
    told = {name: saved[name] for name in ("view", "vsn", "tab", "life", "revision")}
    assert changed == {"type": "stash.changed", **told, "data": {"a": 1}}
    assert [part["tab"] for part in subscribed["views"][0]["slices"]] == ["", "t"]
    answers = client.get(URL, {"view": NOTE, "vsn": "2", "tab": "t", "fresh": "true"}).json()["frames"]
    assert [answer["type"] for answer in answers] == ["stash.subscribed"]


def test_a_post_subscribes_to_several(client: Client) -> None:
    save(client)
    views = [{"view": NOTE}, {"view": ServerStash.view}, {"view": MIXED}]
    answer = post(client, {"type": "stash.subscribe", "ref": 1, "views": views})
    assert answer.status_code == 200
    types = [(frame["type"], frame.get("code"), frame.get("ref")) for frame in answer.json()["frames"]]
    assert types == [("stash.changed", None, None), ("error", "not_allowed", 1), ("stash.subscribed", None, 1)]


def test_a_clear(client: Client) -> None:
    saved = save(client).json()
    cleared = post(client, {"type": "stash.clear", "view": NOTE, "vsn": 1}).json()
    assert cleared == {"type": "stash.cleared", "view": NOTE, "vsn": 1, "tab": "", "life": saved["life"]}
    assert not StashSlice.objects.exists()


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        ({"type": "stash.save", "view": ServerStash.view, "changes": {"anything": 1}}, 403, "not_allowed"),
        ({"type": "stash.save", "view": MIXED, "changes": {"secret": 1}}, 403, "not_allowed"),
        ({"type": "stash.save", "view": "unheard.of", "changes": {"a": 1}}, 403, "not_allowed"),
        ({"type": "stash.clear", "view": ServerStash.view}, 403, "not_allowed"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": 1}, "base": {"life": "gone"}}, 409, "conflict"),
        (b'{"type": "ping"}' + b" " * 256 * 1024, 413, "too_large"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": "x" * 65_536}}, 400, "invalid_value"),
        ({"type": "stash.save", "view": NOTE, "changes": {"a": "\x00"}}, 400, "invalid_value"),
        ({"type": "stash.save", "view": NOTE, "changes": 1}, 400, "bad_frame"),
        ({"type": "stash.subscribe", "views": 1}, 400, "bad_frame"),
        ({"type": "ping"}, 400, "unknown_type"),
        ("", 400, "bad_frame"),
        ("[]", 400, "bad_frame"),
        ("null", 400, "bad_frame"),
        (b"\xff\xfe{}", 400, "bad_frame"),
        (b"[" * 200_000, 400, "bad_frame"),
        (b"\x00" * 100, 400, "bad_frame"),
    ],
)
def test_each_error_has_its_status(client: Client, frame: Any, status: int, code: str) -> None:
    answer = post(client, frame)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["type"] == "error"
    assert answer.json()["message"]
    assert not StashSlice.objects.exists()


def test_an_unreachable_store(client: Client, monkeypatch: Any) -> None:
    def fail(self: Browser, frame: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(Browser, "save", fail)
    answer = save(client, ref="r")
    assert (answer.status_code, answer.json()["code"], answer.json()["ref"]) == (503, "store_unavailable", "r")


def test_what_cannot_be_migrated_is_a_conflict(client: Client) -> None:
    save(client)
    stash_of(key_of(client)).merge(MOVED, {"unexpected": 1}, vsn=1)
    frame = {"type": "stash.save", "view": MOVED, "vsn": 2, "changes": {"name": "x"}}
    assert post(client, frame).status_code == 409
    assert client.get(URL, {"view": MOVED, "vsn": "2"}).json()["frames"][0]["code"] == "conflict"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"view": "\x00"},
        {"view": "v" * 201},
        {"view": NOTE, "vsn": "x"},
        {"view": NOTE, "vsn": ""},
        {"view": NOTE, "vsn": "-1"},
        {"view": NOTE, "vsn": "²"},
        {"view": NOTE, "vsn": "9" * 5000},
        {"view": NOTE, "vsn": "2147483648"},
        {"view": NOTE, "tab": "\x00"},
        {"view": NOTE, "tab": "t" * 201},
        {"view": ["x", "\x00"]},
    ],
)
def test_a_bad_query_is_a_bad_frame(query: dict[str, Any]) -> None:
    refused, subscribed = Client().get(URL, query).json()["frames"]
    assert (refused["type"], refused["code"], subscribed["views"]) == ("error", "bad_frame", [])


def test_nothing_is_cached(client: Client) -> None:
    for answer in (client.get(URL, {"token": ""}), client.get(URL, {"view": NOTE}), save(client), post(client, "x")):
        assert "no-store" in answer.headers["Cache-Control"]


def test_other_methods_are_refused() -> None:
    for method in ("PUT", "DELETE", "PATCH", "HEAD"):
        assert Client().generic(method, URL).status_code == 405


def test_a_wrong_content_length_is_no_trouble(client: Client) -> None:
    headers = {"X-CSRFToken": token_of(client), "Content-Length": "9" * 30}
    assert client.post(URL, "{}", "application/json", headers=headers).status_code == 413
    headers["Content-Length"] = "many"
    assert client.post(URL, "{}", "application/json", headers=headers).status_code == 400


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "x;charset=y"])
def test_any_content_type_may_carry_a_frame(client: Client, content_type: str) -> None:
    frame = {"type": "stash.save", "view": NOTE, "changes": {"a": 1}}
    assert post(client, frame, content_type).json()["type"] == "stash.saved"


def test_it_writes_in_autocommit_whatever_the_project_says(client: Client, monkeypatch: Any) -> None:
    for alias in connections:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
    inside: list[str] = []
    answer = Browser.answer

    def look_for_a_transaction(self: Browser, frame: Any) -> Any:
        inside.extend(alias for alias in connections if connections[alias].in_atomic_block)
        return answer(self, frame)

    monkeypatch.setattr(Browser, "answer", look_for_a_transaction)
    assert save(client).status_code == 200
    assert client.get(URL, {"view": NOTE}).status_code == 200
    assert inside == []


def test_a_listed_view_opens_the_keys_that_its_stash_declares(client: Client, settings: Any) -> None:
    key = next(iter(ServerStash.lifetimes))
    assert save(client, ServerStash.view, changes={key: 1}).json()["code"] == "not_allowed"
    settings.SYNCSESSIONS = {"STASH_CLIENT_VIEWS": [ServerStash.view]}
    assert save(client, ServerStash.view, changes={key: 1}).json()["type"] == "stash.saved"
    assert save(client, ServerStash.view, changes={"undeclared": 1}).json()["code"] == "not_allowed"
