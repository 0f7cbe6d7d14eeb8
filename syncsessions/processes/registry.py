"""The process classes that this Python process knows, and the sessions that somebody in it listens to."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from syncsessions.processes.process import SessionProcess
    from syncsessions.processes.steps import SessionSteps

local: dict[tuple[str, str], SessionSteps] = {}
"""By record's id and life."""
_classes: weakref.WeakValueDictionary[str, type[SessionProcess]] = weakref.WeakValueDictionary()


def add(path: str, process: type[SessionProcess]) -> None:
    _classes[path] = process


def known_classes() -> list[type[SessionProcess]]:
    """Those that were imported so far."""
    return list(_classes.values())


def known_class(path: str) -> type[SessionProcess] | None:
    """The class of a record's path, if it was imported so far."""
    return _classes.get(path)


def class_of(path: str) -> type[SessionProcess] | None:
    """The class of a record's path, imported where that is possible."""
    if path not in _classes and "." in path:
        try:
            import_string(path)  # a process class makes itself known
        except ImportError:
            return None
    return _classes.get(path)
