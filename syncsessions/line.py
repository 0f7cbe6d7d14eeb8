"""All that a consumer listens to, with a channel layer that may fail: errors are waited out, groups joined again."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from channels.exceptions import ChannelFull

logger = logging.getLogger("syncsessions.consumers")
BACKOFF = (0.2, 10.0)  # seconds: first, longest
JOIN_TIMEOUT = 3.0  # seconds
SEND_TIMEOUT = 2.0  # seconds
BEAT = "beat"


class Line:
    """Hands out what a consumer has to hear: its client, the layer's messages, `beat` every so many seconds, `alarm`
    when one was set for now, and `line.restored` after the layer failed, when whatever it should have told must be
    read again. One wait for everything: an idle socket is to weigh little."""

    __slots__ = (
        "_alarms",
        "_beat_every",
        "_client",
        "_delay",
        "_groups",
        "_layer",
        "_naming",
        "_ready",
        "_restoring",
        "_retry_at",
        "_woken",
        "channel",
        "layer",
    )

    def __init__(self, layer: Any, beat_every: float) -> None:
        self.layer = layer
        self.channel: str | None = None
        self._naming = asyncio.Lock()
        self._groups: set[str] = set()
        self._beat_every = beat_every
        self._alarms = {BEAT: asyncio.get_running_loop().time() + beat_every}
        self._ready: list[dict[str, Any]] = []
        self._client: asyncio.Future[dict[str, Any]] | None = None
        # Kept over the beats: the Pub/Sub layer forgets a channel whose `receive` is cancelled.
        self._layer: asyncio.Task[dict[str, Any]] | None = None
        self._restoring: asyncio.Task[bool] | None = None
        self._retry_at: float | None = None  # None while the layer does its part
        self._delay = BACKOFF[0]
        self._woken: asyncio.Future[None] | None = None  # while it waits

    async def join(self, group: str) -> None:
        """Become a member of a group, now or when the layer is there again."""
        self._groups.add(group)
        if self.layer is None or self._retry_at is not None:
            return
        try:
            await self._add(group)
        except Exception as error:
            self._fail(error)

    async def refresh(self) -> None:
        """Join the groups anew, for a layer forgets members after a day."""
        for group in list(self._groups):
            await self.join(group)

    async def leave_all(self) -> None:
        groups, self._groups = self._groups, set()
        tasks = [task for task in (self._client, self._layer, self._restoring) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=JOIN_TIMEOUT)
        if self.layer is None or self.channel is None:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                for group in groups:
                    await self.layer.group_discard(group, self.channel)
        except Exception as error:
            logger.debug("Could not leave the channel layer's groups: %s", error)

    async def leave(self, group: str) -> None:
        """Be a member no longer."""
        self._groups.discard(group)
        if self.layer is None or self._retry_at is not None:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                await self.layer.group_discard(group, await self._own_channel())
        except Exception as error:
            self._fail(error)

    async def own_channel(self) -> str | None:
        """The name by which others reach this consumer; None where the layer cannot give one now."""
        if self.layer is None:
            return None
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                return await self._own_channel()
        except Exception as error:
            self._fail(error)
            return None

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send to one channel. As lossy as the layer is, and never raises."""
        if self.layer is None or self._retry_at is not None:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self.layer.send(channel, message)
        except ChannelFull:
            logger.debug("A channel is full; a message to it was dropped")
        except Exception as error:
            self._fail(error)

    def wake(self, name: str, at: float | None) -> None:
        """Hand out an alarm of this name at this moment of the loop's time; None takes it back. Holds also for whoever
        waits in `receive` already."""
        if at is None:
            self._alarms.pop(name, None)
            return
        self._alarms[name] = at
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def receive(self, client: Callable[[], Awaitable[dict[str, Any]]] | None = None) -> dict[str, Any]:
        """The next message of anybody; `client` is ASGI's `receive`, and what that raises is raised."""
        while not self._ready:
            name = min(self._alarms, key=self._alarms.__getitem__)
            if self._alarms[name] <= asyncio.get_running_loop().time():
                self._ready.append(self._ring(name))
            else:
                await self._wait(client, self._alarms[name])
        return self._ready.pop(0)

    def _ring(self, name: str) -> dict[str, Any]:
        if name == BEAT:
            self._alarms[BEAT] = asyncio.get_running_loop().time() + self._beat_every
            return {"type": BEAT}
        del self._alarms[name]
        return {"type": "alarm", "name": name}

    async def _wait(self, client: Callable[[], Awaitable[dict[str, Any]]] | None, until: float) -> None:
        """Until this moment at the latest, for whoever speaks first; of several, each gets its turn."""
        now = asyncio.get_running_loop().time()
        if client is not None and self._client is None:
            self._client = asyncio.ensure_future(client())
        if self._retry_at is None:
            if self._layer is None and self.layer is not None:
                self._layer = asyncio.create_task(self._layer_message())
        elif self._restoring is None:
            if now >= self._retry_at:
                self._restoring = asyncio.create_task(self._restore())
            else:
                until = min(until, self._retry_at)
        self._woken = asyncio.get_running_loop().create_future()
        waiting = [task for task in (self._client, self._layer, self._restoring, self._woken) if task is not None]
        await asyncio.wait(waiting, timeout=until - now, return_when=asyncio.FIRST_COMPLETED)
        self._woken = None
        self._gather()

    def _gather(self) -> None:
        if self._client is not None and self._client.done():
            said, self._client = self._client, None
            self._ready.append(said.result())
        if self._restoring is not None and self._restoring.done():
            restored, self._restoring = self._restoring, None
            if restored.result():
                self._ready.append({"type": "line.restored"})
        if self._layer is not None and self._layer.done():
            received, self._layer = self._layer, None
            try:
                self._ready.append(received.result())
            except Exception as error:
                self._fail(error)
            else:
                if self._retry_at is None:
                    self._delay = BACKOFF[0]

    async def _layer_message(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.layer.receive(await self._own_channel())
        return message

    async def _own_channel(self) -> str:
        async with self._naming:  # receiving and joining begin at the same time
            if self.channel is None:
                self.channel = await self.layer.new_channel()
            return self.channel

    async def _add(self, group: str) -> None:
        async with asyncio.timeout(JOIN_TIMEOUT):
            await self.layer.group_add(group, await self._own_channel())

    async def _restore(self) -> bool:
        self._retry_at = None
        try:
            for group in list(self._groups):
                await self._add(group)
        except Exception as error:
            self._fail(error, again=True)
            return False
        return True

    def _fail(self, error: Exception, *, again: bool = False) -> None:
        if self._retry_at is not None:
            return
        if not again:
            logger.warning("The channel layer failed, a socket goes on without: %s: %s", type(error).__name__, error)
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads the consumers
        self._retry_at = asyncio.get_running_loop().time() + self._delay * spread
        self._delay = min(self._delay * 2, BACKOFF[1])
