"""Ephemeral sync sessions: a short code joins an owner and a peer, and dies with its owner."""

from syncsessions.pairing.session import SyncSession
from syncsessions.pairing.sessions import sync_sessions

__all__ = ["SyncSession", "sync_sessions"]
