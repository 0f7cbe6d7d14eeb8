"""Digests by which SQL finds text: no collation folds the case or the blanks of a hash."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

from django.conf import settings


@lru_cache(maxsize=1024)
def text_hash(text: str) -> str:
    """SHA-256 of any text as 64 hex digits; empty for empty text."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


@lru_cache(maxsize=8)
def _key(purpose: str, secret: str | bytes) -> bytes:
    raw = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(raw, f"syncsessions.{purpose}".encode(), hashlib.sha256).digest()


def keyed_digest(purpose: str, text: str, secret: str | bytes | None = None) -> bytes:
    """HMAC-SHA256 of `text` under a key that derives from SECRET_KEY (or the given secret) for this purpose alone."""
    key = _key(purpose, settings.SECRET_KEY if secret is None else secret)
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def fallback_digests(purpose: str, text: str) -> list[bytes]:
    """The same under each of SECRET_KEY_FALLBACKS: what an older key made of this text."""
    return [keyed_digest(purpose, text, secret) for secret in settings.SECRET_KEY_FALLBACKS]
