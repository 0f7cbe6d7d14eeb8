"""A save by a page that has recovered nothing: what an older version holds must not be hidden by it."""

from __future__ import annotations

import logging

import pytest
from django.db import OperationalError

from syncsessions.stash import StashSession
from tests.integration.test_stash_view import FailingStash, Version1, Version2, page

pytestmark = pytest.mark.usefixtures("database")


def test_it_carries_the_older_version_over_and_wins(session_id: str) -> None:
    page(Version1, session_id).save({"name": "Ada Lovelace", "draft": "kept"})
    page(Version2, session_id).save({"last": "Byron"})
    assert page(Version2, session_id).recover(reconnected=True).values == {
        "first": "Ada",
        "last": "Byron",
        "draft": "kept",
    }


def test_it_is_not_kept_where_the_older_version_cannot_be_migrated(
    session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    page(Version1, session_id).save({"name": "Ada Lovelace"})
    with caplog.at_level(logging.ERROR, "syncsessions"):
        assert page(FailingStash, session_id).recover().status == "error"
        page(FailingStash, session_id).save({"name": "Overwritten"})
    assert StashSession(session_id).fetch_view(Version1.view, vsn=FailingStash.vsn) is None
    assert StashSession(session_id).get_view(Version1.view) == {"name": "Ada Lovelace"}
    assert "Not saved" in caplog.text


def test_it_stays_where_there_is_nothing_older(session_id: str) -> None:
    page(FailingStash, session_id).save({"name": "Ada"})
    assert page(FailingStash, session_id).recover().values == {"name": "Ada"}


class SessionOutOfReach:
    """A Django session whose store is down."""

    session_key = "key"

    def get(self, key: str, default: object = None) -> object:
        raise OperationalError("the session's database is down")

    def __setitem__(self, key: str, value: object) -> None:
        raise OperationalError("the session's database is down")


def test_a_session_that_cannot_be_read_is_a_store_that_fails() -> None:
    stash = Version1.for_scope({"session": SessionOutOfReach()})
    assert stash.recover() == ("error", {})


def test_a_tab_that_cannot_be_one_is_none_for_a_scope_too(session_id: str) -> None:
    assert Version1.for_scope({"session_id": session_id}, "\ud800").tab == ""
