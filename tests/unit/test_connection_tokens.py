"""Tokens, secrets at rest and UUIDs that sort by time."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from syncsessions.connections import tokens
from syncsessions.secrets_at_rest import decrypted, encrypted
from syncsessions.uuid7 import uuid7


def test_tokens_are_43_url_safe_characters_of_32_bytes() -> None:
    drawn = {tokens.draw() for _ in range(100)}
    assert len(drawn) == 100
    assert all(tokens.is_token(token) for token in drawn)


@pytest.mark.parametrize(
    "text", [None, 7, "", "a" * 42, "a" * 44, "a" * 42 + "=", "ä" * 43, "a" * 42 + "\n", b"a" * 43]
)
def test_what_is_no_token(text: object) -> None:
    assert not tokens.is_token(text)


def test_secrets_are_read_again_for_their_purpose_only() -> None:
    kept = encrypted("one", "a secret")
    assert "secret" not in kept
    assert decrypted("one", kept) == "a secret"
    assert decrypted("two", kept) is None
    assert decrypted("one", "junk") is None
    assert decrypted("one", kept[:-4]) is None


def test_a_fallback_key_reads_what_an_older_key_wrote(settings: Any) -> None:
    kept = encrypted("one", "a secret")
    older, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert decrypted("one", kept) is None
    settings.SECRET_KEY_FALLBACKS = [older]
    assert decrypted("one", kept) == "a secret"


def test_uuids_are_of_version_7_and_carry_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(100)]
    after = time.time_ns() // 1_000_000
    assert {each.version for each in made} == {7}
    assert {each.variant for each in made} == {uuid.RFC_4122}
    assert all(before <= each.int >> 80 <= after for each in made)
    assert len(set(made)) == 100
