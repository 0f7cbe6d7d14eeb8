"""What `manage.py check` says of a database store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from syncsessions.stores.database import DatabaseStore

ALIAS = "checked"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The settings of a database that the store uses."""
    found = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    monkeypatch.setitem(connections.settings, ALIAS, found)
    yield found
    for connection in connections.all(initialized_only=True):
        if connection.alias == ALIAS:
            del connections[ALIAS]


def ids(using: str = ALIAS) -> list[str]:
    found = DatabaseStore("pairing", {"OPTIONS": {"using": using}}).check()
    assert all("'pairing'" in message.msg and message.hint for message in found)
    return [str(message.id).removeprefix("syncsessions.") for message in found]


def test_nothing_to_say(configured: dict[str, Any]) -> None:
    assert ids() == []
    assert DatabaseStore("default", {}).using == "default"


def test_atomic_requests(configured: dict[str, Any]) -> None:
    configured["ATOMIC_REQUESTS"] = True
    assert ids() == ["W009"]


@pytest.mark.parametrize("vendor", ["postgresql", "mysql"])
def test_no_connect_timeout(configured: dict[str, Any], vendor: str) -> None:
    if vendor == "mysql":
        pytest.importorskip("MySQLdb")
    configured["ENGINE"] = f"django.db.backends.{vendor}"
    assert ids() == ["W010"]
    configured["OPTIONS"] = {"connect_timeout": 3}
    assert ids() == []
    configured["OPTIONS"] = {"connect_timeout": 0}  # the drivers' word for ever
    assert ids() == ["W010"]


def test_a_database_that_is_not_there(configured: dict[str, Any]) -> None:
    assert ids("nowhere") == ["E007"]


def test_a_database_of_another_kind(configured: dict[str, Any]) -> None:
    configured["ENGINE"] = "django.db.backends.dummy"
    assert ids() == ["E007"]


def test_a_sqlite_that_is_too_old(configured: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert ids() == ["E007"]
