"""The running sessions as the staff's pages show them: a page of the list, and one of them with state and history.

An id names a browser session: its beginning is shown, and a veiled name leads back to the record.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from syncsessions.exceptions import NotFound, SessionNotFound
from syncsessions.frames import Frame
from syncsessions.json_values import encode, size
from syncsessions.paging import placed
from syncsessions.processes.models import ActiveProcess
from syncsessions.processes.names import MAX_PATH, NAMESPACE, path_of, split
from syncsessions.processes.process import SessionProcess
from syncsessions.processes.registry import known_class, known_classes
from syncsessions.processes.running import Steps
from syncsessions.processes.tree import short, short_json, tree
from syncsessions.stores.operations import Count, Get, List, ReadLog
from syncsessions.stores.record import Record
from syncsessions.veil import unveiled, veiled

PAGE = 50
"""Sessions on a page; each is read whole, and may be large."""
HISTORY_SHOWN = 25
ID_SHOWN = 8  # characters
TYPE_SHOWN = 80
PAYLOAD_SHOWN = 300
CLASSES_SHOWN = 50
PURPOSE = "process"


class Place(NamedTuple):
    """Where a session lies, and which of the lives under its id it is."""

    record_id: str
    life: str

    @property
    def key(self) -> str:
        """The session's name on a page, which cannot be read there."""
        return veiled(PURPOSE, f"{self.record_id} {self.life}")


def place_of(key: object) -> Place | None:
    """The place that a page's key names; None for what is none."""
    text = unveiled(PURPOSE, key) if isinstance(key, str) else None
    return None if text is None else Place(*text.rsplit(" ", 1))


class Overview(NamedTuple):
    """`page` counts from 1 and is the last one where a later one was asked for. `at` is when this was read."""

    records: list[Record]
    page: int
    pages: int
    total: int
    at: float

    def as_frame(self, path: str) -> Frame:
        """With the sessions of one class, where a path is given: those of this page, for a store lists all alike."""
        rows = [facts(record, self.at) for record in self.records]
        return {
            "type": "process.list",
            "page": self.page,
            "pages": self.pages,
            "total": self.total,
            "read": len(rows),
            "class": path,
            "classes": classes(row["class"] for row in rows),
            "processes": [row for row in rows if path in ("", row["class"])],
        }


def nothing(page: int) -> Overview:
    """What there is to show while nothing can be read."""
    return Overview([], page, 1, 0, time.time())


def look(page: int) -> Steps[Overview]:
    """Read a page, newest first."""
    total: int = yield Count(NAMESPACE)
    page, pages = placed(page, total, PAGE)
    records: list[Record] = yield List(NAMESPACE, (page - 1) * PAGE, PAGE)
    return Overview(records, page, pages, max(total, len(records)), time.time())


class Detail(NamedTuple):
    """One session; `log` is None where nothing has changed since the record's revision that was known."""

    record: Record
    log: list[Mapping[str, Any]] | None
    at: float

    def as_frame(self) -> Frame:
        frame = {"type": "process.shown", **facts(self.record, self.at), "version": self.record.revision}
        if self.log is None:
            return frame
        data = self.record.data
        return {
            **frame,
            "state": tree(data.get("state")),
            "waiting": [short(str(pending[1]), TYPE_SHOWN) for pending in _dict(data.get("pending")).values()],
            "history": [_entry(each) for each in self.log[:HISTORY_SHOWN]],
            "older": len(self.log) > HISTORY_SHOWN,
        }


def look_at(place: Place, known: int | None = None) -> Steps[Detail]:
    """Read one session; all of it, where its record's revision is not the known one. Raises `SessionNotFound`."""
    try:
        record: Record = yield Get(NAMESPACE, place.record_id)
        if record.life != place.life:
            raise SessionNotFound
        log = None
        if record.revision != known:
            log = yield ReadLog(NAMESPACE, place.record_id, HISTORY_SHOWN + 1)
    except NotFound:
        raise SessionNotFound from None
    return Detail(record, log, time.time())


def facts(record: Record, now: float) -> dict[str, Any]:
    path, session_id = path_of(record), split(record.id)[1]
    revision = record.data.get("revision")
    return {
        "key": Place(record.id, record.life).key,
        "class": path,
        "name": path.rpartition(".")[2],
        "id": short(session_id, ID_SHOWN),
        "revision": revision if type(revision) is int else 0,
        "age": round(max(0.0, now - record.created_at.timestamp()), 1),
        "left": round(max(0.0, record.expires_at.timestamp() - now), 1),
        "bytes": size(encode(record.data)),
    }


def classes(found: Any) -> list[str]:
    """The paths of the classes that a list can be narrowed to: those that there are, and those found in it."""
    known = {each.path for each in known_classes() if each is not SessionProcess}
    first = sorted(set(found))
    return sorted({*first, *sorted(known - set(first))[: max(0, CLASSES_SHOWN - len(first))]})


def model_of(place: Place) -> ActiveProcess:
    """The session as the admin's log names it."""
    path, session_id = split(place.record_id)
    process = known_class(path)
    name = (path if process is None else process.path).rpartition(".")[2]
    return ActiveProcess(life=place.life, name=short(f"{name} {short(session_id, ID_SHOWN)}", MAX_PATH))


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "revision": entry["revision"],
        "action": short(str(entry["type"]), TYPE_SHOWN),
        "payload": "" if entry["payload"] is None else short_json(entry["payload"], PAYLOAD_SHOWN),
        "at": entry["at"],
    }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
