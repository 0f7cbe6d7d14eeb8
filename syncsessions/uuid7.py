"""Version 7 UUIDs, which sort by the time of their making (RFC 9562, section 5.7)."""

from __future__ import annotations

import secrets
import time
import uuid


def uuid7() -> uuid.UUID:
    """48 bits of milliseconds since 1970, then 74 random ones."""
    moment = time.time_ns() // 1_000_000 & (1 << 48) - 1
    value = moment << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return uuid.UUID(int=value)
