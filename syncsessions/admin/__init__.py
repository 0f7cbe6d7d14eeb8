"""The admin's pages, a module for each room."""

from syncsessions.admin import stash

__all__ = ["stash"]
