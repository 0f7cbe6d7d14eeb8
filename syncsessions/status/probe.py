"""Asking what may not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from django.db import connections

Answer_co = TypeVar("Answer_co", covariant=True)


class NoAnswer(Exception):
    """It did not answer within so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Probe(Generic[Answer_co]):
    """A question that is put in a thread of its own: many at once take as long as the slowest, and one that hangs,
    as a database without a connect timeout may for minutes, holds up nobody."""

    def __init__(self, ask: Callable[[], Answer_co]) -> None:
        self._ask = ask
        self._asked_at = time.monotonic()
        self._answered = threading.Event()
        self._answer: Answer_co
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="syncsessions-status", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:
            self._error = error
        finally:
            connections.close_all()
            self._answered.set()

    def answer(self, until: float) -> Answer_co:
        """The answer. Raises what asking raised, or `NoAnswer` at the moment `until` of the monotonic clock."""
        if not self._answered.wait(max(0.0, until - time.monotonic())):
            raise NoAnswer(until - self._asked_at)
        if self._error is not None:
            raise self._error
        return self._answer
