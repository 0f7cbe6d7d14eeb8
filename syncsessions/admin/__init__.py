"""The admin's pages."""

from syncsessions.admin import connections, processes, sessions, slices, sync_sessions

__all__ = ["connections", "processes", "sessions", "slices", "sync_sessions"]
