"""Bearer tokens: 32 random bytes, of which the side that verifies keeps no more than a SHA-256."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta

UNDER_WAY = timedelta(seconds=60)
"""As long as a call by which a token is offered may still be read at the other end."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def draw() -> str:
    """A new token: 43 url-safe characters."""
    return secrets.token_urlsafe(32)


def is_token(text: object) -> bool:
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def digest(token: str) -> str:
    """What may be kept of a token by which it is recognised: 64 hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()
