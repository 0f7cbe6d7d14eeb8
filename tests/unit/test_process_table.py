"""What a process class handles, by name; what cannot be declared."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from syncsessions.exceptions import InvalidValue
from syncsessions.processes import Reducer, SessionProcess, action, call, cast
from syncsessions.processes.table import Table

State = dict[str, Any]


class One(Reducer):
    name = "one"

    @action
    def go(self, state: State, payload: Any) -> State:
        return state

    @action(throttle=1)
    def slow(self, state: State, payload: Any) -> State:
        return state

    def helper(self, state: State, payload: Any) -> State:
        return state


class Two(One):
    name = "two"
    prefix = "second"


class Every(One):
    name = "every"
    prefix = ""


class Without(One):
    name = "without"

    def go(self, state: State, payload: Any) -> State:  # an override without a mark
        return state


class Empty(SessionProcess):
    pass


def slices(table: Table, type_: str) -> list[str] | None:
    plan = table.plan(type_)
    return None if plan is None else [handler.slice for handler in plan]


def test_plans() -> None:
    table = Table(Empty, [Every, One, Two])
    assert slices(table, "one.go") == ["every", "one"]
    assert slices(table, "second.go") == ["every", "two"]
    assert slices(table, "go") == ["every", "one", "two"]
    assert slices(table, "anything.go") == ["every"]
    assert slices(table, "any.thing.go") == ["every"]
    for unknown in ("one.helper", "two.", "nothing", "one.nothing", "", ".", "one", "__init__", "one.name"):
        assert slices(table, unknown) is None


def test_plans_without_one_that_sees_all() -> None:
    table = Table(Empty, {"first": One, "two": Two})
    assert slices(table, "first.go") == ["first"]
    assert slices(table, "go") == ["first", "two"]
    for unknown in ("one.go", "two.go", "anything.go", "first.first.go"):
        assert slices(table, unknown) is None


def test_times_are_kept_by_slice_and_action_however_it_is_called() -> None:
    table = Table(Empty, [One, Two])
    for type_ in ("second.slow", "slow"):
        assert "two.slow" in [handler.key for handler in table.plan(type_) or ()]
    assert set(table.simple) == {"go", "one.go", "second.go"}


def test_an_override_without_a_mark_is_no_message() -> None:
    table = Table(Empty, [Without])
    assert slices(table, "without.go") is None
    assert slices(table, "without.slow") == ["without"]


def test_the_prefix_empty_and_two_of_one_prefix() -> None:
    class Third(One):
        name = "third"
        prefix = "one"

    table = Table(Empty, [One, Third])
    assert slices(table, "one.go") == ["one", "third"]


def test_calls_and_casts() -> None:
    class Base(SessionProcess):
        @call
        def ask(self, state: State) -> None: ...

        @cast(blocking=True)
        def tell(self, state: State) -> State:
            return state

        @call
        def hidden(self, state: State) -> None: ...

    class Derived(Base):
        def hidden(self, state: State) -> None: ...

        def secret(self) -> None: ...

    assert (set(Derived.table.calls), set(Derived.table.casts)) == ({"ask"}, {"tell"})
    assert (Derived.table.calls["ask"].blocking, Derived.table.casts["tell"].blocking) == (False, True)
    assert (set(Base.table.calls), set(Empty.table.casts)) == ({"ask", "hidden"}, set())


@pytest.mark.parametrize("reducers", [[One, One], [object], ["one"], {"": One}, [Reducer], [None]])
def test_what_are_no_reducers(reducers: Any) -> None:
    with pytest.raises(ImproperlyConfigured):
        Table(Empty, reducers)


def test_an_initial_state_is_json() -> None:
    with pytest.raises(InvalidValue):
        Table(Empty, [type("Bad", (Reducer,), {"name": "bad", "initial_state": {1}})])


@pytest.mark.parametrize("name", ["start", "get", "init", "on_stop", "migrate", "restore"])
def test_a_message_takes_no_operations_name(name: str) -> None:
    def handler(self: Any, state: State) -> State:
        return state

    handler.__name__ = name
    with pytest.raises(ImproperlyConfigured):
        type("Bad", (SessionProcess,), {name: cast(handler)})


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_times_are_positive(seconds: float) -> None:
    with pytest.raises(TypeError):
        action(throttle=seconds)
    with pytest.raises(TypeError):
        action(debounce=seconds)


def test_what_can_be_marked() -> None:
    async def later(self: Any, ctx: Any, payload: Any) -> None: ...

    def now(self: Any, state: State, payload: Any) -> State:
        return state

    for marking in (action, call, cast, action(throttle=1), call(blocking=True), cast(blocking=True)):
        with pytest.raises(TypeError):
            marking(later)
    with pytest.raises(TypeError):
        action(effect=True)(now)
    with pytest.raises(TypeError):
        action(throttle=1, debounce=1)
