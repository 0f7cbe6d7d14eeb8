"""One question put to many sites, so many at a time, and their answers in the order in which they arrive."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from syncsessions.connections.calls import Cancel

AT_ONCE = 64

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Over(Exception):
    """There will be no more answers."""


class Enquiries(Generic[Question, Answer]):
    """Asks in daemon threads that know nothing of who waits, so that they stop when that one is gone.

    `ask` raises nothing, takes a bounded time, and stops at once when the `Cancel` that it gets says so.
    """

    def __init__(self, ask: Callable[[Question, Cancel], Answer]) -> None:
        self._ask = ask
        self._cancel = Cancel()
        # It may be closed by the garbage collector, in a thread that holds it already.
        self._changed = threading.Condition(threading.RLock())
        self._questions: deque[Question] = deque()
        self._answers: deque[Answer] = deque()
        self._threads = 0
        self._ring: Callable[[], None] = _nothing

    def put(self, questions: Sequence[Question], ring: Callable[[], None] | None = None) -> None:
        """Begin to ask. `ring` is called, in any thread, when there may be something to `take`."""
        with self._changed:
            if self._cancel.cancelled:
                return
            self._ring = ring or _nothing
            self._questions.extend(questions)
            for _ in range(min(AT_ONCE, len(questions))):
                thread = threading.Thread(target=self._work, name="syncsessions-enquiry", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads to be had: those that there are do
                    if not self._threads:
                        raise
                    break
                self._threads += 1

    def take(self, *, wait: bool) -> Answer | None:
        """The next answer; None where there is none yet and one does not want to wait. Raises `Over`."""
        with self._changed:
            while not self._answers:
                if self._cancel.cancelled or not self._threads:
                    raise Over
                if not wait:
                    return None
                self._changed.wait()
            return self._answers.popleft()

    def close(self) -> None:
        """End what is under way and forget what was answered; who waits in `take` gets `Over`. Waits for nothing."""
        with self._changed:
            self._questions.clear()
            self._answers.clear()
            self._cancel.cancel()
            self._changed.notify_all()
        self._ring()

    def _work(self) -> None:
        try:
            while (question := self._next()) is not None:
                self._arrived(self._ask(question, self._cancel))
        finally:
            with self._changed:
                self._threads -= 1
                self._changed.notify_all()
            self._ring()

    def _next(self) -> Question | None:
        with self._changed:
            return self._questions.popleft() if self._questions else None

    def _arrived(self, answer: Answer) -> None:
        with self._changed:
            if not self._cancel.cancelled:
                self._answers.append(answer)
                self._changed.notify()
        self._ring()


def _nothing() -> None:
    pass
