"""Asking many at once: what is taken, when it is over, and what closing leaves."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from syncsessions.connections.calls import Cancel
from syncsessions.connections.enquiries import AT_ONCE, Enquiries, Over


def taken(enquiries: Enquiries[Any, Any]) -> list[Any]:
    found = []
    while True:
        try:
            found.append(enquiries.take(wait=True))
        except Over:
            return found


def test_every_answer_is_taken_once() -> None:
    enquiries: Enquiries[int, int] = Enquiries(lambda question, cancel: question * 2)
    enquiries.put(range(1, 500))
    assert sorted(taken(enquiries)) == list(range(2, 1000, 2))


def test_no_more_than_so_many_are_asked_at_once() -> None:
    release, full, lock = threading.Event(), threading.Event(), threading.Lock()
    asking, most = 0, 0

    def ask(question: int, cancel: Cancel) -> int:
        nonlocal asking, most
        with lock:
            asking += 1
            most = max(most, asking)
            if asking == AT_ONCE:
                full.set()
        assert release.wait(30)
        with lock:
            asking -= 1
        return question

    enquiries: Enquiries[int, int] = Enquiries(ask)
    enquiries.put(range(3 * AT_ONCE))
    assert full.wait(30)
    assert enquiries.take(wait=False) is None
    release.set()
    assert len(taken(enquiries)) == 3 * AT_ONCE
    assert most == AT_ONCE


def test_nothing_to_ask_is_over_at_once() -> None:
    enquiries: Enquiries[int, int] = Enquiries(lambda question, cancel: question)
    enquiries.put([])
    with pytest.raises(Over):
        enquiries.take(wait=False)


def test_the_bell_rings_for_every_answer_and_at_the_end() -> None:
    rings: list[int] = []
    ended = threading.Event()

    def ring() -> None:
        rings.append(1)
        if len(rings) == 4:  # three answers and the end of one thread at least
            ended.set()

    enquiries: Enquiries[int, int] = Enquiries(lambda question, cancel: question)
    enquiries.put([1, 2, 3], ring)
    assert ended.wait(30)
    assert sorted(taken(enquiries)) == [1, 2, 3]


def test_closing_cancels_and_forgets_answers_and_questions() -> None:
    asked: list[int] = []
    all_begun, cancelled = threading.Barrier(AT_ONCE + 1), threading.Event()

    def ask(question: int, cancel: Cancel) -> int:
        asked.append(question)
        with cancel.calling(cancelled.set):
            all_begun.wait(30)
            assert cancelled.wait(30)
        return question

    enquiries: Enquiries[int, int] = Enquiries(ask)
    enquiries.put(range(3 * AT_ONCE))
    threads = [thread for thread in threading.enumerate() if thread.name == "syncsessions-enquiry"]
    all_begun.wait(30)
    enquiries.close()
    for thread in threads:
        thread.join(30)
    assert len(asked) == AT_ONCE
    assert taken(enquiries) == []
    enquiries.put([-1])
    assert taken(enquiries) == []
    assert -1 not in asked


def test_fewer_threads_do_and_none_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = threading.Thread.start, [2]

    def start(thread: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        real(thread)

    release = threading.Event()

    def ask(question: int, cancel: Cancel) -> int:
        assert release.wait(30)
        return question

    monkeypatch.setattr(threading.Thread, "start", start)
    enquiries: Enquiries[int, int] = Enquiries(ask)
    enquiries.put(range(10))
    release.set()
    assert sorted(taken(enquiries)) == list(range(10))
    with pytest.raises(RuntimeError):
        Enquiries(ask).put([1])
