"""What the other sites have said lately, for pages that poll: each is asked once, however many pages there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from syncsessions.connections.models import Connection
from syncsessions.connections.status import can_be_asked, fetch_peer_statuses

KEPT_FOR = 60.0  # seconds


class _Answer(NamedTuple):
    status: str
    local: str
    """The status here when it was asked."""
    until: float


class Answers:
    """Of one process: a thread at most asks, and whoever polls meanwhile waits for what it brings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[UUID, _Answer] = {}
        self._thread: threading.Thread | None = None

    def known(self, connections: Iterable[Connection]) -> dict[UUID, str]:
        """What is known of these; the others' sites are asked in the background."""
        found, due, now = {}, [], time.monotonic()
        with self._lock:
            for connection in connections:
                answer = self._kept.get(connection.pk)
                if answer is not None and answer.until > now and answer.local == connection.status:
                    found[connection.pk] = answer.status
                elif can_be_asked(connection):
                    due.append(connection)
            if due and (self._thread is None or not self._thread.is_alive()):
                self._kept = {pk: answer for pk, answer in self._kept.items() if answer.until > now}
                self._thread = threading.Thread(target=self._ask, args=[due], name="syncsessions-answers", daemon=True)
                self._thread.start()
        return found

    def _ask(self, connections: list[Connection]) -> None:
        local = {connection.pk: connection.status for connection in connections}
        for pk, status in fetch_peer_statuses(connections):
            with self._lock:
                self._kept[pk] = _Answer(status, local[pk], time.monotonic() + KEPT_FOR)


answers = Answers()
