"""Durable per-view state: comes back after a reconnect, a crash, a redeploy; dies with the browser session."""

from syncsessions.stash.consumer import StashConsumerMixin
from syncsessions.stash.page import StashViewMixin, stashed
from syncsessions.stash.rows import Slice
from syncsessions.stash.session import StashSession
from syncsessions.stash.view import RECONNECT, SESSION, Recovery, ViewStash

__all__ = [
    "RECONNECT",
    "SESSION",
    "Recovery",
    "Slice",
    "StashConsumerMixin",
    "StashSession",
    "StashViewMixin",
    "ViewStash",
    "stashed",
]
