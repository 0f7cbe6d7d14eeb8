"""How a command that runs until it is told to end hears of it."""

from __future__ import annotations

import select
import signal
import socket
import time
from contextlib import ExitStack
from typing import Self


class Ending:
    """SIGTERM and SIGINT as something to wait for.

    Python writes each signal's number to a socket at once. A handler that sets an event would not do: it may interrupt
    the event's own lock, and a signal that comes just before the wait would be slept through.
    """

    SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._heard, told = (stack.enter_context(end) for end in socket.socketpair())
            told.setblocking(False)
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(told.fileno()))
            for number in self.SIGNALS:
                stack.callback(signal.signal, number, signal.signal(number, lambda *_received: None))
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._undo.close()

    def came_within(self, seconds: float) -> bool:
        """Whether one has come; waits for it for so long."""
        ends = time.monotonic() + seconds
        while not self._came:
            ready, _w, _x = select.select([self._heard], [], [], max(0.0, ends - time.monotonic()))
            if not ready:
                break
            self._came = not self.SIGNALS.isdisjoint(self._heard.recv(4096))
        return self._came
