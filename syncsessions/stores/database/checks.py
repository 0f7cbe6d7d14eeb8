"""System checks of a database store: a configuration that cannot work, or not as promised."""

from __future__ import annotations

import sqlite3

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution
from django.db import connections

from syncsessions.stores.database.dialects import DIALECTS

RETURNING = (3, 35)  # the SQLite that knows it


def check(store: str, using: str) -> list[CheckMessage]:
    if using not in connections.settings:
        return [
            Error(
                f"The store {store!r} is to use the database {using!r}, which DATABASES does not have.",
                hint=f'Write OPTIONS {{"using": …}} with one of {", ".join(sorted(connections.settings))}.',
                id="syncsessions.E007",
            )
        ]
    connection = connections[using]
    if connection.vendor not in DIALECTS:
        return [
            Error(
                f"The store {store!r} does not know the database {connection.vendor!r}.",
                hint=f'Let OPTIONS["using"] name one of {", ".join(sorted(DIALECTS))}.',
                id="syncsessions.E007",
            )
        ]
    if connection.vendor == "sqlite" and sqlite3.sqlite_version_info < RETURNING:
        return [
            Error(
                f"SQLite {sqlite3.sqlite_version} is too old for the store {store!r}.",
                hint="It needs SQLite 3.35 or later.",
                id="syncsessions.E007",
            )
        ]
    found: list[CheckMessage] = []
    if connection.settings_dict["ATOMIC_REQUESTS"]:
        found.append(
            Caution(
                f"ATOMIC_REQUESTS is on for the database {using!r} of the store {store!r}: what a request claims or "
                "counts there is provisional until the request's end, and others wait for it.",
                hint=f'Let OPTIONS["using"] name a second alias of the same database without ATOMIC_REQUESTS, or '
                f"decorate the views that write to the store: @transaction.non_atomic_requests(using={using!r}).",
                id="syncsessions.W009",
            )
        )
    if connection.vendor != "sqlite" and not connection.settings_dict["OPTIONS"].get("connect_timeout"):
        found.append(
            Caution(
                f"The database {using!r} of the store {store!r} has no connect timeout: while its server cannot be "
                "reached, requests and sockets hang.",
                hint=f'DATABASES[{using!r}]["OPTIONS"] = {{"connect_timeout": 3}}  # seconds',
                id="syncsessions.W010",
            )
        )
    return found
