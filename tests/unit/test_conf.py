"""The SYNCSESSIONS setting: defaults, and what tests change is read again."""

from __future__ import annotations

import pytest
from django.test import override_settings

from syncsessions import conf

DEFAULTS = {
    "STORES": {"default": {"BACKEND": "syncsessions.stores.memory.MemoryStore"}},
    "STASH_TTL": 30 * 24 * 3600,
    "STASH_INVALID_VALUE": "raise",
    "PROCESS_CLASS": "syncsessions.processes.DefaultProcess",
    "STASH_CLIENT_VIEWS": [],
    "PROCESS_TTL": 3600,
    "MAX_PROCESSES": 10_000,
    "PROCESS_START_RATE": None,
    "PAIRING_LEASE": 30,
    "PAIRING_MAX_SESSIONS": 10_000,
    "PAIRING_MAX_PER_USER": 5,
    "PAIRING_GUESS_RATE": "10/m",
    "SITE_URL": None,
    "INCOMING_MODE": "require_approval",
    "INCOMING_PASSWORD": None,
    "TRUSTED_PROXIES": [],
    "ALLOW_PRIVATE_SITE_URLS": False,
}


def test_names_and_defaults() -> None:
    assert conf.NAMES == DEFAULTS.keys()
    with override_settings(SYNCSESSIONS={}):
        for name, value in DEFAULTS.items():
            found = getattr(conf.current(), name)
            assert (list(found) if isinstance(value, list) else found) == value, name


def test_read_again_when_changed() -> None:
    before = conf.current().STASH_TTL
    with override_settings(SYNCSESSIONS={"STASH_TTL": 5}):
        assert conf.current().STASH_TTL == 5
        with override_settings(SYNCSESSIONS={"STASH_TTL": None}):
            assert conf.current().STASH_TTL is None
    assert conf.current().STASH_TTL == before


@pytest.mark.parametrize("value", [None, [], "STASH_TTL", {"UNKNOWN": 1}])
def test_what_is_wrong_is_for_the_check_to_say(value: object) -> None:
    with override_settings(SYNCSESSIONS=value):
        assert conf.current() == conf.Settings()


def test_secrets_stay_out_of_the_repr() -> None:
    with override_settings(SYNCSESSIONS={"INCOMING_PASSWORD": "pbkdf2_secret"}):
        assert "pbkdf2_secret" not in repr(conf.current())
