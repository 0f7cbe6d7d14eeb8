"""Calls to other sites: what comes back of them, how long they take at most, and what is never called."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest
import requests

from syncsessions.connections import calls, wire
from syncsessions.connections.calls import Answer, Cancel, call
from syncsessions.exceptions import SiteUnavailable
from tests.certificates import Authority
from tests.misbehaving import FINE, NEVER_FINISHED, Site, deaf, free_port, misbehaving, unreachable
from tests.staff import put

TOKEN = "x" * 20 + "-a-token-of-a-peer-_" + "y" * 3


def refused(*args: Any, **kwargs: Any) -> SiteUnavailable:
    with pytest.raises(SiteUnavailable) as caught:
        call(*args, **kwargs)
    return caught.value


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[Any]:
    """Every name is found at these addresses, the first list at the first lookup and so on; the lookups."""
    asked: list[Any] = []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, kind, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_an_answer_is_its_status_and_its_json(bad_site: Site) -> None:
    answer = call("GET", bad_site.url("active"), "api/status", token=TOKEN)
    assert (answer.status, answer.body["connection"]["status"]) == (200, "active")
    (talk,) = bad_site.talks
    assert talk.head.startswith("GET /active/api/status HTTP/1.1\r\n")
    assert talk.header("Authorization") == f"Bearer {TOKEN}"
    assert talk.header("Accept-Encoding") == "identity"
    assert talk.header("Host") == f"127.0.0.1:{bad_site.port}"
    assert talk.header("Cookie") is None


def test_what_is_sent_is_json(bad_site: Site) -> None:
    call("PATCH", bad_site.url("active") + "/", "/api/connection", json={"status": "suspended", "reason": "ü"})
    (talk,) = bad_site.talks
    assert talk.head.startswith("PATCH /active/api/connection HTTP/1.1\r\n")
    assert talk.header("Content-Type") == "application/json"
    assert talk.header("Authorization") is None
    assert json.loads(talk.body) == {"status": "suspended", "reason": "ü"}


@pytest.mark.parametrize("behaviour", FINE)
def test_every_shape_of_a_whole_answer_is_taken(bad_site: Site, behaviour: str) -> None:
    assert call("GET", bad_site.url(behaviour), "x").fields["connection"]["status"] == "active"


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [("503", 503), ("500", 500), ("404_html", 404), ("gone", 404), ("401", 401), ("201", 201), ("redirect", 302)],
)
def test_every_status_is_an_answer(bad_site: Site, behaviour: str, status: int) -> None:
    assert call("GET", bad_site.url(behaviour), "x").status == status


def test_a_redirect_is_not_followed(bad_site: Site) -> None:
    call("GET", bad_site.url("redirect"), "x", token=TOKEN)
    assert [talk.path for talk in bad_site.talks] == ["/redirect/x"]


@pytest.mark.parametrize(
    "behaviour", ["bad_json", "not_utf8", "deep_json", "nan", "huge_number", "empty", "500", "null", "404_html"]
)
def test_a_body_that_is_no_json_is_none(bad_site: Site, behaviour: str) -> None:
    answer = call("GET", bad_site.url(behaviour), "x")
    assert (answer.body, answer.fields) == (None, {})


@pytest.mark.parametrize("behaviour", ["list", "text"])
def test_a_body_that_is_no_object_has_no_fields(bad_site: Site, behaviour: str) -> None:
    answer = call("GET", bad_site.url(behaviour), "x")
    assert answer.body and answer.fields == {}


@pytest.mark.parametrize(
    "behaviour",
    [
        *("cut", "cut_chunk", "no_last_chunk", "bad_chunk", "404_cut", "nothing", "reset", "not_http"),
        *("large", "a_bit_large", "bomb", "small_gzip", "redirect_large"),
        *("endless", "endless_headers", "endless_line", "endless_chunk_size", "endless_trailer", "endless_100"),
    ],
)
def test_what_is_cut_short_packed_or_too_large_is_no_answer(bad_site: Site, behaviour: str) -> None:
    began = time.monotonic()
    assert refused("GET", bad_site.url(behaviour), "x", within=30).offline is False
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("behaviour", NEVER_FINISHED)
def test_what_is_not_finished_in_time_is_offline_and_left(bad_site: Site, behaviour: str) -> None:
    began = time.monotonic()
    assert refused("GET", bad_site.url(behaviour), "x", within=0.5).offline is True
    assert 0.4 < time.monotonic() - began < 5
    bad_site.wait_for(lambda site: site.gone == 1)


def test_a_server_that_refuses_never_accepts_or_never_replies_is_offline(sites_here: None) -> None:
    assert refused("GET", f"http://127.0.0.1:{free_port()}", "x").offline is True
    with deaf() as origin:
        assert refused("GET", origin, "x", within=0.5).offline is True
    with unreachable() as origin:
        assert refused("GET", origin, "x", within=0.5).offline is True


def test_a_name_that_is_not_found_is_offline(sites_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert refused("GET", "https://b.example", "x").offline is True
    resolving(monkeypatch, [])
    assert refused("GET", "https://b.example", "x").offline is True


def test_a_resolver_that_hangs_holds_a_call_no_longer_than_its_time(
    bad_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, found, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def stuck(*args: Any, **kwargs: Any) -> Any:
        let_go.wait(60)
        found.set()
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    try:
        began = time.monotonic()
        assert refused("GET", bad_site.url("active"), "x", within=0.5).offline is True
        assert time.monotonic() - began < 5
    finally:
        let_go.set()
    assert found.wait(30)
    _wait_until(lambda: not any(thread.name == "syncsessions-call" for thread in threading.enumerate()))
    assert bad_site.connected == 0, "who was left must not connect afterwards"


def test_another_address_is_tried_where_the_first_does_not_reply(
    sites_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with misbehaving(address="127.0.0.2") as site, unreachable() as origin:
        silent, port = origin.rpartition(":")[2], site.port
        real = socket.socket.connect
        monkeypatch.setattr(
            socket.socket,
            "connect",
            lambda sock, to: real(sock, (to[0], int(silent) if to[0] == "127.0.0.1" else port)),
        )
        resolving(monkeypatch, ["127.0.0.1", "127.0.0.2"])
        assert call("GET", f"http://b.example:{port}/active", "x", within=4).status == 200


def test_another_address_is_tried_where_this_machine_has_no_sockets_of_the_first_kind(
    bad_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [(99, ("::1", bad_site.port, 0, 0)), (socket.AF_INET, ("127.0.0.1", bad_site.port))]
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in kinds]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    assert call("GET", f"http://b.example:{bad_site.port}/active", "x").status == 200


# https


def test_a_site_is_called_by_the_name_that_its_certificate_has(
    authority: Authority, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, ALLOW_PRIVATE_SITE_URLS=True)
    asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.9"])
    with misbehaving(tls=authority.server("b.example")) as site:
        answer = call("GET", f"https://b.example:{site.port}/active", "x", token=TOKEN)
    assert answer.status == 200
    assert asked == ["b.example"], "one lookup, and the connection goes where it pointed"
    assert site.names == ["b.example"]
    assert site.talks[0].header("Host") == f"b.example:{site.port}"


def test_a_site_may_have_a_certificate_for_its_address(authority: Authority, settings: Any) -> None:
    put(settings, ALLOW_PRIVATE_SITE_URLS=True)
    with misbehaving(tls=authority.server("127.0.0.1")) as site:
        assert call("GET", site.url("active"), "x").status == 200


@pytest.mark.parametrize("kind", ["another host", "expired", "unknown authority"])
def test_a_certificate_that_is_not_right_is_no_answer(
    authority: Authority, settings: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    put(settings, ALLOW_PRIVATE_SITE_URLS=True)
    settings.DEBUG = True
    if kind == "unknown authority":
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    host = "c.example" if kind == "another host" else "127.0.0.1"
    with misbehaving(tls=authority.server(host, expired=kind == "expired")) as site:
        assert refused("GET", site.url("active"), "x", token=TOKEN).offline is False
    assert site.talks == []


def test_a_handshake_that_never_ends_is_offline_and_left(settings: Any) -> None:
    put(settings, ALLOW_PRIVATE_SITE_URLS=True)
    with misbehaving() as site:  # it waits for a request, and says nothing to a hello
        url = site.url("active").replace("http:", "https:")
        assert refused("GET", url, "x", within=0.5).offline is True


def test_http_is_for_debug_only(bad_site: Site, settings: Any) -> None:
    settings.DEBUG = False
    assert refused("GET", bad_site.url("active"), "x").offline is False
    assert bad_site.connected == 0


@pytest.mark.parametrize(
    "url",
    [
        *(None, "", "b.example", "//b.example", "ftp://b.example", "file:///etc/passwd", "https://", "https:///x"),
        *("https://user:password@b.example", "https://b.example?x=1", "https://b.example#x", "https://b.example\\@c"),
        *(
            "https://b.example:0",
            "https://b.example:70000",
            "https://b.example:x",
            "https://b .example",
            "https://[::1",
        ),
        *("https://b.example/\r\nX: y", "https://" + "b" * 64 + ".example", "https://b..example", "x" * 1000),
    ],
)
def test_what_is_no_address_of_a_site_is_not_called(sites_here: None, url: str | None) -> None:
    assert refused("GET", url, "x").offline is False


def test_a_token_that_cannot_be_sent_is_not_told(bad_site: Site) -> None:
    error = refused("GET", bad_site.url("active"), "x", token="secret\r\nX: y")
    assert "secret" not in f"{error!s} {error!r} {error.as_dict()}"
    assert bad_site.talks == []


# addresses


NUMBERS = "127.0.0.1 localhost 127.1 2130706433 0x7f.1 0177.0.0.1 0 0x7f000001 017700000001".split()
MAPPED = "[::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::] [64:ff9b::7f00:1] [2002:7f00:1::] [fe80::1]".split()
NETWORKS = "10.0.0.1 192.168.1.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1".split()
DIGITS = ["\N{FULLWIDTH DIGIT ONE}27.0.0.1", "127\N{IDEOGRAPHIC FULL STOP}0.0.1", "\N{CIRCLED DIGIT ONE}27.0.0.1"]


@pytest.mark.parametrize("host", NUMBERS + MAPPED + NETWORKS + DIGITS)
def test_private_addresses_are_not_called_in_whatever_form(
    public_sites: None, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    connected: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda sock, address: connected.append(address))
    assert refused("GET", f"http://{host}", "x", token=TOKEN, within=5).offline is False
    assert not connected


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1", "localhost"])
def test_where_private_ones_are_allowed_they_are_what_they_are(bad_site: Site, host: str) -> None:
    assert call("GET", f"http://{host}:{bad_site.port}/active", "x").status == 200


def test_a_number_is_refused_even_where_it_points_to_a_public_address(
    public_sites: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "may_be_called", lambda address: True)
    with misbehaving() as site:
        assert refused("GET", f"http://2130706433:{site.port}/active", "x").offline is False
        assert site.connected == 0
        assert call("GET", f"http://127.0.0.1:{site.port}/active", "x").status == 200


def test_one_address_that_is_not_public_spoils_them_all(public_sites: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "may_be_called", lambda address: address == "127.0.0.2")
    with misbehaving(address="127.0.0.2") as site:
        for found in (["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "::1"]):
            resolving(monkeypatch, found)
            assert refused("GET", f"http://b.example:{site.port}/active", "x").offline is False
        assert site.connected == 0


def test_a_name_that_points_elsewhere_after_the_check_is_called_where_it_was_checked(
    public_sites: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "may_be_called", lambda address: address == "127.0.0.2")
    with misbehaving(address="127.0.0.2") as outside, misbehaving(address="127.0.0.1", port=outside.port) as inside:
        asked = resolving(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        url = f"http://b.example:{outside.port}/active"
        assert call("GET", url, "x").status == 200
        assert asked == ["b.example"]
        assert refused("GET", url, "x").offline is False
        assert (outside.connected, inside.connected) == (1, 0)


def test_a_proxy_in_the_environment_is_not_asked(bad_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.origin)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with contextlib.suppress(requests.RequestException):
            requests.get(bad_site.url("active"), timeout=30)
        assert proxy.connected, "others do ask it"
        before = proxy.connected
        assert call("GET", bad_site.url("active"), "x").status == 200
        assert proxy.connected == before


def test_credentials_in_the_environment_are_not_sent(
    bad_site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something")
    monkeypatch.setenv("NETRC", str(netrc))
    call("GET", bad_site.url("active"), "x")
    assert bad_site.talks[0].header("Authorization") is None


def test_cookies_are_not_kept(bad_site: Site) -> None:
    call("GET", bad_site.url("cookie"), "x")
    call("GET", bad_site.url("cookie"), "x")
    assert [talk.header("Cookie") for talk in bad_site.talks] == [None, None]


# secrets


def test_no_log_line_error_or_repr_has_a_token(
    bad_site: Site,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HTTPConnection, "debuglevel", 1)
    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        for behaviour in ("active", "cut", "large", "not_http", "503", "endless_headers", "hang"):
            try:
                told.append(repr(call("POST", bad_site.url(behaviour), "x", token=TOKEN, json={"a": TOKEN}, within=1)))
            except SiteUnavailable as error:
                assert error.__context__ is None and error.__cause__ is None
                told += [str(error), repr(error), str(error.as_dict())]
    assert caplog.records
    told += [record.getMessage() + str(record.exc_text or "") for record in caplog.records]
    told.append("".join(capsys.readouterr()))
    assert not [line for line in told if TOKEN in line]


def test_an_answer_does_not_show_what_it_brought() -> None:
    assert TOKEN not in repr(Answer(201, {"token": TOKEN}))


# cancelling


def test_a_call_is_cancelled_at_once_from_another_thread(bad_site: Site) -> None:
    cancel, ended = Cancel(), threading.Event()

    def ask() -> None:
        try:
            call("GET", bad_site.url("hang"), "x", within=60, cancel=cancel)
        except SiteUnavailable:
            ended.set()

    threading.Thread(target=ask, daemon=True).start()
    bad_site.wait_for(lambda site: len(site.talks) == 1)
    began = time.monotonic()
    cancel.cancel()
    assert ended.wait(30)
    bad_site.wait_for(lambda site: site.gone == 1)
    assert time.monotonic() - began < 2


def test_after_cancelling_nobody_is_called(bad_site: Site) -> None:
    cancel = Cancel()
    cancel.cancel()
    refused("GET", bad_site.url("active"), "x", cancel=cancel)
    _wait_until(lambda: not any(thread.name == "syncsessions-call" for thread in threading.enumerate()))
    assert bad_site.connected == 0


def test_where_there_are_no_threads_to_be_had_nobody_is_called(bad_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert refused("GET", bad_site.url("active"), "x").offline is False


def test_the_time_for_a_call_is_ten_seconds() -> None:
    assert calls.WITHIN == 10.0


def _wait_until(done: Callable[[], bool], within: float = 30) -> None:
    until = time.monotonic() + within
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)
