"""Delivery after a change, by the one thread that a process has for it."""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from typing import Any

from django.db import connections, router

from syncsessions.connections import delivery, notices
from syncsessions.connections.models import ConnectionNotice

_log = logging.getLogger("syncsessions.connections")


def watch() -> None:
    notices.left.connect(_on_notice, dispatch_uid="syncsessions.connections.soon")


def _on_notice(**_named: Any) -> None:
    deliver_soon()


def deliver_soon() -> None:
    """Begin to deliver what is due, in a thread of its own, of which a process has one at most."""
    alias = router.db_for_write(ConnectionNotice)
    connection: Any = connections[alias]
    if not (connection.vendor == "sqlite" and connection.is_in_memory_db()):  # that is a test's, and ends with it
        _soon.want(alias)


class _Elsewhere(Exception):
    """The alias leads to another database by now, as at the end of tests."""


class _Soon:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: tuple[str, object] | None = None
        self._running = False

    def want(self, alias: str) -> None:
        with self._lock:
            self._wanted = alias, _place(alias)
            if self._running:
                return
            self._running = True
        try:
            threading.Thread(target=self._run, name="syncsessions-outbox", daemon=True).start()
        except RuntimeError:  # there are no more threads to be had
            self._running = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._wanted is None:
                    self._running = False
                    return
                (alias, place), self._wanted = self._wanted, None
            try:
                _put_down(alias, place)
                delivery.deliver(looks=False, wait=partial(_put_down, alias, place))
            except _Elsewhere:
                pass
            except Exception as error:  # the next change, or the command, tries again
                _log.warning("Changes are not told to other sites now: %s", type(error).__name__)
            finally:
                connections.close_all()


def _place(alias: str) -> object:
    return connections.databases[alias]["NAME"]


def _put_down(alias: str, place: object) -> None:
    """Hold no database while a peer takes its time."""
    connections[alias].close()
    if _place(alias) != place:
        raise _Elsewhere


_soon = _Soon()


def _start_anew() -> None:
    """In a forked child: the thread stayed behind, and so did whoever may have held the lock."""
    global _soon
    _soon = _Soon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
