"""`DefaultProcess`: enough for a small site without a class of its own."""

from __future__ import annotations

from typing import Any

from syncsessions.json_values import JSON
from syncsessions.processes.declarations import call, cast
from syncsessions.processes.process import SessionProcess


class DefaultProcess(SessionProcess):
    """Values by key."""

    @call
    def ping(self, state: dict[str, JSON]) -> str:
        return "pong"

    @call
    def value(self, state: dict[str, JSON], key: str | None = None) -> JSON:
        """The value of a key, None where it is unset; without a key, all of them."""
        return state if key is None else state.get(key)

    @cast
    def put(self, state: dict[str, JSON], key: str, value: JSON) -> dict[str, Any]:
        return {**state, key: value}

    @cast
    def delete(self, state: dict[str, JSON], key: str) -> dict[str, Any]:
        return {name: value for name, value in state.items() if name != key}
