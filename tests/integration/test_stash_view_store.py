"""A `ViewStash` whose database is away, and back again."""

from __future__ import annotations

import logging

import pytest
from django.db import connections

from syncsessions.exceptions import StoreUnavailable
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice
from tests.integration.test_stash_view import ListedStash, page
from tests.routers import StashRouter

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def dead_database(monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that nobody serves."""
    settings = {
        **connections["default"].settings_dict,
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "/nowhere/at/all.sqlite3",
    }
    monkeypatch.setitem(connections.settings, "dead", settings)
    monkeypatch.setattr(StashRouter, "alias", "dead")
    return "dead"


def test_a_store_that_fails(session_id: str, dead_database: str, caplog: pytest.LogCaptureFixture) -> None:
    stash = page(ListedStash, session_id)
    with caplog.at_level(logging.ERROR, "syncsessions"):
        assert stash.recover() == ("error", {})
    assert ListedStash.view in caplog.text
    for fail in (
        lambda: stash.save({"a": 1}),
        stash.reset,
        lambda: StashSession(session_id).merge("shop", {"a": 1}),
        lambda: StashSession(session_id).get_view("shop"),
        lambda: StashSession(session_id).drop("shop", ["a"]),
        StashSession(session_id).views,
        StashSession(session_id).destroy,
    ):
        with pytest.raises(StoreUnavailable):
            fail()


async def test_a_store_that_fails_async(session_id: str, dead_database: str) -> None:
    stash = page(ListedStash, session_id)
    assert await stash.arecover() == ("error", {})
    with pytest.raises(StoreUnavailable):
        await stash.asave({"a": 1})


def test_a_store_that_is_back_is_used_again(database: str, session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stash = page(ListedStash, session_id)
    with monkeypatch.context() as patch:
        patch.setattr(StashSlice._meta, "db_table", "nowhere")
        assert stash.recover() == ("error", {})
    stash.save({"a": 1})
    assert stash.recover().values == {"a": 1}


@pytest.mark.parametrize("database", ["postgresql", "mysql"], indirect=True)
def test_a_connection_that_the_server_ended_fails_once(database: str, session_id: str) -> None:
    stash = page(ListedStash, session_id)
    stash.save({"a": 1})
    _end_connection(database)
    with pytest.raises(StoreUnavailable):
        StashSession(session_id).merge(ListedStash.view, {"a": 2})
    assert StashSession(session_id).merge(ListedStash.view, {"a": 3}) == 2
    _end_connection(database)
    assert stash.recover().status == "error"
    assert stash.recover() == ("recovered", {"a": 3})


def _end_connection(alias: str) -> None:
    """As the server's own end of our connection, by another one."""
    ask, end = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s, 5000)"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL %s"),
    }[connections[alias].vendor]
    with connections[alias].cursor() as cursor:
        cursor.execute(ask)
        number = cursor.fetchone()[0]
    other = connections[alias].copy()
    try:
        with other.cursor() as cursor:
            cursor.execute(end, [number])
    finally:
        other.close()
