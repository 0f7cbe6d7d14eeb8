"""One event loop per Python process for what outlives the call that began it: effects and debounce timers.

Work begins in an empty context: in that of a sync view, asgiref would have queries wait for the view's own thread.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any

_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def loop() -> asyncio.AbstractEventLoop:
    """The loop, running in a thread of its own, which does not hold up the end of the process."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="syncsessions-processes", daemon=True).start()
        return _loop


def start(work: Coroutine[Any, Any, Any]) -> Future[Any]:
    """Run a coroutine there."""
    return Context().run(asyncio.run_coroutine_threadsafe, work, loop())


def later(delay: float, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run what `work` makes there, so many seconds from now."""
    there = loop()

    def begin() -> None:
        task = there.create_task(work())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    Context().run(there.call_soon_threadsafe, lambda: there.call_later(max(delay, 0.0), begin))


_tasks: set[asyncio.Task[Any]] = set()  # a loop holds its tasks weakly


def _start_anew() -> None:
    """In a forked child: the thread stayed behind, and so did whoever may have held the lock."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
