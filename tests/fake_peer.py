"""A site that a test plays: it hears what is asked of it, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from tests.misbehaving import Talk, misbehaving


class Heard(NamedTuple):
    method: str
    path: str
    token: str | None
    fields: dict[str, Any]


Play = Callable[[Talk], None]


class Peer:
    """`answer` is what comes after those in `next`: a function of the talk, or a status."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[Heard] = []
        self.next: list[Play | int] = []
        self.answer: Play | int = 200
        self._lock = threading.Lock()

    def play(self, talk: Talk) -> None:
        method, path, _ = talk.head.split(" ", 2)
        bearer = talk.header("Authorization")
        heard = Heard(
            method,
            path.removeprefix("/sync/"),
            bearer.removeprefix("Bearer ") if bearer else None,
            json.loads(talk.body) if talk.body else {},
        )
        with self._lock:
            self.heard.append(heard)
            answer = self.next.pop(0) if self.next else self.answer
        if isinstance(answer, int):
            talk.answer(answer, {} if answer < 300 else {"code": "whatever", "message": "no"})
        else:
            answer(talk)


def says(http: int, /, **fields: Any) -> Play:
    return lambda talk: talk.answer(http, fields)


def hangs(talk: Talk) -> None:
    talk.wait_until_gone()


def breaks_off(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{")


@contextmanager
def playing() -> Iterator[Peer]:
    found = Peer()
    with misbehaving(behave=found.play) as server:
        found.url = f"{server.origin}/sync"
        yield found


@pytest.fixture
def fake_peer(settings: Any) -> Iterator[Peer]:
    """A site at an address of this machine, which may be called."""
    settings.DEBUG = True
    settings.SYNCSESSIONS = {
        **settings.SYNCSESSIONS,
        "SITE_URL": "https://here.example/sync",
        "ALLOW_PRIVATE_SITE_URLS": True,
    }
    with playing() as found:
        yield found
