"""A process that counts: what many workers send to one session of it can be told from its state."""

from __future__ import annotations

from typing import Any

from syncsessions.processes import Reducer, SessionProcess, action

DEBOUNCE = 0.4  # seconds


class Numbers(Reducer):
    name = "numbers"
    initial_state = {"sum": 0, "kept": []}

    @action
    def add(self, state: Any, number: int) -> Any:
        return {**state, "sum": state["sum"] + number}

    @action
    def keep(self, state: Any, number: int) -> Any:
        return {**state, "kept": [*state["kept"], number]}

    @action(debounce=DEBOUNCE)
    def keep_later(self, state: Any, number: int) -> Any:
        return {**state, "kept": [*state["kept"], number]}


class Tally(SessionProcess):
    reducers = [Numbers]
    ttl = 600.0


class Brief(SessionProcess):
    """One that soon expires."""

    reducers = [Numbers]
    ttl = 0.5
