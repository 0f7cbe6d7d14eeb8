"""`ws/sync/admin/`: the live sync sessions and processes, for the staff to watch and to act on; connections, to watch.

What is shown the address says: `?show=processes`, `?show=process&key=…`, `?show=connections&ids=…,…`, and sync
sessions where it says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar
from urllib.parse import parse_qs

from syncsessions.consumers.admin_pages import PAGES, SyncSessionsPage
from syncsessions.consumers.base import BaseConsumer
from syncsessions.exceptions import FrameError, StoreUnavailable
from syncsessions.frames import Frame, error_frame, ref_of
from syncsessions.pairing import overview

CLOSE_NOT_ALLOWED = 4403
"""The user is no active member of the staff with the permission to view."""
SOON, AGAIN, TOLD = "soon", "again", "told"


class SyncAdminConsumer(BaseConsumer):
    """Sends what its page shows at once, after changes, and every few seconds besides, for doorbells get lost and
    leases are renewed in silence. The user's permissions are looked at again every few seconds, and at each request.
    """

    frame_limit: ClassVar[int] = 4096
    frame_rate: ClassVar[float] = 20
    frame_burst: ClassVar[float] = 2 * overview.PAGE  # every session of a page, ended at once
    pause: ClassVar[float] = 0.5
    """Seconds between two looks."""
    again_every: ClassVar[float] = 5
    """Seconds after which the store is read although nothing rang."""
    unrung_every: ClassVar[float] = 2
    """The same for what not every change rings for."""
    share: ClassVar[float] = 0.1
    """Of the time, that may go into looking: what takes long is looked at less often."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self._told: list[Frame] = []
        self._asked: Frame | None = None
        async with AsyncExitStack() as self._ending:
            await super().__call__(scope, receive, send)

    async def opened(self) -> None:
        if self.identity.user_pk is None:
            await self.close()
        found = parse_qs(self.scope.get("query_string", b"").decode("ascii", "replace"))
        query = {name: values[0] for name, values in found.items()}
        self.page = PAGES.get(query.get("show", ""), SyncSessionsPage)(query, self.identity.user_pk)
        self.page.tell = self._tell
        self._ending.push_async_callback(self.page.close)
        self._every = self.again_every if self.page.all_ring else self.unrung_every
        self._rest = self.pause
        self._loop = asyncio.get_running_loop()
        await self._look_at_rights()
        for group in self.page.bells:
            await self.line.join(group)
        await self._show()

    async def received(self, frame: Frame) -> None:
        answer = self.page.answers().get(frame["type"])
        if answer is None:
            raise FrameError("unknown_type")
        await self._look_at_rights()
        answered = await answer(frame)
        if answered is None:
            self._asked = frame
            if self._rest > self.pause:
                self._wake_soon()
            else:
                await self._show()
        else:
            await self.send_frame(answered)
            if not self.page.all_ring:
                self._wake_soon()

    async def heard(self, message: Mapping[str, Any]) -> None:
        if message["type"] in self.page.bells.values():
            self._wake_soon()

    async def alarm(self, name: str) -> None:
        if self._loop.time() > self._seen_at + self._every:
            await self._look_at_rights()
        if name == TOLD:
            told, self._told = self._told, []
            for frame in told:
                await self.send_frame(frame)
        else:
            await self._show()

    async def catch_up(self) -> None:
        self.line.wake(AGAIN, self._loop.time() + self._every)
        await self._look_at_rights()
        await self._show()

    def _tell(self, frame: Frame) -> None:
        self._told.append(frame)
        self.line.wake(TOLD, self._loop.time())

    def _wake_soon(self) -> None:
        self.line.wake(SOON, max(self._loop.time(), self._read_at + self._rest))

    async def _look_at_rights(self) -> None:
        self._seen_at = self._loop.time()
        if not await self.page.may_be_seen():
            await self.close(CLOSE_NOT_ALLOWED)

    async def _show(self) -> None:
        asked, self._asked = self._asked, None
        self._read_at = self._loop.time()
        self.line.wake(SOON, None)
        self.line.wake(AGAIN, self._read_at + self._every)
        try:
            frame = await self.page.read()
        except StoreUnavailable as error:
            await self.send_frame(error_frame(error, asked))
            return
        await self.send_frame({**frame, **(ref_of(asked) if asked else {})})
        self._rest = max(self.pause, (self._loop.time() - self._read_at) / self.share)
        self.line.wake(AGAIN, self._read_at + max(self._every, self._rest))
