"""The rules of access, one by one and in their order."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from syncsessions.connections import gate

NOON = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
REFUSING: dict[str, dict[str, Any]] = {
    "not_active": {"status": "suspended"},
    "expired": {},
    "download_limit": {"max_downloads": 3, "downloads_used": 3},
    "record_limit": {"max_records_total": 10, "records_downloaded": 11},
    "ip_not_allowed": {"ip_allowlist": ["192.0.2.0/24"]},
    "outside_hours": {"allowed_hours_start": 13, "allowed_hours_end": 14},
}


def rules(**fields: Any) -> Any:
    open_to_all: dict[str, Any] = {
        "status": "active",
        "max_downloads": None,
        "downloads_used": 5,
        "max_records_total": None,
        "records_downloaded": 5,
        "ip_allowlist": [],
        "allowed_hours_start": None,
        "allowed_hours_end": None,
    }
    return SimpleNamespace(**{**open_to_all, **fields})


def judge(*codes: str) -> str | None:
    fields = {name: value for code in codes for name, value in REFUSING[code].items()}
    return gate.refusal(rules(**fields), expired="expired" in codes, address="198.51.100.7", at=NOON)


def test_nothing_refuses_where_there_are_no_rules() -> None:
    assert judge() is None


@pytest.mark.parametrize("code", REFUSING)
def test_each_rule_alone(code: str) -> None:
    assert judge(code) == code


@pytest.mark.parametrize("first", range(len(REFUSING)))
def test_the_first_rule_that_refuses_is_named(first: int) -> None:
    codes = list(REFUSING)[first:]
    assert judge(*codes) == codes[0]


@pytest.mark.parametrize("status", ["pending", "suspended", "revoked", "expired"])
def test_only_active_passes(status: str) -> None:
    assert gate.refusal(rules(status=status), expired=False, address=None, at=NOON) == "not_active"


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_of_nothing_is_one(limit: int) -> None:
    found = gate.refusal(rules(max_downloads=limit, downloads_used=limit), expired=False, address=None, at=NOON)
    assert found == "download_limit"


@pytest.mark.parametrize(
    ("start", "end", "passing"),
    [
        (9, 17, range(9, 18)),
        (22, 6, [22, 23, *range(7)]),
        (5, 5, [5]),
        (0, 23, range(24)),
        (None, 5, range(24)),
        (5, None, range(24)),
        (0, 0, [0]),
    ],
)
def test_hours(start: int | None, end: int | None, passing: Any) -> None:
    assert [hour for hour in range(24) if gate.is_within(hour, start, end)] == sorted(passing)


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("192.0.2.9", ["192.0.2.0/24"], True),
        ("192.0.3.9", ["192.0.2.0/24"], False),
        ("192.0.2.9", ["192.0.2.9"], True),
        ("192.0.2.9", ["192.0.2.8/24"], True),
        ("::ffff:192.0.2.9", ["192.0.2.0/24"], True),
        ("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"], True),
        ("2001:db8::1", ["0.0.0.0/0"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        (None, ["0.0.0.0/0", "::/0"], False),
        ("", ["0.0.0.0/0"], False),
        ("nonsense", ["0.0.0.0/0"], False),
        (None, [], True),
    ],
)
def test_networks(address: str | None, networks: list[str], allowed: bool) -> None:
    assert gate.is_allowed(address, networks) == allowed
