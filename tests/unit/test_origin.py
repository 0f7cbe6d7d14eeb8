"""Which Origin may open a socket: our own, a trusted one, none; judged as Django judges a POST's."""

from __future__ import annotations

from typing import Any

import pytest

from syncsessions.consumers.origin import is_own_origin


def scope(origin: str | bytes | None, host: bytes | None = b"testserver", scheme: str = "ws", **more: Any) -> Any:
    headers = [] if host is None else [(b"host", host)]
    if origin is not None:
        headers.append((b"origin", origin.encode("latin-1") if isinstance(origin, str) else origin))
    headers += more.pop("headers", [])
    return {"type": "websocket", "path": "/ws/stash/", "headers": headers, "scheme": scheme, **more}


def test_none_at_all_passes() -> None:
    assert is_own_origin(scope(None))
    assert is_own_origin({"type": "websocket", "path": "/"})


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://testserver", b"testserver", "ws"),
        ("https://testserver", b"testserver", "wss"),
        ("http://127.0.0.1:8000", b"127.0.0.1:8000", "ws"),
        ("http://localhost", b"localhost", "ws"),
    ],
)
def test_our_own_passes(origin: str, host: bytes, scheme: str) -> None:
    assert is_own_origin(scope(origin, host, scheme))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://testserver",
        "http://testserver:81",
        "http://testserver.evil.example",
        "http://eviltestserver",
        "http://sub.testserver",
        "http://testserver@evil.example",
        "http://evil.example/testserver",
        "http://testserver/",
        "http://testserver#x",
        "ws://testserver",
        "file://testserver",
        "file://",
        "null",
        "undefined",
        "testserver",
        "//testserver",
        "http://",
        "http://[",
        "http://[::1",
        "http://]",
        "http://testserver:port",
        "http://testserver, http://evil.example",
        " http://testserver",
        "http:testserver",
        "\x00",
        b"\xff\xfe",
        b"http://\xe4vil",
        b"http://testserver\xff",
    ],
)
def test_foreign_and_malformed_ones_are_refused(origin: str | bytes) -> None:
    assert not is_own_origin(scope(origin))


def test_a_host_that_is_not_allowed_owns_nothing() -> None:
    assert not is_own_origin(scope("http://evil.example", b"evil.example"))
    assert not is_own_origin(scope("http://x", b"\xff\xfe bad host"))


def test_trusted_origins_and_their_subdomains(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://one.example", "https://*.two.example"]
    good = ["https://one.example", "https://a.two.example", "https://a.b.two.example"]
    bad = [
        "http://one.example",
        "https://sub.one.example",
        "https://one.example:444",
        "http://a.two.example",
        "https://eviltwo.example",
        "https://a.two.example.evil.example",
        "https://a.two.example:444",
        "null",
    ]
    assert [origin for origin in good + bad if is_own_origin(scope(origin))] == good


def test_behind_a_proxy_that_says_so(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.USE_X_FORWARDED_HOST = True
    settings.ALLOWED_HOSTS = ["shop.example"]
    headers = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"shop.example")]
    assert is_own_origin(scope("https://shop.example", b"backend:8000", headers=headers))
    assert not is_own_origin(scope("http://shop.example", b"backend:8000", headers=headers))
    settings.USE_X_FORWARDED_HOST = False
    assert not is_own_origin(scope("https://shop.example", b"backend:8000", headers=headers))


def test_without_a_host_the_origin_must_name_an_allowed_one(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*", "shop.example"]
    assert is_own_origin(scope("https://shop.example", None))
    assert not is_own_origin(scope("https://evil.example", None))
    assert not is_own_origin(scope("null", None))
