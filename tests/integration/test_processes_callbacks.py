"""Callbacks that use sessions, from several threads at once: nobody waits for ever, and all is told in order."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from syncsessions import processes
from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import Session, registry, steps, subscriptions
from syncsessions.signals import subscription_added, subscription_removed
from tests.processes import Shop, hearing, nothing_goes_on

PATIENCE = 20.0  # seconds that a test waits for what must come
pytestmark = pytest.mark.parametrize("backend", ["memory", "redis"], indirect=True)


@pytest.fixture(autouse=True)
def _site(params: dict[str, Any], settings: Any) -> Iterator[None]:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "STORES": {"default": params}}
    with nothing_goes_on():
        yield
        processes.terminate_sessions(session.id for session in processes.list_sessions())


def user(state: Any) -> Any:
    return state["user"]


def side_by_side(*works: Callable[[], Any]) -> None:
    """Each in a thread of its own, which does not hold up the end of the tests where it hangs."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[work], daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "they wait for each other"
    assert errors == []


MEDDLING: dict[str, Callable[[Session, list[Any], Any], object]] = {
    "dispatch": lambda other, values, mine: other.dispatch("cart.put", "crossed"),
    "cast": lambda other, values, mine: other.cast("set_user", "crossed"),
    "async": lambda other, values, mine: async_to_sync(other.acast)("set_user", "crossed"),
    "subscribe": lambda other, values, mine: other.subscribe(user, values.append),
    "cancel": lambda other, values, mine: mine.cancel(),
    "terminate": lambda other, values, mine: other.terminate(),
}


@pytest.mark.parametrize("way", MEDDLING)
def test_callbacks_that_use_each_others_session(backend: str, way: str) -> None:
    one, two = Shop.start("one"), Shop.start("two")
    both_are_in = threading.Barrier(2)
    values: dict[str, list[Any]] = {"one": [], "two": []}
    extra: dict[str, Any] = {each.id: each.subscribe(None, lambda state: None) for each in (one, two)}

    def meddle(mine: Session, other: Session) -> Callable[[Any], None]:
        def callback(value: Any) -> None:
            values[mine.id].append(value)
            if value == "first":
                both_are_in.wait(PATIENCE)
                MEDDLING[way](other, values[other.id], extra[other.id])

        return callback

    one.subscribe(user, meddle(one, two))
    two.subscribe(user, meddle(two, one))
    side_by_side(lambda: one.cast("set_user", "first"), lambda: two.cast("set_user", "first"))
    if way == "terminate":
        assert not Shop.started("one")
        assert not Shop.started("two")
        assert not any(session.key in registry.local for session in (one, two))
        return
    side_by_side(lambda: one.cast("set_user", "last"), lambda: two.cast("set_user", "last"))
    for session in (one, two):
        heard = values[session.id]
        if way in ("cast", "async"):
            assert heard == [None, "first", "crossed", "last"]
        elif way == "subscribe":
            assert sorted(heard, key=str) == [None, "first", "first", "last", "last"]
        else:
            assert heard == [None, "first", "last"]
        assert session.revision() == (3 if way in ("dispatch", "cast", "async") else 2)
        assert extra[session.id].active is (way != "cancel")


def test_a_ring_of_sessions_among_rivals(backend: str) -> None:
    """Each message of one session is passed on to the next, by several threads: all of them are told, in order."""
    sessions = [Shop.start(f"s-{number}") for number in range(4)]
    values: list[list[Any]] = [[] for _ in sessions]
    times = 40

    def passing(number: int) -> Callable[[Any], None]:
        def callback(total: Any) -> None:
            values[number].append(total)
            if number + 1 < len(sessions) and total:
                sessions[number + 1].dispatch("cart.add_item", {"price": 1})

        return callback

    for number, session in enumerate(sessions):
        session.subscribe(lambda state: state["cart"]["total"], passing(number))

    def work(number: int) -> Callable[[], None]:
        return lambda: [sessions[number].dispatch("cart.add_item", {"price": 1}) for _ in range(times)]  # type: ignore[return-value]

    side_by_side(*(work(number) for number in range(len(sessions))))
    for number, session in enumerate(sessions):
        total = session.state()["cart"]["total"]
        assert total >= times
        assert values[number] == sorted(values[number])
        assert values[number][-1] == total


def test_a_message_is_told_before_it_returns_though_another_thread_tells(backend: str) -> None:
    session = Shop.start("one")
    values: list[Any] = []
    is_in, go = threading.Event(), threading.Event()

    def slow(value: Any) -> None:
        if value == "first":
            is_in.set()
            go.wait(PATIENCE)
        values.append(value)

    session.subscribe(user, slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(session.cast, "set_user", "first")
        assert is_in.wait(PATIENCE)
        second = pool.submit(session.cast, "set_user", "second")
        while session.revision() < 2:  # it was applied
            pass
        assert not second.done()
        assert values == [None]
        go.set()
        second.result(PATIENCE)
        assert values == [None, "first", "second"]
        first.result(PATIENCE)


def test_a_callback_that_waits_for_another_thread(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "PATIENCE", 0.2)
    session = Shop.start("one")
    values: list[Any] = []

    def callback(value: Any) -> None:
        values.append(value)
        if value == "first":
            side_by_side(lambda: session.cast("set_user", "second"))

    session.subscribe(user, callback)
    side_by_side(lambda: session.cast("set_user", "first"))
    assert values == [None, "first", "second"]


# The moments between the steps of subscribing


def test_a_session_that_ends_while_somebody_subscribes(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Shop.start("one")
    values: list[Any] = []
    current = type(session)._current

    def then_it_ends(self: Any) -> Any:
        known = yield from current(self)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(session.terminate).result(PATIENCE)
        return known

    monkeypatch.setattr(type(session), "_current", then_it_ends)
    with hearing(subscription_added, subscription_removed) as heard, pytest.raises(SessionNotFound):
        session.subscribe(user, values.append)
    assert [each["signal"] for each in heard] in ([], [subscription_added, subscription_removed])
    assert session.key not in registry.local
    assert not session._subscriptions.all  # type: ignore[union-attr]


def test_two_who_subscribe_first(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Shop.start("one")
    both_are_in = threading.Barrier(2)
    make = steps.Subscriptions

    def slowly(*args: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_are_in.wait(0.3)
        return make(*args)

    monkeypatch.setattr(steps, "Subscriptions", slowly)
    values: list[list[Any]] = [[], []]
    side_by_side(*(lambda each=each: session.subscribe(user, each.append) for each in values))  # type: ignore[misc]
    session.cast("set_user", "ann")
    assert values == [[None, "ann"], [None, "ann"]]


def test_the_last_one_leaves_while_another_one_comes(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Shop.start("one")
    first = session.subscribe(user, lambda value: None)
    current = type(session)._current
    others: list[Any] = [first]

    def then_the_other_leaves(self: Any) -> Any:
        while others:
            others.pop().cancel()
        return (yield from current(self))

    monkeypatch.setattr(type(session), "_current", then_the_other_leaves)
    second = session.subscribe(user, lambda value: None)
    assert registry.local[session.key] is session
    monkeypatch.undo()
    session.terminate()
    assert not second.active
