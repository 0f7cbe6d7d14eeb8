"""The demo's sync sessions: an order that moves to another device, and a drawing that two make."""

from __future__ import annotations

from project.demo.stashes import ORDER_STASHES
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.handover import HandoverConsumer


class OrderHandover(HandoverConsumer):
    """The order, and nothing else that this browser has stashed."""

    views = [stash.view for stash in ORDER_STASHES]


class Drawing(SyncSessionConsumer):
    """A plain relay. Visitors without a name may open one too."""

    open_requires_login = False
