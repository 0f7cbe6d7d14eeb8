"""The admin's pages."""

from syncsessions.admin import sessions, slices

__all__ = ["sessions", "slices"]
