"""What a session is at one revision, and how it lies in a store's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON
from syncsessions.processes.frozen import FrozenDict, frozen_dict, merged
from syncsessions.processes.names import PATH
from syncsessions.processes.table import Table


class Pending(NamedTuple):
    """A debounced action that waits for its time, which is the store's."""

    due: float
    type: str
    payload: JSON


class Rest(NamedTuple):
    """What seldom changes from message to message."""

    vsn: int
    start: FrozenDict
    """What `init` returned."""
    throttled: Mapping[str, float] = {}
    """By handler's key, until when (the store's time) it is dropped."""
    pending: Mapping[str, Pending] = {}
    """By handler's key, what its debounce holds back."""
    start_vsn: int | None = None
    """The version of `start`, where that is another."""
    path: str | None = None
    """The class's, where the record's id has no room for it."""

    def of_version(self, vsn: int) -> Rest:
        """For a state that was taken over by this version; the start is, when somebody goes back to it."""
        return self._replace(vsn=vsn, start_vsn=self.vsn if self.start_vsn is None else self.start_vsn)


Document = tuple[FrozenDict, int, Rest]
"""State, revision, the rest. A plain tuple: one is made for every message."""


def opened(table: Table, vsn: int, start: FrozenDict) -> Document:
    """A session at its start."""
    return started(table, start), 0, Rest(vsn, start)


def started(table: Table, start: FrozenDict) -> FrozenDict:
    """The state that a session of this `init` starts with."""
    for name in start:
        if name in table.slices:
            raise InvalidValue(_("“%(key)s” is a reducer's slice: `init` cannot set it.") % {"key": name}, key=name)
    return merged(start, table.slices)


def completed(table: Table, state: FrozenDict) -> FrozenDict:
    """The state with every reducer's slice: a deploy may have added one."""
    new = {name: initial for name, initial in table.slices.items() if name not in state}
    return merged(state, new) if new else state


def data_of(document: Document) -> dict[str, JSON]:
    """The document as a record's data. The values are its own, not copies."""
    state, revision, rest = document
    data: dict[str, JSON] = {"state": state, "revision": revision, "vsn": rest.vsn, "start": rest.start}
    if rest.start_vsn is not None:
        data["start_vsn"] = rest.start_vsn
    if rest.throttled:
        data["throttled"] = dict(rest.throttled)
    if rest.pending:
        data["pending"] = {key: list(pending) for key, pending in rest.pending.items()}
    if rest.path is not None:
        data[PATH] = rest.path
    return data


def of_data(data: Mapping[str, Any]) -> Document:
    """The document of a record's data."""
    rest = Rest(
        data["vsn"],
        frozen_dict(data["start"], "start"),
        data.get("throttled", {}),
        {key: Pending(*pending) for key, pending in data.get("pending", {}).items()},
        data.get("start_vsn"),
        data.get(PATH),
    )
    return frozen_dict(data["state"], "state"), data["revision"], rest


def snapshot_of(path: str, document: Document) -> FrozenDict:
    """What `restore` takes."""
    state, _revision, rest = document
    found = {"process": path, "vsn": rest.vsn, "state": state, "start": rest.start}
    if rest.start_vsn is not None:
        found["start_vsn"] = rest.start_vsn
    return frozen_dict(found, "snapshot")


def of_snapshot(snapshot: object) -> tuple[FrozenDict, Rest]:
    """State and rest. Raises `InvalidValue` for what is no snapshot."""
    problem = InvalidValue(_("This is no snapshot of a session."), key="snapshot")
    if not isinstance(snapshot, Mapping):
        raise problem
    vsn, state, start = snapshot.get("vsn"), snapshot.get("state"), snapshot.get("start")
    if type(vsn) is not int or not isinstance(state, dict) or not isinstance(start, dict):
        raise problem
    start_vsn = snapshot.get("start_vsn")
    if not isinstance(snapshot.get("process"), str) or not (start_vsn is None or type(start_vsn) is int):
        raise problem
    return frozen_dict(state, "state"), Rest(vsn, frozen_dict(start, "start"), start_vsn=start_vsn)
