"""Session processes on a database store inside the caller's transaction, and what a cold look found besides."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from syncsessions import processes
from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import Reducer, SessionProcess, action, cast
from syncsessions.processes import process as process_module
from syncsessions.signals import process_stopped
from tests.processes import Site, hearing

databases = pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"], indirect=True)
sync_only = pytest.mark.parametrize("form", ["sync"])
everywhere = pytest.mark.parametrize("backend", ["memory", "redis", "sqlite"], indirect=True)


class Words(Reducer):
    name = "words"
    initial_state: Any = []

    @action
    def add(self, state: list[str], word: str) -> list[str]:
        return [*state, word]


class Diary(SessionProcess):
    reducers = [Words]

    @cast
    def put(self, state: dict[str, Any], value: Any) -> dict[str, Any]:
        return {**state, "value": value}


class RolledBack(Exception):
    pass


def alias_of(site: Site) -> str:
    using: str = process_module.stores["processes"].options["using"]
    return using


@databases
@sync_only
def test_what_is_rolled_back_is_forgotten_and_what_was_acknowledged_is_not(site: Site) -> None:
    here = Diary.start("one")
    with pytest.raises(RolledBack), transaction.atomic(using=alias_of(site)):
        here.dispatch("words.add", "rolled back")
        raise RolledBack
    process_module._sessions.clear()
    Diary.get("one").dispatch("words.add", "acknowledged")
    here.dispatch("words.add", "next")
    assert here.state()["words"] == ["acknowledged", "next"]


@databases
@sync_only
def test_nobody_is_told_before_the_commit(site: Site) -> None:
    session = Diary.start("one")
    heard: list[Any] = []
    session.subscribe(lambda state: state["words"], heard.append)
    with pytest.raises(RolledBack), transaction.atomic(using=alias_of(site)):
        session.dispatch("words.add", "rolled back")
        raise RolledBack
    with transaction.atomic(using=alias_of(site)):
        session.dispatch("words.add", "kept")
        assert heard == [[]]
    assert heard == [[], ["kept"]]
    with hearing(process_stopped) as stops:
        with pytest.raises(RolledBack), transaction.atomic(using=alias_of(site)):
            session.terminate()
            raise RolledBack
        assert session.state()["words"] == ["kept"]
        assert stops == []
        session.terminate()
    assert len(stops) == 1
    with pytest.raises(SessionNotFound):
        session.state()


@everywhere
@sync_only
def test_one_that_cannot_migrate_disturbs_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Diary):
        def migrate(self, old_vsn: int, state: dict[str, Any]) -> dict[str, Any]:
            raise ValueError("cannot")

    Broken.start("broken")
    Diary.start("fine")
    process_module._sessions.clear()
    monkeypatch.setattr(Broken, "vsn", 2)
    assert "fine" in [session.id for session in processes.list_sessions()]
    assert Broken.started("broken")
    assert processes.broadcast("put", 1) >= 1
    assert Diary.get("fine").state()["value"] == 1


@everywhere
@sync_only
def test_values_that_python_calls_equal_are_told_apart(site: Site) -> None:
    session = Diary.start("one")
    heard: list[Any] = []
    session.subscribe(lambda state: state.get("value"), heard.append)
    for value in ([1], [True], [1.0], [1.0]):
        session.cast("put", value)
    assert [repr(value) for value in heard] == ["None", "[1]", "[True]", "[1.0]"]


@everywhere
@sync_only
def test_reset_goes_back_to_a_start_of_the_present_version(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Versioned(Diary):
        def init(self, args: Any) -> dict[str, Any]:
            return {"user": "guest"}

        def migrate(self, old_vsn: int, state: dict[str, Any]) -> dict[str, Any]:
            return {**state, "user": {"name": state["user"]}}

    snapshot = Versioned.start("one").snapshot()
    monkeypatch.setattr(Versioned, "vsn", 2)
    session = Versioned.restore("two", snapshot)
    session.cast("put", 1)
    again = Versioned.restore("three", session.snapshot())
    for each in (session, again):
        each.reset()
        assert each.state() == {"user": {"name": "guest"}, "words": []}


class Mail(Reducer):
    name = "mail"

    @action(effect=True)
    async def send(self, ctx: Any, payload: Any) -> None:
        sent.append(payload)

    @action
    def keep(self, state: Any, payload: Any) -> Any:
        return state


sent: list[Any] = []


def dropping(session_id: str, action: Any, state: Any, next: Any) -> Any:  # noqa: A002
    after = next(action)
    return state if action.payload == "drop" else after


class Post(SessionProcess):
    reducers = [Mail]
    middleware = [dropping]


@everywhere
@sync_only
def test_a_middleware_that_returns_the_state_drops_what_changes_nothing(site: Site) -> None:
    session = Post.start("one")
    assert session.dispatch("mail.keep", "drop") == 0
    assert session.dispatch("mail.send", "drop") == 0
    assert session.dispatch("mail.keep", "kept") == 1
    session.run("mail.send", "sent").result(10)
    assert (sent.pop(), sent, session.revision()) == ("sent", [], 2)
