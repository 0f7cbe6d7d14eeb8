"""The rules of access to a connection, and the order in which they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

from syncsessions.connections.flow import ACTIVE


class Rules(Protocol):
    """What the gate has to know of a connection; None or an empty list is no limit."""

    status: str
    max_downloads: int | None
    downloads_used: int
    max_records_total: int | None
    records_downloaded: int
    ip_allowlist: Sequence[str] | None
    allowed_hours_start: int | None
    allowed_hours_end: int | None


def refusal(rules: Rules, *, expired: bool, address: str | None, at: datetime) -> str | None:
    """The code of the first rule that refuses, None where all let pass. `at` is in UTC, `expired` the same moment's
    answer on `expires_at`."""
    if rules.status != ACTIVE:
        return "not_active"
    if expired:
        return "expired"
    if _is_reached(rules.downloads_used, rules.max_downloads):
        return "download_limit"
    if _is_reached(rules.records_downloaded, rules.max_records_total):
        return "record_limit"
    if not is_allowed(address, rules.ip_allowlist):
        return "ip_not_allowed"
    if not is_within(at.hour, rules.allowed_hours_start, rules.allowed_hours_end):
        return "outside_hours"
    return None


def is_allowed(address: str | None, networks: Sequence[str] | None) -> bool:
    """Whether an address is in one of these networks; who has none is in none."""
    if not networks:
        return True
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in map(_network, networks) if network.version == found.version)


def is_within(hour: int, start: int | None, end: int | None) -> bool:
    """Whether an hour is one of those from `start` to `end`, both included; over midnight where `end` is smaller."""
    if start is None or end is None:
        return True
    return start <= hour <= end if start <= end else hour >= start or hour <= end


def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _is_reached(used: int, limit: int | None) -> bool:
    return limit is not None and used >= limit
