"""The admin's pages."""

from syncsessions.admin import processes, sessions, slices, sync_sessions

__all__ = ["processes", "sessions", "slices", "sync_sessions"]
