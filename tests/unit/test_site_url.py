"""One spelling for each site, and none for what is no site."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsessions.connections.site_url import canonical, normalised
from syncsessions.exceptions import InvalidValue


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("https://b.example/sync", "https://b.example/sync"),
        ("https://b.example/sync/", "https://b.example/sync"),
        (" HTTPS://B.Example/sync// ", "https://b.example/sync"),
        ("https://b.example", "https://b.example"),
        ("https://b.example:443/sync", "https://b.example/sync"),
        ("https://b.example:8443/sync", "https://b.example:8443/sync"),
        ("https://b.example/Sync", "https://b.example/Sync"),
        ("https://bücher.example/sync", "https://xn--bcher-kva.example/sync"),
        ("https://[2001:DB8::1]:8443/sync", "https://[2001:db8::1]:8443/sync"),
    ],
)
def test_one_spelling(text: str, site: str) -> None:
    assert normalised(text) == site
    assert normalised(site) == site


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b.example",
        "//b.example/sync",
        "ftp://b.example",
        "javascript:alert(1)",
        "https://",
        "https:///sync",
        "https://user:secret@b.example/sync",
        "https://user@b.example",
        "https://b.example/sync?token=1",
        "https://b.example/sync#x",
        "https://b.example:0/",
        "https://b.example:99999/",
        "https://b.example:x/",
        "https://b.example/a/../sync",
        "https://b.example/./sync",
        "https://b.example/a//b",
        "https://b.example\\@evil.example/",
        "https://b exa.mple/",
        "https://b.example/sy nc",
        "https://b.example/sy\nnc",
        "https://b.example/sy\x00nc",
        "https://b.example/%zz",
        "https://-b.example/",
        "https://b..%65xample/",
        "https://[::1",
        "https://" + "a" * 600,
        None,
        7,
        b"https://b.example",
    ],
)
def test_no_site(text: object) -> None:
    with pytest.raises(InvalidValue):
        normalised(text)


def test_plain_http_is_for_development() -> None:
    assert normalised("http://B.example:80/sync/", insecure=True) == "http://b.example/sync"
    with pytest.raises(InvalidValue, match="https"):
        normalised("http://b.example/sync")


@given(st.text())
def test_junk_is_refused_and_nothing_else_raised(text: str) -> None:
    for junk in (text, f"https://{text}", f"https://b.example/{text}"):
        try:
            once = canonical(junk)
        except InvalidValue:
            continue
        assert canonical(once) == once
