"""`ws/sync/admin/`: the live sync sessions, for the staff to watch and to end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.db import database_sync_to_async

from syncsessions.consumers.base import BaseConsumer
from syncsessions.exceptions import AccessRefused, FrameError, StoreUnavailable
from syncsessions.frames import Frame, error_frame, ref_of
from syncsessions.pairing import announce, overview, staff, sync_sessions
from syncsessions.pairing.session import SyncSession

CLOSE_NOT_ALLOWED = 4403
"""The user is no active member of the staff with the permission to view."""
SOON, AGAIN = "soon", "again"


class SyncAdminConsumer(BaseConsumer):
    """Sends `sync.list` at once, after changes, and every few seconds besides, for doorbells get lost and leases are
    renewed in silence. The user's permissions are looked at again each time that nothing rang, and at each request."""

    frame_limit: ClassVar[int] = 4096
    frame_rate: ClassVar[float] = 20
    frame_burst: ClassVar[float] = 2 * overview.PAGE  # every session of a page, ended at once
    pause: ClassVar[float] = 0.5
    """Seconds between two lists."""
    again_every: ClassVar[float] = 5
    """Seconds after which the list is read although nothing rang."""

    async def opened(self) -> None:
        if self.identity.user_pk is None:
            await self.close()
        query = parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"))
        self.page = overview.page_number(query.get("p", [""])[0])
        self.shown: dict[str, SyncSession] = {}
        self._loop = asyncio.get_running_loop()
        await self._look_at_rights()
        await self.line.join(announce.LIST)
        await self._show()

    async def received(self, frame: Frame) -> None:
        answers = {"sync.page": self._turn, "sync.end": self._end}
        answer = answers.get(frame["type"])
        if answer is None:
            raise FrameError("unknown_type")
        await self._look_at_rights()
        await answer(frame)

    async def heard(self, message: Mapping[str, Any]) -> None:
        if message["type"] == announce.CHANGED:
            self.line.wake(SOON, max(self._loop.time(), self._read_at + self.pause))

    async def alarm(self, name: str) -> None:
        if name == SOON:
            await self._show()
        else:
            await self.catch_up()

    async def catch_up(self) -> None:
        self.line.wake(AGAIN, self._loop.time() + self.again_every)
        await self._look_at_rights()
        await self._show()

    async def _turn(self, frame: Frame) -> None:
        page = frame.get("page")
        if isinstance(page, bool) or not isinstance(page, int) or not 1 <= page < 10**9:
            raise FrameError("bad_frame")
        self.page = page
        await self._show(frame)

    async def _end(self, frame: Frame) -> None:
        life = frame.get("life")
        if not isinstance(life, str):
            raise FrameError("bad_frame")
        if not self.rights.end:
            raise AccessRefused("not_allowed")
        ended = await database_sync_to_async(self._end_one)(life)
        await self.send_frame({"type": "sync.ended", **ref_of(frame), "life": life, "ended": ended})

    def _end_one(self, life: str) -> bool:
        known = self.shown.get(life)
        found = staff.find([life]) if known is None else [known]
        return any(staff.end(session, self.identity.user_pk) for session in found)

    async def _look_at_rights(self) -> None:
        self.rights = await database_sync_to_async(staff.rights)(self.identity.user_pk)
        if not self.rights.view:
            await self.close(CLOSE_NOT_ALLOWED)

    async def _show(self, asked: Frame | None = None) -> None:
        self._read_at = self._loop.time()
        self.line.wake(SOON, None)
        self.line.wake(AGAIN, self._read_at + self.again_every)
        try:
            found = await sync_sessions.atake(overview.look(self.page))
        except StoreUnavailable as error:
            await self.send_frame(error_frame(error, asked))
            return
        self.page = found.page
        self.shown = {session.life: session for session in found.sessions}
        frame = await asyncio.to_thread(found.as_frame, with_codes=self.rights.see_code)
        await self.send_frame({**frame, **(ref_of(asked) if asked else {})})
