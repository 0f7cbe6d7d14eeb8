"""`sync_sessions`: opening, claiming, leasing and ending sync sessions, in the store "pairing"."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from syncsessions import conf
from syncsessions.exceptions import RateLimited, StoreUnavailable
from syncsessions.pairing import announce, steps
from syncsessions.pairing.session import Ending, SyncSession, of_record
from syncsessions.signals import (
    emit,
    rate_limited,
    sync_session_closed,
    sync_session_joined,
    sync_session_opened,
)
from syncsessions.stores import BaseStore, stores
from syncsessions.stores.steps import Steps, arun, run

SWEEP_AGAIN = 1.0  # seconds until the next sweep where one has left something


class SyncSessions:
    """The live sync sessions. Every operation has an `a` twin; codes may be given in any spelling.

    With `life` an operation is about that session only, never about a later one of its code.
    """

    def __init__(self) -> None:
        self._sweep_due = 0.0

    @property
    def store(self) -> BaseStore:
        return stores["pairing"]

    def create(
        self, direction: str, owner: str, info: dict[str, Any] | None = None, code: str | None = None
    ) -> SyncSession:
        """Open a session for the channel `owner`; it lives for PAIRING_LEASE seconds unless it is renewed.

        Raises `AlreadyExists` for a given code that is taken, `SessionLimitReached` at PAIRING_MAX_SESSIONS.
        """
        session = run(self.store, steps.create(direction, owner, info, code))
        self._tell(session, sync_session_opened)
        self._sweep()
        return session

    async def acreate(
        self, direction: str, owner: str, info: dict[str, Any] | None = None, code: str | None = None
    ) -> SyncSession:
        session = await arun(self.store, steps.create(direction, owner, info, code))
        await self._atell(session, sync_session_opened)
        await self._asweep()
        return session

    def get(self, code: str, *, life: str | None = None) -> SyncSession:
        """Raises `NotFound`."""
        return run(self.store, steps.get(code, life))

    async def aget(self, code: str, *, life: str | None = None) -> SyncSession:
        return await arun(self.store, steps.get(code, life))

    def update(self, code: str, /, *, life: str | None = None, **fields: Any) -> SyncSession:
        """Set direction, status, owner, peer, sender_info or receiver_info.

        Raises `NotFound`, `InvalidValue` for an unknown field or status, `InvalidTransition`.
        """
        session = run(self.store, steps.update(code, fields, life))
        self._tell(session)
        return session

    async def aupdate(self, code: str, /, *, life: str | None = None, **fields: Any) -> SyncSession:
        session = await arun(self.store, steps.update(code, fields, life))
        await self._atell(session)
        return session

    def claim(
        self,
        code: str,
        peer: str,
        info: dict[str, Any] | None = None,
        address: str | None = None,
        *,
        lease: bool = False,
    ) -> SyncSession:
        """Join as `peer`: of all who try, one does. With `lease` the peer promises to `renew_peer`, and is gone if not.

        Raises `InvalidCode`; `AlreadyUsed`; `RateLimited` where `address` (what limits count a client by) has spent
        PAIRING_GUESS_RATE on wrong codes, also for a right one.
        """
        try:
            session = run(self.store, steps.claim(code, peer, info, address, lease=lease))
        except RateLimited as error:
            if rate_limited.receivers:
                emit(rate_limited, SyncSession, retry_after=error.retry_after)
            raise
        self._tell(session, sync_session_joined)
        return session

    async def aclaim(
        self,
        code: str,
        peer: str,
        info: dict[str, Any] | None = None,
        address: str | None = None,
        *,
        lease: bool = False,
    ) -> SyncSession:
        try:
            session = await arun(self.store, steps.claim(code, peer, info, address, lease=lease))
        except RateLimited as error:
            if rate_limited.receivers:
                await sync_to_async(emit)(rate_limited, SyncSession, retry_after=error.retry_after)
            raise
        await self._atell(session, sync_session_joined)
        return session

    def renew(self, code: str, *, life: str | None = None) -> None:
        """Let the lease end PAIRING_LEASE seconds from now. Raises `NotFound`."""
        run(self.store, steps.renew(code, life))
        self._sweep()

    async def arenew(self, code: str, *, life: str | None = None) -> None:
        await arun(self.store, steps.renew(code, life))
        await self._asweep()

    def delete(self, code: str, *, life: str | None = None) -> bool:
        """Remove the session; whether there was one."""
        deleted = run(self.store, steps.delete(code, life))
        if deleted is not None:
            self._tell_end(*deleted)
        return deleted is not None

    async def adelete(self, code: str, *, life: str | None = None) -> bool:
        deleted = await arun(self.store, steps.delete(code, life))
        if deleted is not None:
            await self._atell_end(*deleted)
        return deleted is not None

    def end(self, session: SyncSession, status: str, reason: str | None, result: Any = None) -> Ending:
        """End the session for both parties. Who is first says how it ended; that is returned to everyone.

        Raises `InvalidValue` for another status than completed and failed; `InvalidTransition`.
        """
        return self.settle(session, Ending(status, reason, result))[0]

    async def aend(self, session: SyncSession, status: str, reason: str | None, result: Any = None) -> Ending:
        ending, first = await arun(self.store, steps.end(session, Ending(status, reason, result)))
        if first:
            await self._atell_end(session, ending)
        return ending

    def settle(self, session: SyncSession, ending: Ending) -> tuple[Ending, bool]:
        """`end`, which also says whether this call was the first."""
        ending, first = run(self.store, steps.end(session, ending))
        if first:
            self._tell_end(session, ending)
        return ending, first

    def count_active(self) -> int:
        return self.store.count(steps.SESSIONS)

    async def acount_active(self) -> int:
        return await self.store.acount(steps.SESSIONS)

    def list_active(self, *, offset: int = 0, limit: int | None = None) -> list[SyncSession]:
        """The live sessions, newest first."""
        return [of_record(record) for record in self.store.list(steps.SESSIONS, offset=offset, limit=limit)]

    async def alist_active(self, *, offset: int = 0, limit: int | None = None) -> list[SyncSession]:
        return [of_record(record) for record in await self.store.alist(steps.SESSIONS, offset=offset, limit=limit)]

    def expire(self) -> int:
        """Remove a batch of what is past its deadline and tell, once, of each session that ended so.

        How many records went; 0 when none is left.
        """
        swept = run(self.store, steps.expire())
        self._plan_sweep(more=swept.more)
        for session, ending in swept.ended:
            self._tell_end(session, ending)
        return swept.removed

    async def aexpire(self) -> int:
        swept = await arun(self.store, steps.expire())
        self._plan_sweep(more=swept.more)
        for session, ending in swept.ended:
            await self._atell_end(session, ending)
        return swept.removed

    async def atake(self, work: Steps[Any]) -> Any:
        """Take steps on the pairing store: what consumers need besides."""
        return await arun(self.store, work)

    def _sweep(self) -> None:
        if self._sweep_is_due():
            with contextlib.suppress(StoreUnavailable):
                self.expire()

    async def _asweep(self) -> None:
        if self._sweep_is_due():
            with contextlib.suppress(StoreUnavailable):
                await self.aexpire()

    def _sweep_is_due(self) -> bool:
        """Whether this process has not swept for a third of a lease: somebody has to, and nobody is appointed."""
        if time.monotonic() < self._sweep_due:
            return False
        self._plan_sweep(more=False)  # nobody else sweeps meanwhile
        return True

    def _plan_sweep(self, *, more: bool) -> None:
        pause = conf.current().PAIRING_LEASE / 3
        self._sweep_due = time.monotonic() + (min(pause, SWEEP_AGAIN) if more else pause)

    def _tell(self, session: SyncSession, signal: Any = None, **named: Any) -> None:
        self.store.after_commit(partial(_announce, session, signal, named))

    async def _atell(self, session: SyncSession, signal: Any = None, **named: Any) -> None:
        if signal is not None and signal.receivers:
            await sync_to_async(self._tell)(session, signal, **named)
        else:
            self._tell(session, signal, **named)

    def _tell_end(self, session: SyncSession, ending: Ending) -> None:
        self._tell(session, sync_session_closed, status=ending.status, reason=ending.reason)

    async def _atell_end(self, session: SyncSession, ending: Ending) -> None:
        await self._atell(session, sync_session_closed, status=ending.status, reason=ending.reason)


def _announce(session: SyncSession, signal: Any, named: dict[str, Any]) -> None:
    if signal is not None and signal.receivers:
        emit(signal, SyncSession, session=session, **named)
    announce.changed()
    if signal is not sync_session_opened:  # of which nobody has heard yet
        announce.look(session)


sync_sessions = SyncSessions()
