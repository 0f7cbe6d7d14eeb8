"""Connections for the tests, on each database in turn, and what was told of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import router

from syncsessions.connections import issuing, tokens
from syncsessions.models import Connection, ConnectionInvitation, ConnectionNotice
from syncsessions.signals import connection_severed, connection_status_changed


def a_connection(direction: str = "sender", status: str = "active", **fields: Any) -> Connection:
    """A row that has been handed over, and whose peer can be called."""
    row = Connection(
        name="B",
        direction=direction,
        status=status,
        site_url=fields.pop("site_url", f"https://{secrets.token_hex(8)}.example/sync"),
    )
    row.peer_token = fields.pop("peer_token", tokens.draw())
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    return row


def issued(row: Connection) -> str:
    """A token that the peer of this row may present."""
    return issuing.issue(router.db_for_write(Connection), row)


def notices(row: Connection) -> list[tuple[str, str, int]]:
    """What the peer is yet to be told: status, reason and seq, in order."""
    rows = ConnectionNotice.objects.filter(connection_pk=row.pk).order_by("pk")
    return list(rows.values_list("status", "reason", "seq"))


def history(row: Connection) -> list[tuple[str, str, bool]]:
    return list(row.changes.order_by("pk").values_list("previous", "status", "by_peer"))


@pytest.fixture
def links(database: str) -> Iterator[str]:
    """The alias of each database in turn, its connections cleared away afterwards."""
    yield database
    for model in (ConnectionNotice, ConnectionInvitation):
        model.objects.all().delete()
    Connection.objects.all().delete()
    ConnectionNotice.objects.all().delete()


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """What `connection_status_changed` and `connection_severed` said."""
    heard: list[dict[str, Any]] = []

    def hear(sender: Any, signal: Any, **named: Any) -> None:
        heard.append({"severed": signal is connection_severed, **named})

    for signal in (connection_status_changed, connection_severed):
        signal.connect(hear)
    yield heard
    for signal in (connection_status_changed, connection_severed):
        signal.disconnect(hear)
