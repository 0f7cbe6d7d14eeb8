"""The base of every socket: origin, session, bounds and rates, login and logout, a channel layer that may fail."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer

from syncsessions import doorbell, frames, session_id
from syncsessions.consumers import identity
from syncsessions.consumers.origin import is_own_origin
from syncsessions.exceptions import FrameError, RateLimited, SyncSessionsError
from syncsessions.frames import Frame
from syncsessions.line import Line
from syncsessions.signals import doorbell_heard, emit, rate_limited

logger = logging.getLogger("syncsessions.consumers")

CLOSE_IDENTITY = 4401
"""The session is missing or expired, or its user has changed: come again with the cookies of now."""

CLOSE_FAILED = 1011
"""The server could not do its part; come again later."""


class BaseConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels has no types
    """Speaks JSON frames. Subclasses answer them in `received`, and ask for groups with `self.line.join`."""

    frame_limit: ClassVar[int] = frames.FRAME_LIMIT
    """Bytes that a frame may have."""
    frame_rate: ClassVar[float] = 60
    """Frames a second, sustained."""
    frame_burst: ClassVar[float] = 100
    """Frames at once."""
    session_required: ClassVar[bool] = True
    """Whether a socket without a session is closed with 4401."""
    beat_every: ClassVar[float] = 30
    """Seconds between two looks at session and user, in case nobody told of a change."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope, self.base_send = scope, send
        self.line = Line(get_channel_layer(), self.beat_every)
        self.identity = identity.Identity(None, None)
        self.allowance = frames.Allowance(self.frame_rate, self.frame_burst, time.monotonic())
        try:
            while True:
                await self.dispatch(await self.line.receive(receive))
        except StopConsumer:
            pass
        finally:
            await self.line.leave_all()

    async def opened(self) -> None:
        """The socket was accepted and has what it needs."""

    async def received(self, frame: Frame) -> None:
        """A well-formed frame that is no ping. What it raises of ours is answered, the socket stays open."""
        raise FrameError("unknown_type")

    async def heard(self, message: Mapping[str, Any]) -> None:
        """A message of a group that was joined."""

    async def alarm(self, name: str) -> None:
        """An alarm that was set with `self.line.wake`."""

    def is_free(self, frame: Frame) -> bool:
        """Whether a frame is not counted against the rate."""
        return False

    def turn_of(self, frame: Frame) -> frames.Turn | None:
        """What keeps a frame behind those that were refused as rate_limited before it, where anything does."""
        return None

    async def catch_up(self) -> None:
        """Read the truth: doorbells may have been missed."""

    async def identity_lost(self, reason: str) -> None:
        """The session or its user is another now; the socket closes after this."""

    async def closed(self) -> None:
        """The socket is gone. May never be called: a server that is stopped or killed does not say goodbye."""

    async def send(self, message: dict[str, Any]) -> None:
        try:
            await super().send(message)
        except (OSError, RuntimeError) as error:  # OSError says ASGI, RuntimeError daphne's autobahn
            # The client has gone. What it sent before that is still in the queue, and is done for it.
            logger.debug("A message found no client: %s", type(error).__name__)

    async def send_frame(self, frame: Frame) -> None:
        await self.send_text(json.dumps(frame))

    async def send_text(self, text: str) -> None:
        await self.send({"type": "websocket.send", "text": text})

    async def close(self, code: int = CLOSE_IDENTITY) -> None:
        await self.send({"type": "websocket.close", "code": code})
        raise StopConsumer

    async def dispatch(self, message: dict[str, Any]) -> None:
        handlers = {
            "websocket.connect": self._connect,
            "websocket.receive": self._receive,
            "websocket.disconnect": self._disconnect,
            "beat": self._beat,
            "alarm": self._alarm,
            "line.restored": self._restored,
            identity.CHANGED: self._identity_changed,
        }
        handler = handlers.get(message["type"], self._heard)
        try:
            await handler(message)
        except StopConsumer:
            raise
        except Exception:
            logger.exception("A socket's handler failed")
            if message["type"] == "websocket.connect":
                await self.close(CLOSE_FAILED)
            if message["type"] == "websocket.disconnect":
                raise StopConsumer from None

    async def _connect(self, message: Mapping[str, Any]) -> None:
        if not is_own_origin(self.scope):
            await self.close(403)
        self.identity = await database_sync_to_async(identity.of_scope)(self.scope)
        await self.send({"type": "websocket.accept"})
        found = self.scope.get("session_id")
        if self.identity.session_key is not None and not found:
            found = await database_sync_to_async(session_id.peek)(self.scope["session"])
        doorbell.listen()
        if found:
            await self.line.join(identity.group(found))
        elif self.session_required:
            await self.close()
        await self.opened()

    async def _receive(self, message: Mapping[str, Any]) -> None:
        frame: Frame | None = None
        try:
            try:
                frame = frames.parse(message.get("text"), self.frame_limit)
            finally:
                # After parsing, for the client must learn which of its frames was refused; and also where that failed.
                if frame is None or not self.is_free(frame):
                    self._spend(frame)
            if frame["type"] == "ping":
                await self.send_frame({"type": "pong", **frames.ref_of(frame)})
            else:
                await self.received(frame)
        except SyncSessionsError as error:
            if isinstance(error, RateLimited) and frame is not None and (turn := self.turn_of(frame)) is not None:
                turn.refused(frame, time.monotonic())
            await self.send_frame(frames.error_frame(error, frame))
        except StopConsumer:
            raise
        except Exception:
            logger.exception("A frame could not be answered; the socket goes on")
            await self.send_frame(frames.error_frame(SyncSessionsError(), frame))

    def _spend(self, frame: Frame | None) -> None:
        now, wait = time.monotonic(), 0.0
        if frame is not None and (turn := self.turn_of(frame)) is not None:
            wait = turn.wait(frame, now)
        wait = wait or self.allowance.take(now)
        if wait:
            if rate_limited.receivers:
                emit(rate_limited, type(self), retry_after=wait)
            raise RateLimited(retry_after=wait)

    async def _disconnect(self, message: Mapping[str, Any]) -> None:
        await self.closed()
        raise StopConsumer

    async def _heard(self, message: Mapping[str, Any]) -> None:
        if doorbell_heard.receivers:
            await sync_to_async(emit)(doorbell_heard, type(self), message=message)
        await self.heard(message)

    async def _alarm(self, message: Mapping[str, Any]) -> None:
        await self.alarm(message["name"])

    async def _beat(self, message: Mapping[str, Any]) -> None:
        seen = await database_sync_to_async(identity.look_again)(self.scope, self.identity)
        if seen != self.identity:
            await self._lose_identity("changed" if seen.session_key else "expired")
        await self.line.refresh()
        await self.catch_up()

    async def _restored(self, message: Mapping[str, Any]) -> None:
        await self.catch_up()

    async def _identity_changed(self, message: Mapping[str, Any]) -> None:
        if not message["key"] or message["key"] != identity.key_digest(self.identity.session_key):
            await self._lose_identity(message["reason"])

    async def _lose_identity(self, reason: str) -> None:
        try:
            await self.identity_lost(reason)
        except Exception:
            logger.exception("A socket's handler failed")
        await self.close()
