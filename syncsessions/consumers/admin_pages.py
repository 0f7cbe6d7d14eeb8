"""What the socket of the admin shows: the page of sync sessions, that of processes, one process, or connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from channels.db import database_sync_to_async

from syncsessions.consumers.admin_page import AdminPage
from syncsessions.consumers.connections_page import ConnectionsPage
from syncsessions.exceptions import AccessRefused, FrameError, NotFound
from syncsessions.frames import Frame, ref_of
from syncsessions.paging import page_number
from syncsessions.pairing import announce, overview, staff, sync_sessions
from syncsessions.pairing.session import SyncSession
from syncsessions.processes import overview as processes
from syncsessions.processes import staff as process_staff
from syncsessions.processes.names import group_of
from syncsessions.processes.process import ALIAS
from syncsessions.processes.running import arun
from syncsessions.stores import stores


class SyncSessionsPage(AdminPage):
    rights: staff.Rights
    bells = {announce.LIST: announce.CHANGED}
    all_ring = True

    def __init__(self, query: Mapping[str, str], user_pk: str | None) -> None:
        super().__init__(query, user_pk)
        self.page = page_number(query.get("p"))
        self.shown: dict[str, SyncSession] = {}

    async def may_be_seen(self) -> bool:
        self.rights = await database_sync_to_async(staff.rights)(self.user_pk)
        return self.rights.view

    async def read(self) -> Frame:
        found = await sync_sessions.atake(overview.look(self.page))
        self.page = found.page
        self.shown = {session.life: session for session in found.sessions}
        return await asyncio.to_thread(found.as_frame, with_codes=self.rights.see_code)

    def answers(self) -> Mapping[str, Callable[[Frame], Awaitable[Frame | None]]]:
        return {"sync.page": self._turn, "sync.end": self._end}

    async def _turn(self, frame: Frame) -> None:
        self.page = _page_of(frame)

    async def _end(self, frame: Frame) -> Frame:
        life = frame.get("life")
        if not isinstance(life, str):
            raise FrameError("bad_frame")
        if not self.rights.end:
            raise AccessRefused("not_allowed")
        ended = await database_sync_to_async(self._end_one)(life)
        return {"type": "sync.ended", **ref_of(frame), "life": life, "ended": ended}

    def _end_one(self, life: str) -> bool:
        known = self.shown.get(life)
        found = staff.find([life]) if known is None else [known]
        return any(staff.end(session, self.user_pk) for session in found)


class ProcessAdminPage(AdminPage):
    rights: process_staff.Rights

    async def may_be_seen(self) -> bool:
        self.rights = await database_sync_to_async(process_staff.rights)(self.user_pk)
        return self.rights.view

    def answers(self) -> Mapping[str, Callable[[Frame], Awaitable[Frame | None]]]:
        return {"process.touch": self._touch, "process.terminate": self._terminate}

    async def _touch(self, frame: Frame) -> Frame:
        done = await self._done(frame, process_staff.touch, may=self.rights.touch)
        return {"type": "process.touched", **ref_of(frame), "key": frame["key"], "touched": done}

    async def _terminate(self, frame: Frame) -> Frame:
        done = await self._done(frame, process_staff.terminate, may=self.rights.terminate)
        return {"type": "process.terminated", **ref_of(frame), "key": frame["key"], "terminated": done}

    async def _done(self, frame: Frame, work: Callable[[processes.Place, Any], bool], *, may: bool) -> bool:
        place = processes.place_of(frame.get("key"))
        if place is None:
            raise FrameError("bad_frame")
        if not may:
            raise AccessRefused("not_allowed")
        done: bool = await database_sync_to_async(work)(place, self.user_pk)
        return done


class ProcessesPage(ProcessAdminPage):
    def __init__(self, query: Mapping[str, str], user_pk: str | None) -> None:
        super().__init__(query, user_pk)
        self.page = page_number(query.get("p"))
        self.path = query.get("class", "")

    async def read(self) -> Frame:
        found = await arun(stores[ALIAS], processes.look(self.page))
        self.page = found.page
        return await asyncio.to_thread(found.as_frame, self.path)

    def answers(self) -> Mapping[str, Callable[[Frame], Awaitable[Frame | None]]]:
        return {**super().answers(), "process.page": self._turn}

    async def _turn(self, frame: Frame) -> None:
        self.page = _page_of(frame)


class ProcessPage(ProcessAdminPage):
    """One process: its state and history are sent when they are others than before."""

    def __init__(self, query: Mapping[str, str], user_pk: str | None) -> None:
        super().__init__(query, user_pk)
        self.key = query.get("key", "")
        self.place = processes.place_of(self.key)
        self._known: int | None = None
        if self.place is not None:
            self.bells = {group_of(*self.place): "process.changed"}

    async def read(self) -> Frame:
        gone: Frame = {"type": "process.gone", "key": self.key}
        if self.place is None:
            return gone
        try:
            found = await arun(stores[ALIAS], processes.look_at(self.place, self._known))
        except NotFound:
            return gone
        frame = await asyncio.to_thread(found.as_frame)
        self._known = found.record.revision
        return frame


def _page_of(frame: Frame) -> int:
    page = frame.get("page")
    if isinstance(page, bool) or not isinstance(page, int) or not 1 <= page < 10**9:
        raise FrameError("bad_frame")
    return page


PAGES: dict[str, type[AdminPage]] = {
    "processes": ProcessesPage,
    "process": ProcessPage,
    "connections": ConnectionsPage,
}
