"""After SECRET_KEY was rotated, as long as there are fallbacks, the first touch of a session moves its rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import connections
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext

from syncsessions.middleware import SessionIdMiddleware
from syncsessions.session_id import SESSION_KEY, peek
from syncsessions.stash import RECONNECT, SESSION, StashSession, ViewStash
from syncsessions.stash.models import StashSlice

pytestmark = pytest.mark.usefixtures("database")


class RotatedStash(ViewStash):
    view = "tests.rotated"
    keys = {"theme": SESSION, "draft": RECONNECT}


class Session(dict[str, Any]):
    """As much of a Django session as the id needs, with any key."""

    def __init__(self, session_key: str | None) -> None:
        super().__init__()
        self.session_key = session_key

    def cycle_key(self) -> None:
        self.session_key = f"{self.session_key}-cycled"

    async def acycle_key(self) -> None:
        self.cycle_key()

    def flush(self) -> None:
        self.clear()
        self.session_key = None

    async def aflush(self) -> None:
        self.flush()


def secret(key: str, *fallbacks: str) -> AbstractContextManager[None]:
    return override_settings(SECRET_KEY=key, SECRET_KEY_FALLBACKS=list(fallbacks))


def request_of(session: Session) -> Any:
    request = RequestFactory().get("/")
    request.session = session  # type: ignore[assignment]
    SessionIdMiddleware(lambda request: None)(request)  # type: ignore[arg-type, return-value]
    return request


def rows(database: str) -> list[tuple[str, str, int, dict[str, Any]]]:
    found = StashSlice.objects.using(database).order_by("view", "tab", "vsn")
    return [(row.view, row.tab, row.revision, row.data) for row in found]


TOUCHES: dict[str, Callable[[StashSession], object]] = {
    "get_view": lambda stash: stash.get_view("shop"),
    "merge": lambda stash: stash.merge("elsewhere", {"a": 1}),
    "drop": lambda stash: stash.drop("nowhere", ["a"]),
    "views": lambda stash: stash.views(),
    "recover": lambda stash: RotatedStash(stash).recover(),
    "save": lambda stash: RotatedStash(stash).save({"theme": 1}),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_the_first_touch_moves_everything(database: str, session_id: str, touch: str) -> None:
    with secret("old"):
        stash = StashSession(session_id)
        stash.merge("shop", {"a": 1})
        stash.merge("shop", {"b": 1})
        stash.merge("shop", {"draft": 1}, tab="t")
        stash.merge("shop", {"new": 1}, vsn=2)
    before = {row.owner for row in StashSlice.objects.using(database).all()}
    with secret("new", "older", "old"):
        TOUCHES[touch](StashSession(session_id))
    with secret("new"):
        stash = StashSession(session_id)
        assert stash.get_view("shop", vsn=1) == {"a": 1, "b": 1}
        assert stash.fetch_view("shop").vsn == 2  # type: ignore[union-attr]
        assert stash.fetch_view("shop", vsn=1).revision == 2  # type: ignore[union-attr]
        assert stash.get_view("shop", tab="t") == {"draft": 1}
    after = {row.owner for row in StashSlice.objects.using(database).all()}
    assert len(after) == 1
    assert after.isdisjoint(before)


def test_destroy_covers_what_an_older_key_wrote(database: str, session_id: str) -> None:
    with secret("old"):
        StashSession(session_id).merge("shop", {"a": 1})
    with secret("new", "old"):
        StashSession(session_id).destroy()
    assert rows(database) == []


def test_without_fallbacks_nothing_is_found(database: str, session_id: str) -> None:
    with secret("old"):
        StashSession(session_id).merge("shop", {"a": 1})
    with secret("new"):
        assert StashSession(session_id).get_view("shop") == {}


def test_a_stranger_moves_nothing(database: str, session_id: str) -> None:
    with secret("old"):
        StashSession(session_id).merge("shop", {"a": 1})
    with secret("new", "old"):
        assert StashSession(f"{session_id}x").get_view("shop") == {}
        assert StashSession(session_id).get_view("shop") == {"a": 1}


def test_what_an_old_worker_wrote_meanwhile_is_merged(database: str, session_id: str) -> None:
    """During a rolling deploy workers of both keys serve one browser."""
    with secret("old"):
        StashSession(session_id).merge("shop", {"a": 1, "b": 1})
    with secret("new", "old"):
        StashSession(session_id).merge("shop", {"b": 2})
    with secret("old", "new"):
        StashSession(session_id).merge("shop", {"c": 3})
    with secret("old"):
        StashSession(session_id).merge("other", {"a": 1})
        StashSession(session_id).merge("shop", {"d": 4})
    with secret("new", "old"):
        assert StashSession(session_id).get_view("shop") == {"a": 1, "b": 2, "c": 3, "d": 4}
        assert StashSession(session_id).get_view("other") == {"a": 1}
    assert [(view, tab) for view, tab, _revision, _data in rows(database)] == [("other", ""), ("shop", "")]


def test_two_rows_for_one_slice_are_merged_the_later_written_over(database: str, session_id: str) -> None:
    with secret("new"):
        StashSession(session_id).merge("shop", {"k": "new", "n": 1})
    with secret("old"):
        StashSession(session_id).merge("shop", {"k": "old", "o": 1})
    with secret("new", "old"):
        assert StashSession(session_id).get_view("shop") == {"k": "old", "n": 1, "o": 1}
    assert [revision for _view, _tab, revision, _data in rows(database)] == [2]


def test_what_was_acknowledged_is_joined_though_it_is_too_large_together(database: str, session_id: str) -> None:
    with secret("new"):
        StashSession(session_id).merge("shop", {"n": "x" * 40_000})
    with secret("old"):
        StashSession(session_id).merge("shop", {"o": "x" * 40_000})
        StashSession(session_id).merge("small", {"o": 1})
    with secret("new", "old"):
        stash = StashSession(session_id)
        assert stash.get_view("shop").keys() == {"n", "o"}
        assert stash.get_view("small") == {"o": 1}
    assert len(rows(database)) == 2


def test_what_was_moved_costs_one_look(database: str, session_id: str) -> None:
    with secret("new", "old"):
        StashSession(session_id).merge("shop", {"a": 1})
        stash = StashSession(session_id)
        with CaptureQueriesContext(connections[database]) as asked:
            stash.get_view("shop")
            stash.get_view("shop")
        assert len(asked) == 3, asked.captured_queries


def test_a_users_stash_needs_no_key(database: str) -> None:
    class User:
        pk = 12345

    with secret("old"):
        StashSession.for_user(User()).merge("shop", {"a": 1})  # type: ignore[arg-type]
    with secret("new"):
        assert StashSession.for_user(User()).get_view("shop") == {"a": 1}  # type: ignore[arg-type]


# Ids that derive from the session's key


DERIVED: dict[str, Callable[[Session], StashSession]] = {
    "request": lambda session: StashSession.for_request(request_of(session)),
    "scope": lambda session: StashSession.for_scope({"session": session}),
    "scope with the middleware": lambda session: StashSession.for_scope(
        {"session": session, "session_id": peek(session)}
    ),
    "the id itself": lambda session: StashSession(request_of(session).session_id),
}


@pytest.mark.parametrize("way", DERIVED)
@pytest.mark.parametrize("touch", ["get_view", "merge"])
def test_ids_that_were_never_kept(database: str, session_id: str, way: str, touch: str) -> None:
    key = f"key-of-{session_id}"
    with secret("old"):
        StashSession.for_scope({"session": Session(key)}).merge("shop", {"a": 1})
    with secret("new", "old"):
        TOUCHES[touch](DERIVED[way](Session(key)))
    with secret("new"):
        assert StashSession.for_request(request_of(Session(key))).get_view("shop") == {"a": 1}


def test_ids_that_were_kept(database: str, session_id: str) -> None:
    session = Session(f"key-of-{session_id}")
    with secret("old"):
        StashSession.for_request(request_of(session)).merge("shop", {"a": 1})
    kept = session[SESSION_KEY]
    with secret("new", "old"):
        stash = StashSession.for_request(request_of(session))
        assert stash.get_view("shop") == {"a": 1}
        stash.merge("shop", {"b": 1})
    assert session[SESSION_KEY] == kept
    with secret("new"):
        assert StashSession(kept).get_view("shop") == {"a": 1, "b": 1}


def test_a_login_before_any_touch_keeps_the_stash(database: str, session_id: str) -> None:
    """Login changes the session's key: the id goes into the session's data, and what older keys made of it is told."""
    session = Session(f"key-of-{session_id}")
    with secret("old"):
        StashSession.for_scope({"session": Session(session.session_key)}).merge("shop", {"a": 1})
    with secret("new", "old"):
        request = request_of(session)
        request.session.cycle_key()
        assert request.session.session_key.endswith("-cycled")
        assert StashSession.for_request(request).get_view("shop") == {"a": 1}


def test_a_scopes_own_id_is_not_mixed_with_its_sessions(database: str, session_id: str) -> None:
    key = f"key-of-{session_id}"
    with secret("old"):
        StashSession.for_scope({"session": Session(key)}).merge("shop", {"theirs": 1})
    with secret("new", "old"):
        own = StashSession.for_scope({"session": Session(key), "session_id": session_id})
        assert own.get_view("shop") == {}
        own.merge("shop", {"own": 1})
        assert StashSession(session_id).get_view("shop") == {"own": 1}


def test_a_store_that_fails_does_not_fail_the_id(
    session_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with secret("new", "old"), monkeypatch.context() as patch:
        patch.setattr(StashSlice._meta, "db_table", "nowhere")
        assert len(request_of(Session(f"key-of-{session_id}")).session_id) == 32
    assert "secret key" in caplog.text
