"""Memoised selectors, and which of a state's keys a selector reads."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import weakref
from typing import Any

import pytest

from syncsessions.processes import create_selector
from syncsessions.processes.frozen import frozen_dict
from syncsessions.processes.selectors import ALL, Tracked

State = dict[str, Any]


def counted() -> tuple[list[Any], Any]:
    computed: list[Any] = []

    def compute(*values: Any) -> list[Any]:
        computed.append(values)
        return list(values)

    return computed, compute


def test_it_computes_again_only_where_an_input_changed() -> None:
    computed, compute = counted()
    select = create_selector([lambda state: state["a"], lambda state: state["b"]], compute)
    first = select({"a": 1, "b": [2], "c": 3})
    assert first == [1, [2]]
    assert select({"a": 1, "b": [2], "c": 4}) is first
    assert len(computed) == 1
    assert select({"a": 1, "b": [3]}) == [1, [3]]
    assert select({"a": 1, "b": [2]}) == [1, [2]]  # it remembers the last inputs, no more
    assert len(computed) == 3


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), ("", None), ([], {})])
def test_other_types_are_other_inputs(one: Any, other: Any) -> None:
    computed, compute = counted()
    select = create_selector([lambda state: state["a"]], compute)
    select({"a": one})
    select({"a": other})
    assert [type(values[0]) for values in computed] == [type(one), type(other)]


def test_they_nest() -> None:
    inner_computed, inner = counted()
    outer_computed, outer = counted()
    items = create_selector([lambda state: state["items"]], inner)
    both = create_selector([items, lambda state: state["theme"]], outer)
    assert both({"items": [1], "theme": "light"}) == [[[1]], "light"]
    assert both({"items": [1], "theme": "dark"}) == [[[1]], "dark"]
    assert (len(inner_computed), len(outer_computed)) == (1, 2)


def test_it_remembers_one_result_whatever_it_is_used_on() -> None:
    class Value:
        pass

    seen: list[weakref.ref[Value]] = []

    def compute(number: int) -> Value:
        value = Value()
        seen.append(weakref.ref(value))
        return value

    select = create_selector([lambda state: state["n"]], compute)
    for number in range(100):
        select({"n": number})
    gc.collect()
    assert len([each for each in seen if each() is not None]) == 1


def test_what_raises_is_not_remembered() -> None:
    answers: list[Any] = [RuntimeError("once"), "fine"]

    def compute(value: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    select = create_selector([lambda state: state["a"]], compute)
    with pytest.raises(RuntimeError):
        select({"a": 1})
    assert select({"a": 1}) == "fine"
    with pytest.raises(KeyError):
        select({})
    assert select({"a": 1}) == "fine"


@pytest.mark.parametrize(("inputs", "compute"), [([], len), ([1], len), ([len], None)])
def test_what_makes_no_selector(inputs: Any, compute: Any) -> None:
    with pytest.raises(TypeError):
        create_selector(inputs, compute)


READERS: list[tuple[Any, Any]] = [
    (lambda state: state["a"], {"a"}),
    (lambda state: state.get("a"), {"a"}),
    (lambda state: state.get("nowhere", 1), {"nowhere"}),
    (lambda state: "b" in state, {"b"}),
    (lambda state: state["a"]["deep"], {"a"}),
    (lambda state: state["a"] if state["b"] else state["c"], {"a", "b"}),
    (lambda state: None, set()),
    (lambda state: list(state), ALL),
    (lambda state: len(state), ALL),
    (lambda state: dict(state.items()), ALL),
    (lambda state: list(state.values()), ALL),
    (lambda state: list(state.keys()), ALL),
    (lambda state: {**state}, ALL),
    (lambda state: state == {}, ALL),
    (lambda state: dict(state), ALL),
    (lambda state: state | {}, ALL),
    (lambda state: state.copy(), ALL),
    (lambda state: repr(state), ALL),
    (lambda state: state != {}, ALL),
    (lambda state: list(reversed(state)), ALL),
    (lambda state: bool(state), ALL),
    (lambda state: json.dumps(state), ALL),
    (lambda state: json.dumps(state, indent=1), ALL),
    (lambda state: pickle.loads(pickle.dumps(state)), ALL),
    (lambda state: copy.deepcopy(state), ALL),
    (lambda state: "{a}".format_map(state), {"a"}),
]


@pytest.mark.parametrize(("select", "keys"), READERS)
@pytest.mark.parametrize("known", [(), ("c",), ("a", "b", "c")])
def test_the_keys_that_are_read(select: Any, keys: Any, known: tuple[str, ...]) -> None:
    state = frozen_dict({"a": {"deep": 1}, "b": [2], "c": 3}, "state")
    tracked = Tracked(state, known)
    assert select(tracked) == select(state)
    assert tracked.more == (ALL if keys is ALL else keys - set(known))


def test_a_tracked_state_is_read_only() -> None:
    state = Tracked(frozen_dict({"a": [1]}, "state"))
    with pytest.raises(TypeError):
        state["a"] = 1
    with pytest.raises(TypeError):
        state["a"].append(1)
    with pytest.raises(KeyError):
        state["nowhere"]
