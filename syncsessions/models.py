"""The app's models, gathered from the rooms that own them."""

from syncsessions.stash.models import StashOwner, StashSlice

__all__ = ["StashOwner", "StashSlice"]
