"""The app's models, gathered from the rooms that own them."""

from syncsessions.pairing.models import ActiveSyncSession
from syncsessions.stash.models import StashOwner, StashSlice
from syncsessions.stores.models import StoreCounter, StoreHit, StoreLogEntry, StoreRecord

__all__ = ["ActiveSyncSession", "StashOwner", "StashSlice", "StoreCounter", "StoreHit", "StoreLogEntry", "StoreRecord"]
