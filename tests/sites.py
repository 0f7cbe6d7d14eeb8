"""Fixtures for the tests that call other sites: ones that misbehave, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.misbehaving import Site, misbehaving
from tests.staff import put


@pytest.fixture
def sites_here(settings: Any) -> None:
    """Sites on this machine, over plain HTTP, may be called."""
    settings.DEBUG = True
    put(settings, ALLOW_PRIVATE_SITE_URLS=True)


@pytest.fixture
def public_sites(settings: Any) -> None:
    """Sites on this machine may not be called; plain HTTP is no reason against a site."""
    settings.DEBUG = True
    put(settings, ALLOW_PRIVATE_SITE_URLS=False)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that this process trusts."""
    made = Authority(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.bundle))
    return made


@pytest.fixture
def bad_site(sites_here: None) -> Iterator[Site]:
    """A server of which each path misbehaves in a way of its own."""
    with misbehaving() as site:
        yield site
