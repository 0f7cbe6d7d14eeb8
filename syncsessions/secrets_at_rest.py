"""Secrets that have to be read again: encrypted under keys that derive from SECRET_KEY, and from its fallbacks."""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def encrypted(purpose: str, text: str) -> str:
    """`text` as it may stand in a database."""
    return _fernet(purpose).encrypt(text.encode()).decode()


def decrypted(purpose: str, kept: str) -> str | None:
    """What was encrypted for this purpose; None for what no present key has encrypted."""
    try:
        return _fernet(purpose).decrypt(kept.encode()).decode()
    except InvalidToken:
        return None


def _fernet(purpose: str) -> MultiFernet:
    return MultiFernet([_under(purpose, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


@lru_cache(maxsize=32)
def _under(purpose: str, secret: str | bytes) -> Fernet:
    raw = secret.encode() if isinstance(secret, str) else secret
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"syncsessions.{purpose}".encode()).derive(raw)
    return Fernet(base64.urlsafe_b64encode(key))
