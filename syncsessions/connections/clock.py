"""The database's time, as its columns hold it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connections
from django.utils import timezone

from syncsessions.stores.database.dialects import dialect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(alias: str) -> int:
    """Microseconds since 1970 by this database's clock."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {dialect(connection).clock}")
        return int(cursor.fetchone()[0])


def now(alias: str) -> datetime:
    """The moment by this database's clock: aware, or local and naive where USE_TZ is off."""
    return as_kept(_EPOCH + timedelta(microseconds=micros(alias)))


def as_kept(moment: datetime) -> datetime:
    """A moment as it compares with those of the columns."""
    if settings.USE_TZ:
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    return timezone.make_naive(moment) if timezone.is_aware(moment) else moment


def in_utc(moment: datetime) -> datetime:
    return (moment if timezone.is_aware(moment) else timezone.make_aware(moment)).astimezone(UTC)
