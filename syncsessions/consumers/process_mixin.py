"""A browser's session process in a project's own Channels consumers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from syncsessions.consumers.browser_process import Selectors, get_or_start, select
from syncsessions.exceptions import SessionNotFound
from syncsessions.json_values import JSON
from syncsessions.processes import Session, SessionProcess
from syncsessions.processes.functions import default_class
from syncsessions.processes.watching import Watch

logger = logging.getLogger("syncsessions.consumers")


class ProcessConsumerMixin:
    """For async consumers: `await self.mount_session()` in `connect`, after `accept`; from then on `session_changed`
    is told what `selectors` show whenever that changes, by any worker, and `session_stopped` why it has stopped.

    Both are called from a task of their own, beside the consumer's other handlers. What the consumer dispatches is the
    server's own word: `client_actions` does not bind it.
    """

    process_class: ClassVar[type[SessionProcess] | None] = None
    """None: PROCESS_CLASS."""
    selectors: ClassVar[Selectors] = {}
    start_rate: ClassVar[str | None] = "30/m"
    """How many sessions a client address may start; None for any number."""

    scope: dict[str, Any]
    process_session: Session | None = None
    """The mounted session."""
    _watch: Watch | None = None
    _following: asyncio.Task[None] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)  # type: ignore[misc]
        finally:
            await self.unmount_session()

    async def mount_session(self, args: Any = None) -> dict[str, JSON]:
        """Find or start the browser's session; what `selectors` show of it now.

        Raises what `start` does, and `AccessRefused` where there is no browser session.
        """
        await self.unmount_session()
        process = self.process_class or default_class()
        session = await get_or_start(process, self.scope, self.start_rate, args)
        watch = session.watch(lambda state: select(session, self.selectors, state))
        try:
            values: dict[str, JSON] = await anext(watch)
        except StopAsyncIteration:
            raise SessionNotFound from None
        except BaseException:
            await watch.aclose()
            raise
        self.process_session, self._watch = session, watch
        self._following = asyncio.create_task(self._follow(watch))
        return values

    async def dispatch_async(self, action: str, payload: Any = None) -> int:
        """Dispatch to the mounted session; the revision after it. Raises `SessionNotFound` where none is mounted or it
        has stopped: then mount again."""
        if self.process_session is None:
            raise SessionNotFound
        return await self.process_session.adispatch(action, payload)

    async def unmount_session(self) -> None:
        """Hear no more of the session, which lives on."""
        following, watch = self._following, self._watch
        self.process_session = self._following = self._watch = None
        if watch is not None:
            await watch.aclose()
        if following is not None and following is not asyncio.current_task():
            following.cancel()
            await asyncio.wait([following])

    async def session_changed(self, values: dict[str, JSON]) -> None:
        """Override: what `selectors` show now."""

    async def session_stopped(self, reason: str) -> None:
        """Override: the session is gone, "terminated" or "expired". `mount_session` starts another."""

    async def _follow(self, watch: Watch) -> None:
        try:
            async for values in watch:
                await self._guarded(self.session_changed(values))
        except Exception:
            logger.exception("A consumer no longer hears of its session")
        finally:
            await watch.aclose()
        if watch.reason is not None and self._watch is watch:
            self.process_session = self._watch = self._following = None
            await self._guarded(self.session_stopped(watch.reason))

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception:
            logger.exception("A consumer's handler of its session failed")
