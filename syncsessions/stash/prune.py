"""Removing slices that nobody has seen for long, in small steps beside the site's own work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Exists, ExpressionWrapper, OuterRef, Q, QuerySet, Value
from django.utils import timezone

from syncsessions import conf
from syncsessions.stash.models import StashSlice
from syncsessions.stash.sql import run
from syncsessions.stash.sql.base import Statements

SUPERSEDED_AFTER = timedelta(days=7)
BATCH = 1000

CLOCKS = {"postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'", "mysql": "SELECT UTC_TIMESTAMP(6)"}


class Pruned(NamedTuple):
    """How many slices went: not seen for STASH_TTL, and of a version that a later written one had superseded."""

    unseen: int
    superseded: int


class _Window(NamedTuple):
    """What is to go among the next `BATCH` rows, and the last primary key of them; None at the table's end."""

    end: int | None
    unseen: list[int]
    superseded: list[int]


def prune(
    now: datetime | None = None,
    dry_run: bool = False,
    batch: int = BATCH,
    stop: Callable[[], bool] = lambda: False,
) -> Pruned:
    """Remove slices not seen for STASH_TTL, and superseded versions not seen for a week.

    Walks the primary key `batch` rows at a time; each delete is a short statement of its own that looks again whether
    the row is still unseen, so that one that came back to life meanwhile stays. With `dry_run` only counts. Ends early
    when `stop()` says so. `now` is the database's own time if not given. No open page is rung for what goes: nobody has
    seen it for days. Raises `StoreUnavailable`; what was removed until then stays removed.
    """
    ttl = conf.current().STASH_TTL
    moment = run(_database_now) if now is None else now
    unseen_since = None if ttl is None else moment - timedelta(seconds=ttl)
    superseded_since = moment - SUPERSEDED_AFTER
    unseen = superseded = 0
    last: int | None = None
    while not stop():
        start = last

        def read(connection: BaseDatabaseWrapper, _statements: Statements, start: int | None = start) -> _Window:
            return _window(connection, start, batch, unseen_since, superseded_since)

        window = run(read)
        if dry_run:
            unseen, superseded = unseen + len(window.unseen), superseded + len(window.superseded)
        else:
            if unseen_since is not None:
                unseen += _delete(window.unseen, unseen_since)
            superseded += _delete(window.superseded, superseded_since)
        last = window.end
        if last is None:
            break
    return Pruned(unseen, superseded)


def _window(
    connection: BaseDatabaseWrapper,
    start: int | None,
    batch: int,
    unseen_since: datetime | None,
    superseded_since: datetime,
) -> _Window:
    rows = _slices(connection).order_by("pk")
    if start is not None:
        rows = rows.filter(pk__gt=start)
    later = (
        _slices(connection)
        .filter(owner=OuterRef("owner"), view_hash=OuterRef("view_hash"), tab_hash=OuterRef("tab_hash"))
        .filter(
            Q(written_at__gt=OuterRef("written_at")) | Q(written_at=OuterRef("written_at"), vsn__gt=OuterRef("vsn"))
        )
    )
    judged = rows.annotate(
        unseen=Value(False) if unseen_since is None else _whether(Q(last_seen_at__lt=unseen_since)),
        superseded=_whether(Q(last_seen_at__lt=superseded_since) & Exists(later)),
    ).values_list("pk", "unseen", "superseded")[:batch]
    found = list(judged)
    return _Window(
        found[-1][0] if len(found) == batch else None,
        [pk for pk, unseen, _superseded in found if unseen],
        [pk for pk, unseen, superseded in found if superseded and not unseen],
    )


def _delete(pks: list[int], since: datetime) -> int:
    """Remove those of the rows that are still unseen since then."""

    def work(connection: BaseDatabaseWrapper, _statements: Statements) -> int:
        # Not `delete()`: where a project listens to all models' deletions it fetches first, then deletes by id alone.
        return _slices(connection).filter(pk__in=pks, last_seen_at__lt=since)._raw_delete(connection.alias)

    return run(work) if pks else 0


def _slices(connection: BaseDatabaseWrapper) -> QuerySet[StashSlice]:
    return StashSlice.objects.using(connection.alias)


def _whether(condition: Any) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(condition, output_field=BooleanField())


def _database_now(connection: BaseDatabaseWrapper, _statements: Statements) -> datetime:
    """The database's time as a value that Django compares with its columns, whatever the time zones."""
    if connection.vendor not in CLOCKS:  # SQLite's clock is this machine's
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(CLOCKS[connection.vendor])
        now: datetime = cursor.fetchone()[0].replace(tzinfo=UTC)
    return now if settings.USE_TZ else timezone.make_naive(now, timezone.get_default_timezone())
