"""Digests: of any text, different for each purpose and key."""

from __future__ import annotations

import hashlib

import pytest
from django.test import override_settings

from syncsessions.digests import fallback_digests, keyed_digest, text_hash


def test_text_hash_is_sha256_and_empty_for_empty() -> None:
    assert text_hash("Shop ") == hashlib.sha256(b"Shop ").hexdigest()
    assert text_hash("") == ""
    assert len({text_hash(text) for text in ["a", "A", "a ", " a", "ä", "a\u0308"]}) == 6


def test_keyed_digests_differ_by_purpose_key_and_text() -> None:
    found = {
        keyed_digest(purpose, text, key)
        for purpose in ("stash", "session-id")
        for text in ("a", "b", "")
        for key in ("one", "two", None)
    }
    assert len(found) == 18
    assert all(len(digest) == 32 for digest in found)


@pytest.mark.parametrize("secret", ["old", b"old"])
def test_a_key_may_be_bytes(secret: str | bytes) -> None:
    with override_settings(SECRET_KEY=secret):
        assert keyed_digest("stash", "text") == keyed_digest("stash", "text", "old")


def test_fallbacks_are_what_the_older_keys_made() -> None:
    with override_settings(SECRET_KEY="older"):
        older = keyed_digest("stash", "text")
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old", "older"]):
        assert fallback_digests("stash", "text")[1] == older
        assert keyed_digest("stash", "text") not in fallback_digests("stash", "text")
    with override_settings(SECRET_KEY_FALLBACKS=[]):
        assert fallback_digests("stash", "text") == []
