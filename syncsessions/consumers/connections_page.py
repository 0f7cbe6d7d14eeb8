"""What the socket of the admin shows of connections: their statuses here, and at the other sites as those answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from uuid import UUID

from channels.db import database_sync_to_async

from syncsessions import staff
from syncsessions.connections import announce, overview
from syncsessions.connections.flow import STATUSES
from syncsessions.connections.models import Connection
from syncsessions.connections.status import NOT_FOUND, afetch_peer_statuses, can_be_asked
from syncsessions.consumers.admin_page import AdminPage
from syncsessions.frames import Frame

AGAIN = 60.0  # seconds after its answer that a site is asked again
BACK = 10.0  # the same after no answer, or none that says something
SETTLED = 2.0  # seconds after a change that the other site has most likely been told
ANSWERS = (*STATUSES, NOT_FOUND)


class ConnectionsPage(AdminPage):
    """Reads `connections.rows`, after the first only what has changed since; tells `connections.remote` meanwhile."""

    bells = {announce.LIST: announce.CHANGED}
    all_ring = True

    def __init__(self, query: Mapping[str, str], user_pk: str | None) -> None:
        super().__init__(query, user_pk)
        self.ids = overview.ids_of(query.get("ids", ""))
        self._known: dict[str, Frame] = {}
        self._due: dict[UUID, float] = {}  # when to ask its site, by the loop's time
        self._late: set[UUID] = set()  # changed here while its site was being asked
        self._asking: set[asyncio.Task[None]] = set()

    async def may_be_seen(self) -> bool:
        return any(await database_sync_to_async(staff.held)(self.user_pk, Connection, ("view", "change")))

    async def read(self) -> Frame:
        found = await database_sync_to_async(overview.look)(self.ids)
        frame = found.as_frame(self.ids)
        changed = [row for row in frame["rows"] if self._known.get(row["id"]) != row]
        now = asyncio.get_running_loop().time()
        for row in changed:
            pk = UUID(row["id"])
            if self._due.get(pk) == math.inf:
                self._late.add(pk)
            else:
                self._due[pk] = now + SETTLED if pk in self._due else now
            self._known[row["id"]] = row
        self._ask([each for each in found.connections if can_be_asked(each) and self._due[each.pk] <= now])
        return {**frame, "rows": changed}

    def answers(self) -> Mapping[str, Callable[[Frame], Awaitable[Frame | None]]]:
        return {}

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _ask(self, connections: list[Connection]) -> None:
        if connections:
            self._due.update({connection.pk: math.inf for connection in connections})
            task = asyncio.create_task(self._listen(connections))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _listen(self, connections: list[Connection]) -> None:
        unanswered = {connection.pk for connection in connections}
        try:
            async with aclosing(afetch_peer_statuses(connections)) as arriving:
                async for pk, status in arriving:
                    unanswered.discard(pk)
                    self._answered(pk, AGAIN if status in ANSWERS else BACK)
                    self.tell({"type": "connections.remote", "id": str(pk), "status": status})
        finally:
            for pk in unanswered:
                self._answered(pk)

    def _answered(self, pk: UUID, pause: float = BACK) -> None:
        self._due[pk] = asyncio.get_running_loop().time() + (SETTLED if pk in self._late else pause)
        self._late.discard(pk)
