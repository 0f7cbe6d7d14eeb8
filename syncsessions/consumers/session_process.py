"""`ws/process/<name>/`: a page sees what selectors show of its browser's session process, and dispatches to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from django.utils.translation import gettext as _

from syncsessions.consumers.base import BaseConsumer
from syncsessions.consumers.browser_process import Selectors, allow, get_or_start, id_of, select, sweep_now_and_then
from syncsessions.exceptions import (
    CallFailed,
    CastFailed,
    FrameError,
    InvalidValue,
    RateLimited,
    SessionNotFound,
    StoreUnavailable,
)
from syncsessions.frames import Frame, ref_of
from syncsessions.json_values import JSON
from syncsessions.processes import Session, SessionProcess
from syncsessions.processes.document import Document
from syncsessions.processes.functions import default_class
from syncsessions.processes.history import same
from syncsessions.processes.running import Steps, arun
from syncsessions.processes.watching import LOOK_EVERY, listen, stop_listening
from syncsessions.signals import emit, rate_limited

logger = logging.getLogger("syncsessions.consumers")

LOOK = "look"
ATTEMPTS = 3  # sessions in which one frame finds its end before it is given up
Result = TypeVar("Result")


class SessionProcessConsumer(BaseConsumer):
    """Shows and changes the session of `process_class` that belongs to the socket's browser, and no other.

    It starts one where there is none: at the first `subscribe` or `dispatch`, and at the next one after it has stopped.
    """

    process_class: ClassVar[type[SessionProcess] | None] = None
    """None: PROCESS_CLASS. Its `client_actions` are what a page may dispatch."""
    selectors: ClassVar[Selectors] = {}
    """What a page may see, by name: functions of the state."""
    start_rate: ClassVar[str | None] = "30/m"
    """How many sessions a client address may start; None for any number."""
    pause: ClassVar[float] = 0.05
    """Seconds between two looks at a session that others keep changing."""
    values_rate: ClassVar[float] = 4 * 1024 * 1024
    """Bytes of values a second, sustained: a frame that asks for them is small, and they may be large."""
    values_burst: ClassVar[float] = 16 * 1024 * 1024
    """Bytes of values at once. Beyond, changes come later, and `subscribe` is refused as rate_limited."""

    _session: Session | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._let_go()

    async def start_args(self) -> JSON:
        """What `init` of a new session is given."""
        return None

    @property
    def process(self) -> type[SessionProcess]:
        return self.process_class or default_class()

    async def opened(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscribed: dict[str, Callable[[Any], Any]] = {}
        self._values: dict[str, JSON] | None = None
        self._revision = -1
        self._reason: str | None = None
        self._ear: _Ear | None = None
        self._looked_at = self._look_at = float("-inf")
        self._paid_at = float("-inf")

    async def received(self, frame: Frame) -> None:
        answers = {"subscribe": self._subscribe, "dispatch": self._dispatch}
        answer = answers.get(frame["type"])
        if answer is None:
            raise FrameError("unknown_type")
        try:
            await answer(frame)
        except (CallFailed, CastFailed) as error:
            logger.warning("A page's frame failed: %s", error, exc_info=error)
            raise type(error)() from None  # what a handler raised is not the page's business

    async def heard(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "process.changed" and message.get("revision", self._revision + 1) > self._revision:
            self._look_soon()

    async def alarm(self, name: str) -> None:
        if name == LOOK:
            await self._look()

    async def catch_up(self) -> None:
        await self._look()
        await sweep_now_and_then()

    # What the client asks for

    async def _subscribe(self, frame: Frame) -> None:
        names = frame.get("selectors")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FrameError("bad_frame", _("Name the selectors in a list."))
        for name in names:
            if name not in self.selectors:
                raise InvalidValue(_("There is no selector “%(name)s”.") % {"name": name[:100]}, key=name[:100])
        if wait := self._debt():
            if rate_limited.receivers:
                emit(rate_limited, type(self), retry_after=wait)
            raise RateLimited(retry_after=wait)
        known = await self._with_session(lambda session: session._current())
        if not self._subscribed.keys() >= set(names):
            self._values = None
            self._subscribed.update({name: self.selectors[name] for name in names})
        await self._show(known.document, frame)

    async def _dispatch(self, frame: Frame) -> None:
        action, payload = frame.get("action"), frame.get("payload")
        if not isinstance(action, str):
            raise FrameError("bad_frame", _("Name the action as text."))
        allow(self.process, action)
        applied = await self._with_session(lambda session: session._dispatch(action, payload))
        await self._show(applied.document)
        if ref_of(frame):
            await self.send_frame({"type": "dispatched", **ref_of(frame), "revision": applied.document[1]})

    # The session

    async def _with_session(self, steps: Callable[[Session], Steps[Result]]) -> Result:
        """Take the steps with the browser's session: with a new one where that has stopped."""
        for _attempt in range(ATTEMPTS):
            session = self._session
            if session is None:
                session = await get_or_start(self.process, self.scope, self.start_rate, await self.start_args())
                await self._take(session)
            try:
                return await arun(session.store, steps(session))
            except SessionNotFound:
                await self._tell_stopped(session)
        raise SessionNotFound

    async def _take(self, session: Session) -> None:
        """Hear of this session from now on; what it is now has to be read after this."""
        self._session, self._ear = session, _Ear(self._loop, lambda reason: self._told(session, reason))
        self._values, self._revision, self._reason = None, -1, None
        listen(session, self._ear)
        self._plan_look()
        if session.group is not None:
            await self.line.join(session.group)

    def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None and self._ear is not None:
            stop_listening(session, self._ear)

    async def _tell_stopped(self, session: Session) -> None:
        reason = self._reason or await arun(session.store, session._reason())
        self._let_go()
        await self.send_frame({"type": "stopped", "reason": reason})
        if session.group is not None:
            await self.line.leave(session.group)

    def _told(self, session: Session, reason: str | None) -> None:
        """A message of this process has changed the session, or it has stopped."""
        if session is not self._session:
            return
        self._reason = reason or self._reason
        recent = session._recent()
        if reason or recent is None or recent.document[1] > self._revision:
            self._look_soon()

    # Looking

    def _look_soon(self) -> None:
        now = self._loop.time()
        self._look_at = min(self._look_at, max(now + self._debt(), self._looked_at + self.pause))
        self.line.wake(LOOK, self._look_at)

    def _plan_look(self) -> None:
        self._looked_at = self._loop.time()
        self._look_at = self._looked_at + LOOK_EVERY
        self.line.wake(LOOK, self._look_at)

    async def _look(self) -> None:
        """Tell the page what has changed. Rings get lost, and nobody rings where a session was started again."""
        if self._session is None and not self._subscribed:
            return
        self._plan_look()
        try:
            if self._session is None:
                await self._take(await self.process.aget(await id_of(self.scope)))
            session = self._session
            if session is not None:
                known = await arun(session.store, session._current())
                await self._show(known.document)
        except SessionNotFound:
            if self._session is not None:
                with contextlib.suppress(StoreUnavailable):
                    await self._tell_stopped(self._session)
        except StoreUnavailable as error:
            logger.debug("A socket could not look at its session: %s", error)

    async def _show(self, document: Document, asked: Frame | None = None) -> None:
        """Send the values that the page has subscribed to, if it has asked for them or has others."""
        state, revision, _rest = document
        session = self._session
        if session is None or (asked is None and revision <= self._revision):
            return
        if asked is None and self._debt():
            self._look_soon()
            return
        before, changed = self._values, revision != self._revision
        if before is None or changed:
            self._values, self._revision = select(session, self._subscribed, state), revision
        if asked is not None or (self._subscribed and (before is None or not same(self._values, before))):
            ref = {} if asked is None else ref_of(asked)
            text = json.dumps({"type": "state", **ref, "values": self._values, "revision": revision})
            self._paid_at = max(self._paid_at, self._loop.time()) + len(text) / self.values_rate
            await self.send_text(text)

    def _debt(self) -> float:
        """Seconds until values may be sent again."""
        return max(0.0, self._paid_at - self._loop.time() - self.values_burst / self.values_rate)


class _Ear:
    """Tells a consumer, in its loop, of what happens to a session in this process: often, at once."""

    __slots__ = ("_loop", "_reason", "_tell", "_waits")

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[str | None], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._reason: str | None = None
        self._waits = False

    def wake(self, reason: str | None = None) -> None:
        self._reason = reason or self._reason
        if self._waits:
            return
        self._waits = True
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        self._waits = False
        self._tell(self._reason)
