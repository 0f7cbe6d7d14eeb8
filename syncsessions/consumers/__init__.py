"""The sockets. Each is imported when it is first asked for: some rooms use the line, the consumers use all rooms."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncsessions.consumers.process_mixin import ProcessConsumerMixin
    from syncsessions.consumers.session_process import SessionProcessConsumer
    from syncsessions.consumers.stash import StashConsumer
    from syncsessions.consumers.sync_admin import SyncAdminConsumer
    from syncsessions.consumers.sync_session import SyncSessionConsumer

__all__ = [
    "ProcessConsumerMixin",
    "SessionProcessConsumer",
    "StashConsumer",
    "SyncAdminConsumer",
    "SyncSessionConsumer",
]
_HOMES = {
    "ProcessConsumerMixin": "process_mixin",
    "SessionProcessConsumer": "session_process",
    "StashConsumer": "stash",
    "SyncAdminConsumer": "sync_admin",
    "SyncSessionConsumer": "sync_session",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
