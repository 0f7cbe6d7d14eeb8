"""How many statements each operation is, outside a transaction, where one upsert can do the merge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from syncsessions.stash import RECONNECT, SESSION, StashSession, ViewStash, knowledge
from syncsessions.stash.models import StashSlice
from tests import workers

pytestmark = pytest.mark.parametrize("database", ["default", "postgresql"], indirect=True, ids=["sqlite", "postgresql"])


class CountedStash(ViewStash):
    view = "tests.counted"
    keys = {"theme": SESSION, "size": SESSION, "draft": RECONNECT}


class Count(CaptureQueriesContext):
    """The statements of a block; `with Count(alias, 2):` is an error where it were not two."""

    def __init__(self, alias: str, wanted: int) -> None:
        super().__init__(connections[alias])
        connections[alias].ensure_connection()
        self.wanted = wanted

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        if raised[0] is None:
            said = [query["sql"] for query in self.captured_queries]
            assert len(said) == self.wanted, said


@pytest.fixture(autouse=True)
def known_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not let a page's knowledge expire in the middle of a test."""
    monkeypatch.setattr(knowledge, "KNOWN_FOR", 600.0)


@pytest.fixture
def page(session_id: str) -> Iterator[CountedStash]:
    yield CountedStash(StashSession(session_id), "tab-1")


def test_a_merge_is_one_statement_the_first_one_too(database: str, session_id: str) -> None:
    stash = StashSession(session_id)
    for count in range(3):
        with Count(database, 1):
            stash.merge("shop", {"a": count})
        with Count(database, 1):
            stash.merge("shop", {"a": count}, tab="t")


def test_reading_is_one_statement(database: str, session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge("shop", {"a": 1})
    for read in (stash.get_view, stash.fetch_view):
        with Count(database, 1):
            read("shop")
    with Count(database, 1):
        assert stash.views() == ["shop"]


def test_drop(database: str, session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge("shop", {"a": 1, "b": 2})
    with Count(database, 1):
        stash.drop("shop", ["a"])
    with Count(database, 1):
        stash.drop("shop", ["zz"])
    with Count(database, 0):
        stash.drop("shop", [])
    assert stash.fetch_view("shop").revision == 2  # type: ignore[union-attr]


def test_removing_is_one_statement(database: str, session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge("shop", {"a": 1})
    with Count(database, 1):
        stash.reset_view("shop")
    with Count(database, 1):
        stash.destroy()


def test_a_save_of_both_kinds_of_key_is_one_statement_with_two_rows(database: str, page: CountedStash) -> None:
    for count in range(2):
        with Count(database, 1):
            page.save({"theme": count, "draft": count, "other": count})
    rows = StashSlice.objects.using(database).filter(view=page.view)
    assert {(row.tab, row.revision, str(row.data)) for row in rows} == {
        ("", 2, "{'theme': 1}"),
        ("tab-1", 2, "{'draft': 1}"),
    }


def test_an_unchanged_save_is_none(database: str, page: CountedStash) -> None:
    page.save({"theme": [1, {"a": 2}], "size": 1, "draft": "d"})
    with Count(database, 0):
        page.save({"theme": [1, {"a": 2}], "size": 1, "draft": "d"})
        page.save({"theme": (1, {"a": 2})})
        page.save({"unknown": 1})
        page.save({})
    with Count(database, 1):
        page.save({"theme": [1, {"a": 2}], "size": 1.0, "draft": "d"})
    row = StashSlice.objects.using(database).get(view=page.view, tab="tab-1")
    assert row.revision == 1


def test_an_unchanged_save_after_recover_is_none(database: str, page: CountedStash, session_id: str) -> None:
    page.save({"theme": "dark", "size": 1e15, "draft": ["é", None]})
    again = CountedStash(StashSession(session_id), "tab-1")
    with Count(database, 1):
        assert again.recover(reconnected=True).status == "recovered"
    with Count(database, 0):
        again.save({"theme": "dark", "size": 1e15, "draft": ["é", None]})


def test_an_unchanged_save_after_recovering_what_another_process_wrote(
    database: str, page: CountedStash, session_id: str
) -> None:
    page.save({"theme": "dark"})
    workers.run("merge", database, session_id, page.view, '{"theme": "light"}')
    again = CountedStash(StashSession(session_id))
    assert again.recover().values == {"theme": "light"}
    with Count(database, 0):
        again.save({"theme": "light"})


def test_an_unchanged_save_after_recovering_what_another_process_made_anew(
    database: str, page: CountedStash, session_id: str
) -> None:
    page.save({"theme": "dark"})
    StashSlice.objects.using(database).filter(view=page.view).delete()  # as another process: nothing is told here
    workers.run("merge", database, session_id, page.view, '{"theme": "light"}')
    again = CountedStash(StashSession(session_id))
    again.recover()
    with Count(database, 0):
        again.save({"theme": "light"})
    StashSession(session_id).merge(page.view, {"theme": "dark"})
    with Count(database, 1):
        again.save({"theme": "light"})


def test_recover_is_one_statement(database: str, page: CountedStash, session_id: str) -> None:
    page.save({"theme": 1, "draft": 1})
    again = CountedStash(StashSession(session_id), "tab-1")
    with Count(database, 1):
        assert again.recover(reconnected=True).values == {"theme": 1, "draft": 1}
    without_tab = CountedStash(StashSession(session_id))
    with Count(database, 1):
        assert without_tab.recover().values == {"theme": 1}
    nobody = CountedStash(StashSession(f"{session_id}-other"), "tab-1")
    with Count(database, 1):
        assert nobody.recover().status == "not_found"


def test_recover_of_what_was_not_seen_for_a_day_is_two(database: str, page: CountedStash, session_id: str) -> None:
    page.save({"theme": 1, "draft": 1})
    rows = StashSlice.objects.using(database).filter(view=page.view)
    before = {row.tab: row for row in rows}
    long_ago = timezone.now() - timedelta(days=1, minutes=1)
    rows.update(last_seen_at=long_ago)
    with Count(database, 2):
        CountedStash(StashSession(session_id), "tab-1").recover(reconnected=True)
    with Count(database, 1):
        CountedStash(StashSession(session_id), "tab-1").recover(reconnected=True)
    for row in rows:
        assert timezone.now() - row.last_seen_at < timedelta(minutes=5)
        assert (row.revision, row.written_at) == (before[row.tab].revision, before[row.tab].written_at)


def test_other_reads_leave_last_seen_at_alone(database: str, page: CountedStash, session_id: str) -> None:
    page.save({"theme": 1})
    long_ago = timezone.now() - timedelta(days=3)
    StashSlice.objects.using(database).filter(view=page.view).update(last_seen_at=long_ago)
    stash = StashSession(session_id)
    stash.get_view(page.view)
    stash.views()
    found = stash.fetch_view(page.view)
    assert found is not None
    assert abs(found.last_seen_at - long_ago) < timedelta(seconds=1)


def test_a_fresh_visit_clears_in_two(database: str, page: CountedStash, session_id: str) -> None:
    page.save({"theme": 1, "draft": 1})
    with Count(database, 2):
        assert CountedStash(StashSession(session_id), "tab-1").recover().values == {"theme": 1}
    with Count(database, 1):
        assert CountedStash(StashSession(session_id), "tab-1").recover().values == {"theme": 1}


def test_a_first_visit_without_a_cookie_sends_nothing(database: str) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    page = CountedStash.for_request(request, "tab-1")
    with Count(database, 0), Count("default", 0):
        assert page.recover() == ("not_found", {})
        assert page.recover(reconnected=True) == ("not_found", {})
        stash = StashSession.for_request(request)
        assert (stash.get_view("a"), stash.fetch_view("a"), stash.views()) == ({}, None, [])
        stash.drop("a", ["b"])
        stash.reset_view("a")
        stash.destroy()
        page.reset()
    assert not request.session.modified
    assert request.session.is_empty()


def test_what_another_object_wrote_is_re_asserted(database: str, page: CountedStash, session_id: str) -> None:
    page.save({"theme": "dark", "draft": 1})
    StashSession(session_id).merge(page.view, {"theme": "light"})
    with Count(database, 1):
        page.save({"theme": "dark", "draft": 1})
    assert StashSession(session_id).get_view(page.view) == {"theme": "dark"}
    assert StashSession(session_id).fetch_view(page.view, tab="tab-1").revision == 1  # type: ignore[union-attr]
    with Count(database, 0):
        page.save({"theme": "dark", "draft": 1})


@pytest.mark.parametrize("undo", ["drop", "reset_view", "destroy"])
def test_what_another_object_removed_is_re_asserted(
    database: str, page: CountedStash, session_id: str, undo: str
) -> None:
    page.save({"theme": "dark", "size": 1})
    other = StashSession(session_id)
    arguments = {"drop": [page.view, ["theme"]], "reset_view": [page.view], "destroy": []}[undo]
    getattr(other, undo)(*arguments)
    page.save({"theme": "dark", "size": 1})
    assert other.get_view(page.view) == {"theme": "dark", "size": 1}


def test_what_a_silent_process_wrote_is_re_asserted_in_time(
    database: str, page: CountedStash, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no doorbell is heard, knowledge does not last: the store may hold another's value."""
    page.save({"theme": "dark"})
    workers.run("merge", database, session_id, page.view, '{"theme": "light"}')
    monkeypatch.setattr(knowledge, "KNOWN_FOR", -1.0)
    with Count(database, 1):
        page.save({"theme": "dark"})
    assert StashSession(session_id).get_view(page.view) == {"theme": "dark"}


def test_a_write_that_came_between_makes_the_rest_doubtful(database: str, page: CountedStash, session_id: str) -> None:
    """One's own next write tells, by its revision, that another process has written: what was known goes."""
    page.save({"theme": "dark", "size": 1})
    workers.run("merge", database, session_id, page.view, '{"theme": "light"}')
    page.save({"size": 2})
    with Count(database, 1):
        page.save({"theme": "dark", "size": 2})
    assert StashSession(session_id).get_view(page.view) == {"theme": "dark", "size": 2}
