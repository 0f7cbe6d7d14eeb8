"""The session processes that are measured."""

from __future__ import annotations

from typing import Any

from syncsessions.processes import Reducer, Reply, SessionProcess, action, call, cast


class Count(Reducer):
    name = "count"
    initial_state = {"n": 0}

    @action
    def add(self, state: Any, n: int) -> Any:
        return {"n": state["n"] + n}


class Other(Reducer):
    name = "other"
    initial_state = {"n": 0}

    @action
    def add(self, state: Any, n: int) -> Any:
        return {"n": state["n"] + n}


class Pages(Reducer):
    name = "pages"
    initial_state = {"n": 0, "pages": []}

    @action
    def fill(self, state: Any, kilobytes: int) -> Any:
        return {"n": 0, "pages": [{"number": number, "text": "x" * 999} for number in range(kilobytes)]}

    @action
    def add(self, state: Any, n: int) -> Any:
        return {**state, "n": state["n"] + n}


class Counter(SessionProcess):
    reducers = [Count]

    @call
    def count(self, state: Any) -> Any:
        return state["count"]["n"]

    @call
    def add(self, state: Any, n: int) -> Any:
        total = state["count"]["n"] + n
        return Reply(total, {**state, "count": {"n": total}})

    @cast
    def put(self, state: Any, n: int) -> Any:
        return {**state, "count": {"n": n}}


class Ten(SessionProcess):
    reducers = {"count": Count} | {
        f"other{number}": type(f"Other{number}", (Other,), {"name": f"other{number}"}) for number in range(9)
    }


class Two(SessionProcess):
    reducers = [Count, Other]


class Book(SessionProcess):
    reducers = [Pages]


class Brief(SessionProcess):
    reducers = [Count]
    ttl = 0.5
