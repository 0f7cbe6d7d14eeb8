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
        self._groups: set[str] = set()
        self._beat_every = beat_every
        self._next_beat = asyncio.get_running_loop().time() + beat_every
        self._broken = False
        self._delay = BACKOFF[0]

    async def join(self, group: str) -> None:
        """Become a member of a group, now or when the layer is there again."""
        self._groups.add(group)
        if self.layer is None:
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
        if self.layer is None or self.channel is None:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT):
                for group in groups:
                    await self.layer.group_discard(group, self.channel)
        except Exception as error:
            logger.debug("Could not leave the channel layer's groups: %s", error)

    async def receive(self) -> dict[str, Any]:
        while True:
            if self._broken:
                restored = await self._restore()
                if restored is not None:
                    return restored
            try:
                async with asyncio.timeout_at(self._next_beat) as until_beat:
                    return await self._layer_message()
            except Exception as error:
                if until_beat.expired():
                    self._next_beat = asyncio.get_running_loop().time() + self._beat_every
                    return {"type": "beat"}
                self._fail(error)

    async def _layer_message(self) -> dict[str, Any]:
        if self.layer is None:
            await asyncio.Event().wait()
        if self.channel is None:
            self.channel = await self.layer.new_channel()
        message: dict[str, Any] = await self.layer.receive(self.channel)
        return message

    async def _add(self, group: str) -> None:
        async with asyncio.timeout(JOIN_TIMEOUT):
            if self.channel is None:
                self.channel = await self.layer.new_channel()
            await self.layer.group_add(group, self.channel)

    async def _restore(self) -> dict[str, Any] | None:
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the consumers
        self._delay = min(self._delay * 2, BACKOFF[1])
        try:
            for group in list(self._groups):
                await self._add(group)
        except Exception as error:
            self._fail(error)
            return None
        self._broken, self._delay = False, BACKOFF[0]
        return {"type": "line.restored"}

    def _fail(self, error: Exception) -> None:
        if not self._broken:
            logger.warning("The channel layer failed, a socket goes on without: %s: %s", type(error).__name__, error)
        self._broken = True
