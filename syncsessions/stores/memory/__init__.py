"""Records in this process's memory: for development, tests and sites that one process serves."""

from syncsessions.stores.memory.store import MemoryStore

__all__ = ["MemoryStore"]
