"""A channel layer that loses more than the real ones do."""

from __future__ import annotations

import random
from typing import Any

from django.utils.module_loading import import_string


class LossyLayer:
    """Another layer, made of BACKEND and CONFIG, that loses the share `loss` of its messages without a word."""

    def __init__(self, BACKEND: str, CONFIG: dict[str, Any], loss: float) -> None:  # noqa: N803 - as settings have them
        self.inner = import_string(BACKEND)(**CONFIG)
        self.loss = loss
        self.sent = 0
        self.lost = 0
        self._chance = random.Random()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if not self._loses():
            await self.inner.send(channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if not self._loses():
            await self.inner.group_send(group, message)

    def _loses(self) -> bool:
        self.sent += 1
        loses = self._chance.random() < self.loss
        self.lost += loses
        return loses
