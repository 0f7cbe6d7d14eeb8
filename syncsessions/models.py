"""The app's models, gathered from the rooms that own them."""

from syncsessions.connections.models import (
    Connection,
    ConnectionChange,
    ConnectionInvitation,
    ConnectionNotice,
    ConnectionToken,
)
from syncsessions.pairing.models import ActiveSyncSession
from syncsessions.processes.models import ActiveProcess
from syncsessions.stash.models import StashOwner, StashSlice
from syncsessions.stores.models import StoreCounter, StoreHit, StoreLogEntry, StoreRecord

__all__ = [
    "ActiveProcess",
    "ActiveSyncSession",
    "Connection",
    "ConnectionChange",
    "ConnectionInvitation",
    "ConnectionNotice",
    "ConnectionToken",
    "StashOwner",
    "StashSlice",
    "StoreCounter",
    "StoreHit",
    "StoreLogEntry",
    "StoreRecord",
]
