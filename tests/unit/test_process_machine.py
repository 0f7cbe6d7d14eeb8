"""What messages make of a session's document: no store, no clock but the one that is given."""

from __future__ import annotations

import random
from typing import Any

import pytest

from syncsessions.exceptions import CallFailed, CastFailed, InvalidValue, UnknownAction
from syncsessions.processes import Reducer, Reply, SessionProcess, action, call, cast
from syncsessions.processes.document import Document, data_of, of_data, of_snapshot, opened, snapshot_of
from syncsessions.processes.frozen import frozen_dict
from syncsessions.processes.history import changes, checked_count, same
from syncsessions.processes.machine import DROP_ALL, Change, Machine, next_due

State = dict[str, Any]


class Count(Reducer):
    name = "count"
    initial_state = {"n": 0}

    @action
    def add(self, state: State, payload: Any) -> State:
        return {"n": state["n"] + payload}

    @action
    def drop(self, state: State, payload: Any) -> State:
        return {}

    @action(throttle=10)
    def press(self, state: State, payload: Any) -> State:
        return {"n": payload}

    @action(debounce=5)
    def search(self, state: State, payload: Any) -> State:
        return {"n": payload}

    @action(debounce=1)
    def fail(self, state: State, payload: Any) -> State:
        raise RuntimeError("no")

    @action(effect=True)
    async def load(self, ctx: Any, payload: Any) -> None: ...


class Counter(SessionProcess):
    reducers = [Count]
    history = 100

    @call
    def read(self, state: State) -> Any:
        return state["count"]["n"]

    @call
    def take(self, state: State, user: Any) -> Reply:
        return Reply("taken", {**state, "user": user})

    @cast
    def put(self, state: State, key: str, value: Any) -> State:
        return {**state, key: value}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def machine() -> Machine:
    return Machine(Counter, "a")


def start() -> Document:
    return opened(Counter.table, 1, frozen_dict({"user": None}, "init"))


def put(machine: Machine, document: Document, key: str, value: Any) -> Document:
    return machine.cast(document, "put", machine.table.casts["put"], [key, value]).document


def test_a_dispatch(machine: Machine, clock: Clock) -> None:
    before = start()
    change = machine.dispatch(before, "count.add", 2, clock)
    assert change.document[:2] == ({"user": None, "count": {"n": 2}}, 1)
    assert change.entry == {
        "revision": 1,
        "type": "count.add",
        "payload": 2,
        "at": 100.0,
        "undo": {"count": {"n": 0}},
        "added": [],
    }
    assert before[:2] == ({"user": None, "count": {"n": 0}}, 0)
    with pytest.raises(UnknownAction):
        machine.dispatch(before, "count.nothing", 2, clock)
    with pytest.raises(CastFailed):
        machine.dispatch(before, "count.add", "text", clock)


def test_a_throttle(machine: Machine, clock: Clock) -> None:
    first = machine.dispatch(start(), "count.press", 1, clock)
    assert (first.applied, first.document[1], first.document[2].throttled) == (True, 1, {"count.press": 110.0})
    clock.now = 109.9
    for type_ in ("count.press", "press"):
        dropped = machine.dispatch(first.document, type_, 2, clock)
        assert (dropped.document, dropped.applied) == (first.document, False)
    clock.now = 110.0
    second = machine.dispatch(first.document, "press", 3, clock)
    assert (second.document[0]["count"], second.document[2].throttled) == ({"n": 3}, {"count.press": 120.0})


def test_a_debounce(machine: Machine, clock: Clock) -> None:
    noted = machine.dispatch(start(), "count.search", 1, clock)
    assert (noted.applied, noted.due, noted.document[1]) == (False, 105.0, 0)
    clock.now = 104.0
    noted = machine.dispatch(noted.document, "search", 2, clock)
    assert next_due(noted.document) == ("count.search", 109.0)
    again = of_data(data_of(noted.document))
    assert again == noted.document
    applied = machine.apply_due(again, "count.search", 109.0)
    assert (applied.document[0]["count"], applied.document[1], applied.document[2].pending) == ({"n": 2}, 1, {})
    assert applied.entry is not None
    assert applied.entry["at"] == 109.0
    assert next_due(applied.document) is None


def test_a_debounced_action_that_raises_goes(machine: Machine, clock: Clock) -> None:
    noted = machine.dispatch(start(), "count.fail", 1, clock)
    failed = machine.apply_due(noted.document, "count.fail", 101.0)
    assert isinstance(failed.reply, CastFailed)
    assert (failed.applied, failed.document[1], failed.document[2].pending) == (False, 0, {})


def test_a_debounced_action_that_a_deploy_has_dropped_goes(machine: Machine, clock: Clock) -> None:
    state, revision, rest = machine.dispatch(start(), "count.search", 1, clock).document
    pending = rest.pending["count.search"]
    gone = machine.apply_due((state, revision, rest._replace(pending={"old.gone": pending})), "old.gone", 1.0)
    assert (gone.applied, gone.document[2].pending) == (False, {})


def test_an_effect(machine: Machine, clock: Clock) -> None:
    change = machine.dispatch(start(), "count.load", "page", clock)
    assert (change.document[1], [(each.handler.key, each.payload) for each in change.effects]) == (
        1,
        [("count.load", "page")],
    )
    with pytest.raises(InvalidValue):
        machine.effects_of("count.add")
    with pytest.raises(UnknownAction):
        machine.effects_of("nothing")


def test_calls_and_casts(machine: Machine) -> None:
    document = start()
    read = machine.call(document, "read", machine.table.calls["read"], [])
    assert (read.reply, read.document, read.applied) == (0, document, False)
    take = machine.call(document, "take", machine.table.calls["take"], ["ann"])
    assert (take.reply, take.document[0]["user"], take.document[1]) == ("taken", "ann", 1)
    with pytest.raises(CallFailed):
        machine.call(document, "take", machine.table.calls["take"], [])
    with pytest.raises(CastFailed):
        machine.cast(document, "put", machine.table.casts["put"], [])
    with pytest.raises(InvalidValue):
        put(machine, document, "user", {1})


def test_undoing_gives_what_was_there_whatever_is_cast_to_other_keys(machine: Machine, clock: Clock) -> None:
    draw = random.Random(7)
    for _round in range(50):
        document, slices = start(), [start()[0]["count"]]
        log: list[Any] = []
        others: State = {}
        for number in range(draw.randrange(1, 12)):
            if draw.random() < 0.3:
                key = draw.choice(["user", "x", "y"])
                document, others[key] = put(machine, document, key, number), number
            change: Change = machine.dispatch(document, draw.choice(["count.add", "count.press"]), number, clock)
            document = change.document
            clock.now += 20
            log.insert(0, change.entry)
            slices.append(document[0]["count"])
        steps = draw.randrange(1, len(log) + 1)
        undone = machine.undo(document, log[:steps])
        assert undone.document[0] == {"user": None, **others, "count": slices[-1 - steps]}
        assert (undone.document[1], undone.drop) == (document[1] + 1, steps)


def test_reset(machine: Machine, clock: Clock) -> None:
    document = put(machine, start(), "x", 1)
    for type_ in ("count.press", "count.search", "count.drop"):
        document = machine.dispatch(document, type_, 1, clock).document
    reset = machine.reset(document)
    assert (reset.document[0], reset.document[1]) == (start()[0], document[1] + 1)
    assert (reset.document[2], reset.drop) == (start()[2], DROP_ALL)


def test_snapshots(machine: Machine, clock: Clock) -> None:
    document = machine.dispatch(start(), "count.add", 1, clock).document
    state, rest = of_snapshot(snapshot_of("tests.Counter", document))
    assert (rest.vsn, state, rest.start) == (1, document[0], {"user": None})
    good = dict(snapshot_of("tests.Counter", document))
    for name in good:
        with pytest.raises(InvalidValue):
            of_snapshot({key: value for key, value in good.items() if key != name})


def test_init_cannot_set_a_slice() -> None:
    with pytest.raises(InvalidValue) as caught:
        opened(Counter.table, 1, frozen_dict({"count": 1}, "init"))
    assert caught.value.details["key"] == "count"


def test_changes_and_sameness() -> None:
    one, other = (frozen_dict(each, "s") for each in ({"a": 1, "b": [1], "c": 1}, {"a": 1, "b": [1.0], "d": 1}))
    assert sorted(changes(one, other)) == ["b", "c", "d"]
    assert changes(one, one) == []
    assert same({"a": [1]}, {"a": [1]})
    for left, right in ((1, 1.0), (1, True), ([0], [False]), ({"a": 1}, {"a": True}), (None, 0), ([1], [1, 2])):
        assert not same(left, right)


@pytest.mark.parametrize("number", [0, -1, 4, 1.0, "1", None, True])
def test_counts(number: Any) -> None:
    assert checked_count(3, 3) == 3
    with pytest.raises(InvalidValue):
        checked_count(number, 3)
