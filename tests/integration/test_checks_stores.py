"""System checks of the stores, and of the settings of the rooms that use them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from django.core import checks
from django.core.checks import Tags
from django.test import override_settings

from syncsessions import checks as ours
from syncsessions.stores import BaseStore
from tests.stores import DATABASES, configuration

MEMORY = {"BACKEND": "syncsessions.stores.memory.MemoryStore"}


class LoudStore(BaseStore):
    """Has something to say."""

    def execute(self, operation: Any) -> Any:
        raise AssertionError("a check needs no running backend")

    def check(self) -> list[checks.CheckMessage]:
        return [checks.Info(f"{self.alias} {self.location} {self.options}", id="tests.I001")]


LOUD = {"BACKEND": f"{__name__}.LoudStore", "LOCATION": "here", "OPTIONS": {"a": 1}}


def found(stores: Any, *, debug: bool = True) -> list[checks.CheckMessage]:
    with override_settings(SYNCSESSIONS={"STORES": stores}, DEBUG=debug):
        return ours.check_stores()


@pytest.mark.parametrize(
    "stores",
    [
        *(None, [], "memory", 7, {}, {"pairing": MEMORY}, {"default": None}, {"default": {}}, {"default": []}),
        *({"default": {"BACKEND": each}} for each in (None, 7, "", "memory", "no.such.Store", "syncsessions.stores.X")),
        {"default": {"BACKEND": "syncsessions.stores.stores"}},
        {"default": {"BACKEND": "syncsessions.stores.Record"}},
        {"default": {**MEMORY, "OPTIONS": ["a"]}},
        {"default": MEMORY, "pairing": {"BACKEND": "no.such.Store"}},
    ],
    ids=repr,
)
def test_stores_that_cannot_be_made(stores: Any) -> None:
    (message,) = found(stores)
    assert (message.id, message.level) == ("syncsessions.E005", checks.ERROR)
    assert message.hint


def test_a_bad_store_is_named() -> None:
    (message,) = found({"default": MEMORY, "pairing": {"BACKEND": "no.such.Store"}})
    assert "'pairing'" in message.msg
    assert "no" in message.msg


@pytest.mark.parametrize("stores", [{"default": MEMORY}, {"default": MEMORY, "processes": MEMORY, "own": MEMORY}])
def test_stores_that_can(stores: Any) -> None:
    assert found(stores) == []


def test_each_store_says_what_it_has_to_say() -> None:
    messages = found({"default": LOUD, "pairing": {**LOUD, "OPTIONS": None}, "bad": {}, "own": LOUD})
    assert [message.msg for message in messages if message.id == "tests.I001"] == [
        "default here {'a': 1}",
        "pairing here {}",
        "own here {'a': 1}",
    ]
    assert [message.id for message in messages].index("syncsessions.E005") == 2


def test_memory_reaches_one_process_only() -> None:
    (message,) = found({"default": MEMORY}, debug=False)
    assert (message.id, message.level) == ("syncsessions.W008", checks.WARNING)
    assert found({"default": MEMORY}) == []


@pytest.mark.parametrize("backend", ["redis", *DATABASES])
def test_other_stores_are_not_told_so(backend: str) -> None:
    messages = found({"default": configuration(backend)}, debug=False)
    assert "syncsessions.W008" not in [message.id for message in messages]
    assert all(message.level < checks.ERROR for message in messages)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PROCESS_TTL", [1, 0.5, 10**9]),
        ("PAIRING_LEASE", [30, 0.5]),
        ("MAX_PROCESSES", [0, 1, 10**9]),
        ("PAIRING_MAX_SESSIONS", [0, 1]),
        ("PAIRING_MAX_PER_USER", [0, 1]),
        ("PROCESS_START_RATE", [None, "100/m", "1/s", "5/h"]),
        ("PAIRING_GUESS_RATE", ["10/m"]),
        ("TRUSTED_PROXIES", [[], (), ["unix"], {"10.0.0.0/8", "::1"}, ["10.1.2.3/8"], [ip_network("10.0.0.0/8")]]),
    ],
)
def test_settings_that_will_do(name: str, values: list[Any]) -> None:
    for value in values:
        with override_settings(SYNCSESSIONS={name: value}):
            assert ours.check_settings() == [], value


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("PROCESS_TTL", [0, -1, None, "60", True, float("nan"), float("inf"), []]),
        ("PAIRING_LEASE", [0, -1, None, "60", True]),
        ("MAX_PROCESSES", [-1, None, 1.0, "10", True]),
        ("PAIRING_MAX_SESSIONS", [-1, None, 1.0, "10", True]),
        ("PAIRING_MAX_PER_USER", [-1, None, 1.0, "10", True]),
        ("PROCESS_START_RATE", ["", "100", "0/m", "100/d", 100, [], "100 / m"]),
        ("PAIRING_GUESS_RATE", [None, "", "10", "0/m", 10, {}, ["10/m"]]),
        ("TRUSTED_PROXIES", [None, "10.0.0.0/8", "unix", ["proxy"], ["10.0.0.0/33"], ["10.0.0.1:80"], [7], {"a": 1}]),
        ("STASH_TTL", [float("nan"), float("inf")]),
        ("STASH_CLIENT_VIEWS", [{"a": 1}, b"ab"]),
    ],
)
def test_settings_that_will_not(name: str, values: list[Any]) -> None:
    for value in values:
        with override_settings(SYNCSESSIONS={name: value}):
            (message,) = ours.check_settings()
        assert message.id == "syncsessions.E002", value
        assert name in message.msg


def test_it_is_registered() -> None:
    with override_settings(SYNCSESSIONS={"STORES": {}}):
        messages = checks.run_checks(tags=[Tags.compatibility])
    assert "syncsessions.E005" in [message.id for message in messages]
