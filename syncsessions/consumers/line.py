"""A consumer's line to the channel layer that survives the layer: errors are waited out, groups are joined again."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

logger = logging.getLogger("syncsessions.consumers")
BACKOFF = (0.2, 10.0)  # seconds: first, longest
JOIN_TIMEOUT = 3.0  # seconds


class Line:
    """Hands out what a consumer has to hear besides its client: the layer's messages, `beat` every so many seconds,
    and `line.restored` after the layer failed, when whatever it should have told must be read again."""

    def __init__(self, layer: Any, beat_every: float) -> None:
        self.layer = layer
        self.channel: str | None = None
        self._naming = asyncio.Lock()
        self._groups: set[str] = set()
        self._beat_every = beat_every
        self._next_beat = asyncio.get_running_loop().time() + beat_every
        # Kept over the beats: the Pub/Sub layer forgets a channel whose `receive` is cancelled.
        self._receiving: asyncio.Task[dict[str, Any]] | None = None
        self._retry_at: float | None = None  # None while the layer does its part
        self._delay = BACKOFF[0]

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
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait([self._receiving], timeout=JOIN_TIMEOUT)
        if self.layer is None or self.channel is None:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                for group in groups:
                    await self.layer.group_discard(group, self.channel)
        except Exception as error:
            logger.debug("Could not leave the channel layer's groups: %s", error)

    async def receive(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= self._next_beat:
                self._next_beat = loop.time() + self._beat_every
                return {"type": "beat"}
            if self._retry_at is not None and loop.time() >= self._retry_at and await self._restore():
                return {"type": "line.restored"}
            until = self._next_beat if self._retry_at is None else min(self._next_beat, self._retry_at)
            message = await self._message(until - loop.time())
            if message is not None:
                return message

    async def _message(self, wait: float) -> dict[str, Any] | None:
        """The layer's next message, if one comes in time."""
        if self._receiving is None:
            if self.layer is None or self._retry_at is not None:
                await asyncio.sleep(wait)
                return None
            self._receiving = asyncio.create_task(self._layer_message())
        await asyncio.wait([self._receiving], timeout=max(wait, 0))
        if not self._receiving.done():
            return None
        received, self._receiving = self._receiving, None
        try:
            message = received.result()
        except Exception as error:
            self._fail(error)
            return None
        if self._retry_at is None:
            self._delay = BACKOFF[0]
        return message

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
