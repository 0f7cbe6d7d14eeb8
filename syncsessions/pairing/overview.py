"""The live sync sessions as a page for the staff shows them: some rows, and how many there are of each status."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, NamedTuple

from syncsessions import codes
from syncsessions.frames import Frame
from syncsessions.json_values import JSON
from syncsessions.paging import placed
from syncsessions.pairing.session import NEXT, SyncSession, of_record
from syncsessions.pairing.steps import SESSIONS
from syncsessions.stores import operations
from syncsessions.stores.steps import Steps

PAGE = 100
"""Sessions on a page."""
COUNTED = 5 * PAGE
"""Of how many sessions, the newest, the statuses are counted."""
INFO_SHOWN = 2000  # characters
CHANNEL_SHOWN = 8  # characters of a channel's name: its random end


class Overview(NamedTuple):
    """`page` counts from 1 and is the last one where a later one was asked for. `at` is when this was read."""

    sessions: list[SyncSession]
    page: int
    pages: int
    total: int
    counts: dict[str, int]
    at: float

    def as_frame(self, *, with_codes: bool) -> Frame:
        return {
            "type": "sync.list",
            "page": self.page,
            "pages": self.pages,
            "total": self.total,
            "counts": self.counts,
            "counted": min(self.total, COUNTED),
            "sessions": [_row(session, self.at, with_codes) for session in self.sessions],
        }


def nothing(page: int) -> Overview:
    """What there is to show while nothing can be read."""
    return Overview([], page, 1, 0, dict.fromkeys(NEXT, 0), time.time())


def look(page: int) -> Steps[Overview]:
    """Read a page, newest first."""
    records = yield operations.list_(SESSIONS, 0, COUNTED)
    newest = [of_record(record) for record in records]
    total = len(newest)
    if total == COUNTED:
        total = max(total, (yield operations.count(SESSIONS)))
    page, pages = placed(page, total, PAGE)
    first = (page - 1) * PAGE
    if first < COUNTED:
        shown = newest[first : first + PAGE]
    else:
        records = yield operations.list_(SESSIONS, first, PAGE)
        shown = [of_record(record) for record in records]
    found = Counter(session.status for session in newest)
    counts = {status: found[status] for status in NEXT}
    return Overview(shown, page, pages, total, counts, time.time())


def shown_code(session: SyncSession, *, with_code: bool) -> str:
    return codes.grouped(session.code) if with_code else codes.masked(session.code)


def _row(session: SyncSession, now: float, with_code: bool) -> dict[str, Any]:
    return {
        "life": session.life,
        "code": shown_code(session, with_code=with_code),
        "direction": session.direction,
        "status": session.status,
        "owner": _short(session.owner),
        "peer": None if session.peer is None else _short(session.peer),
        "age": round(max(0.0, now - session.created_at.timestamp()), 1),
        "left": round(max(0.0, session.expires_at.timestamp() - now), 1),
        "sender_info": _text(session.sender_info),
        "receiver_info": _text(session.receiver_info),
    }


def _short(channel: str) -> str:
    return channel if len(channel) <= CHANNEL_SHOWN else f"…{channel[-CHANNEL_SHOWN:]}"


def _text(info: JSON) -> str | None:
    if info is None:
        return None
    text = json.dumps(info, indent=2, ensure_ascii=False)
    return text if len(text) <= INFO_SHOWN else f"{text[:INFO_SHOWN]}…"
