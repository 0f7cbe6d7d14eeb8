"""The demo's sockets: an order that moves to another device, a drawing that two make, the shop's basket."""

from __future__ import annotations

from project.demo.basket import SELECTORS, Basket
from project.demo.stashes import ORDER_STASHES
from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.handover import HandoverConsumer


class OrderHandover(HandoverConsumer):
    """The order, and nothing else that this browser has stashed."""

    views = [stash.view for stash in ORDER_STASHES]


class Drawing(SyncSessionConsumer):
    """A plain relay. Visitors without a name may open one too."""

    open_requires_login = False


class BasketConsumer(SessionProcessConsumer):
    """The browser's basket: what is in it, how much that is, and what things cost."""

    process_class = Basket
    selectors = SELECTORS
