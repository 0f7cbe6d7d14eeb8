"""The channel layer as a doorbell: it tells other workers that something changed, and may fail to.

The truth is in the store or the database, so a ring is never waited for: one loop sends all of a process's rings, a
later ring of the same bell takes the place of one that waits, and what the layer refuses is logged and forgotten.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.core.signals import setting_changed
from django.dispatch import receiver

from syncsessions.signals import doorbell_rung, emit

logger = logging.getLogger("syncsessions.doorbell")
SEND_TIMEOUT = 2.0  # seconds for one ring
MOST_WAITING = 10_000
LAST_CALL = 1.0  # seconds that a process that exits gives its last rings


class _Ringer:
    """Sends the rings of one event loop, in order, each bell's newest only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: dict[tuple[str, object], tuple[Any, dict[str, Any]]] = {}
        self.task: asyncio.Task[None] | None = None
        self.refused = False
        self.idle = threading.Event()
        self.idle.set()

    def add(self, layer: Any, group: str, bell: object, message: dict[str, Any]) -> None:
        if (group, bell) in self.waiting or len(self.waiting) < MOST_WAITING:
            self.waiting[group, bell] = (layer, message)
        if self.task is None:
            self.idle.clear()
            self.task = self.loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self.waiting:
                key = next(iter(self.waiting))
                layer, message = self.waiting.pop(key)
                await self._send(layer, key[0], message)
        finally:
            self.task = None
            self.idle.set()

    async def _send(self, layer: Any, group: str, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await layer.group_send(group, message)
        except Exception as error:
            if not self.refused:  # once, however many rings are lost until the layer is back
                logger.warning("The channel layer does not take rings: %s: %s", type(error).__name__, error)
            self.refused = True
            return
        if self.refused:
            logger.info("The channel layer takes rings again")
        self.refused = False
        if doorbell_rung.receivers:
            emit(doorbell_rung, type(layer), group=group, message=message)


_ringers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Ringer] = weakref.WeakKeyDictionary()
_listening: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
_background: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def listen() -> None:
    """Say that consumers listen on the running loop: the in-memory layer wakes nobody across loops."""
    _listening.add(asyncio.get_running_loop())


def ring(group: str, message: Mapping[str, Any], bell: object = None) -> None:
    """Ring `group` with `message`, from any thread, without waiting. `bell` names what may be merged into one ring."""
    try:
        layer = get_channel_layer() if _has_layer() else None
        loop = None if layer is None else _loop_for(layer)
        if loop is not None:
            loop.call_soon_threadsafe(_add, loop, layer, group, bell, dict(message))
    except Exception as error:  # a layer that cannot be imported, a loop that was closed meanwhile
        logger.warning("The doorbell could not be rung: %s: %s", type(error).__name__, error)


@lru_cache(maxsize=1)
def _has_layer() -> bool:
    """Without a layer Channels raises and catches two errors to say so, which would be a tenth of a write."""
    return get_channel_layer() is not None


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "CHANNEL_LAYERS":
        _has_layer.cache_clear()


def _add(loop: asyncio.AbstractEventLoop, *ring: Any) -> None:
    ringer = _ringers.get(loop)
    if ringer is None:
        ringer = _ringers[loop] = _Ringer(loop)
    ringer.add(*ring)


def _loop_for(layer: Any) -> asyncio.AbstractEventLoop | None:
    if isinstance(layer, InMemoryChannelLayer):
        live = [loop for loop in _listening if not loop.is_closed()]
        running = asyncio._get_running_loop()
        return running if running in live else next(iter(live), None)
    return _background_loop()


def _background_loop() -> asyncio.AbstractEventLoop:
    global _background
    with _lock:
        if _background is None:
            loop = _background = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="syncsessions-doorbell", daemon=True).start()
            atexit.register(_finish, loop)
        return _background


def _start_anew() -> None:
    """In a forked child: the loop's thread stayed behind, and so did whoever may have held the lock."""
    global _background, _lock
    if _background is not None:
        atexit.unregister(_finish)
    _background, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    flushed = threading.Event()
    loop.call_soon_threadsafe(flushed.set)
    if flushed.wait(LAST_CALL) and loop in _ringers:
        _ringers[loop].idle.wait(LAST_CALL)
