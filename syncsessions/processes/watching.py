"""`watch`: a session's value now and after each change, by whichever worker, until the session stops."""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self

from channels.layers import get_channel_layer

from syncsessions.exceptions import NotFound, StoreUnavailable
from syncsessions.line import BACKOFF, Line
from syncsessions.processes import registry
from syncsessions.processes.history import same
from syncsessions.processes.names import EXPIRED
from syncsessions.processes.running import arun
from syncsessions.signals import doorbell_heard, emit

if TYPE_CHECKING:
    from syncsessions.processes.steps import SessionSteps

LOOK_EVERY = 4.0  # seconds; a lost ring is to be repaired within five
_NOTHING = object()


class Listener(Protocol):
    """What is told, by this process's own messages, that there is something to read."""

    def wake(self, reason: str | None = None) -> None:
        """Something has changed; with a reason, the session has stopped. Called from any thread."""


def listen(session: SessionSteps, listener: Listener) -> None:
    """Have the listener told of what happens to the session in this process."""
    session._watches[listener] = None
    registry.local[session.key] = session


def stop_listening(session: SessionSteps, listener: Listener) -> None:
    session._watches.pop(listener, None)
    session.forget_if_idle()


class Watch:
    """An async iterator of values. `reason` is why the session stopped ("terminated", "expired"), None before that.

    Whoever leaves the loop early may `aclose()` it, or use it as an async context manager; one that is forgotten, or
    has raised, hears no more either.
    """

    def __init__(self, session: SessionSteps, selector: Callable[[Any], Any] | None) -> None:
        self._session = session
        self._selector = selector
        self._value: Any = _NOTHING
        self._line: Line | None = None
        self._ear = _Ear()
        self._end: weakref.finalize[[SessionSteps, _Ear, Line], Watch] | None = None
        self._closed = False

    @property
    def reason(self) -> str | None:
        return self._ear.reason

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def __anext__(self) -> Any:
        if self._closed:
            raise StopAsyncIteration
        try:
            while True:
                if self._line is None:
                    await self._begin()
                else:
                    await self._wait(self._line)
                try:
                    known = await arun(self._session.store, self._session._current())
                except NotFound:
                    if self.reason is None:
                        self._ear.reason = await arun(self._session.store, self._session._reason())
                    await self.aclose()
                    raise StopAsyncIteration from None
                except StoreUnavailable:
                    if self._value is _NOTHING:
                        raise
                    continue  # it is asked again when it is time to look
                state = known.document[0]
                value = state if self._selector is None else self._selector(state)
                if self._value is _NOTHING or not same(value, self._value):
                    self._value = value
                    return value
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Hear no more."""
        if self._closed:
            return
        self._closed = True
        if self._end is not None:
            self._end.detach()
        stop_listening(self._session, self._ear)
        if self._line is not None:
            await self._line.leave_all()

    async def _begin(self) -> None:
        session = self._session
        self._ear.loop = asyncio.get_running_loop()
        listen(session, self._ear)
        group = session.group
        self._line = Line(None if group is None else get_channel_layer(), LOOK_EVERY)
        self._end = weakref.finalize(self, _forget, session, self._ear, self._line)
        self._end.atexit = False
        if group is not None:
            await self._line.join(group)

    async def _wait(self, line: Line) -> None:
        message = await line.receive(self._ear.wait)
        if message["type"] == "process.changed" and doorbell_heard.receivers:
            emit(doorbell_heard, type(self), message=message)


async def wait_for_the_end(session: SessionSteps) -> str:
    """Why the session has stopped, when it has; a store that does not answer is asked again."""
    delay = BACKOFF[0]
    while True:
        async with Watch(session, lambda state: None) as watch:
            try:
                async for _nothing in watch:
                    delay = BACKOFF[0]
            except StoreUnavailable:
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads those who ask
                delay = min(delay * 2, BACKOFF[1])
            else:
                return watch.reason or EXPIRED


class _Ear:
    """What a watch leaves with others, so that nobody but its user holds the watch itself."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()

    def wake(self, reason: str | None = None) -> None:
        if reason is not None:
            self.reason = reason
        loop = self.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._woken.set)

    async def wait(self) -> dict[str, Any]:
        await self._woken.wait()
        self._woken.clear()
        return {"type": "woken"}


def _forget(session: SessionSteps, ear: _Ear, line: Line) -> None:
    """Its user has left a watch without a word."""
    stop_listening(session, ear)
    if ear.loop is not None and not ear.loop.is_closed():
        asyncio.run_coroutine_threadsafe(line.leave_all(), ear.loop)
