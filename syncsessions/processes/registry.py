"""The process classes that this Python process knows, and the sessions that somebody in it listens to."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from syncsessions.processes.names import path_of, split

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess
    from syncsessions.processes.steps import SessionSteps
    from syncsessions.stores.record import Record

logger = logging.getLogger("syncsessions.processes")

local: dict[tuple[str, str], SessionSteps] = {}
"""By record's id and life."""
making = threading.RLock()  # the end of a forgotten watch may come while it is held
"""Held for moments only, by whoever makes what there is to be one of."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=making.acquire, after_in_parent=making.release, after_in_child=making.release)
_classes: weakref.WeakValueDictionary[str, type[SessionProcess]] = weakref.WeakValueDictionary()


def add(path: str, process: type[SessionProcess]) -> None:
    _classes[path] = process


def known_classes() -> list[type[SessionProcess]]:
    """Those that were imported so far."""
    return list(_classes.values())


def known_class(path: str) -> type[SessionProcess] | None:
    """The class of a record's path, if it was imported so far."""
    return _classes.get(path)


def class_of(record: Record) -> type[SessionProcess] | None:
    """The process class of one of our records, imported where that is possible."""
    path = split(record.id)[0]
    if path not in _classes:
        try:
            import_string(path_of(record))  # a process class makes itself known
        except ImportError:
            return None
        except Exception as error:  # whatever a module may raise: the other sessions are not to suffer
            logger.error("The process class %s cannot be imported", path_of(record), exc_info=error)
            return None
    return _classes.get(path)
