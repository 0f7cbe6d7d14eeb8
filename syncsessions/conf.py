"""The SYNCSESSIONS setting, read once, typed, and read again when tests change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver


def _memory_store() -> dict[str, dict[str, Any]]:
    return {"default": {"BACKEND": "syncsessions.stores.memory.MemoryStore"}}


@dataclass(frozen=True)
class Settings:
    """Names, meanings and defaults are the contract's; times are seconds, rates are `"n/s|m|h"`."""

    STORES: Mapping[str, Mapping[str, Any]] = field(default_factory=_memory_store, repr=False)
    STASH_TTL: float | None = 30 * 24 * 3600
    STASH_INVALID_VALUE: str = "raise"
    STASH_CLIENT_VIEWS: Sequence[str] = ()
    PROCESS_CLASS: str = "syncsessions.processes.DefaultProcess"
    PROCESS_TTL: float = 3600
    MAX_PROCESSES: int = 10_000
    PROCESS_START_RATE: str | None = None
    PAIRING_LEASE: float = 30
    PAIRING_MAX_SESSIONS: int = 10_000
    PAIRING_MAX_PER_USER: int = 5
    PAIRING_GUESS_RATE: str = "10/m"
    SITE_URL: str | None = None
    INCOMING_MODE: str = "require_approval"
    INCOMING_PASSWORD: str | None = field(default=None, repr=False)
    TRUSTED_PROXIES: Sequence[str] = ()
    ALLOW_PRIVATE_SITE_URLS: bool = False


NAMES = frozenset(item.name for item in fields(Settings))


def given() -> dict[str, Any]:
    """What the project's settings say, unknown keys included (the system check names those)."""
    value = getattr(settings, "SYNCSESSIONS", None)
    return dict(value) if isinstance(value, Mapping) else {}


@lru_cache(maxsize=1)
def current() -> Settings:
    """The settings in force."""
    return Settings(**{name: value for name, value in given().items() if name in NAMES})


@receiver(setting_changed)
def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "SYNCSESSIONS":
        current.cache_clear()
