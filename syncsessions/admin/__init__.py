"""The admin's pages."""

from syncsessions.admin import sessions, slices, sync_sessions

__all__ = ["sessions", "slices", "sync_sessions"]
