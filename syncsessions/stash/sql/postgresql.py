"""PostgreSQL: jsonb's `||` is the shallow merge, `-` and `?|` take keys as an array."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from syncsessions.stash.rows import Owner
from syncsessions.stash.sql.upserting import Dialect, Upserting

MERGED = "{under} || {over}"
UPDATED = "data || %s::jsonb"


class PostgreSQL(Upserting):
    def __init__(self) -> None:
        super().__init__(
            Dialect(
                now="clock_timestamp()",
                json="%s::jsonb",
                merge=f"{MERGED} WHERE octet_length(({MERGED})::text) <= %s",
                merge_or_fail=f"CASE WHEN octet_length(({MERGED})::text) <= %s THEN {MERGED} END",
                update=f"{UPDATED} WHERE octet_length(({UPDATED})::text) <= %s",
                changes_in_update=2,
                without="data - %s::text[]",
                has_any="data ?| %s::text[]",
            )
        )

    def keys_param(self, keys: Sequence[str]) -> object:
        return list(keys)

    def lock_owner(self, connection: BaseDatabaseWrapper, owner: Owner) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"syncsessions.{owner.hash}"])
