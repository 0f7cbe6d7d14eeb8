"""Whose slices: names for people, and what an owner's slices amount to, both looked up once for a whole page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Count, Func, IntegerField, Max, Min, Q, Sum
from django.utils.translation import gettext as _

from syncsessions.stash.models import StashSlice
from syncsessions.stash.rows import Owner

HASH_SHOWN = 12  # hex digits: enough to tell sessions apart, too few to be worth anything
LEAST_DIGITS = 4
MOST_USERS = 500


class JSONBytes(Func):
    """The bytes of a JSON column's text."""

    output_field = IntegerField()
    template = "LENGTH(%(expressions)s)"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, template="OCTET_LENGTH((%(expressions)s)::text)", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, template="LENGTH(CAST(%(expressions)s AS BLOB))", **context)


AGGREGATES: dict[str, Any] = {
    "views": Count("view_hash", distinct=True),
    "slices": Count("pk"),
    "bytes": Sum(JSONBytes("data")),
    "created": Min("created_at"),
    "seen": Max("last_seen_at"),
}


class Summary(NamedTuple):
    """What an owner's slices amount to; field by field an entry of AGGREGATES."""

    views: int
    slices: int
    bytes: int
    created: datetime
    seen: datetime


def summaries(hashes: Iterable[str]) -> dict[str, Summary]:
    """One query for all of these owners."""
    found = StashSlice.objects.filter(owner__in=set(hashes)).order_by().values("owner").annotate(**AGGREGATES)
    return {owner: Summary(*values) for owner, *values in found.values_list("owner", *Summary._fields)}


def user_names(user_pks: Iterable[str]) -> dict[str, str]:
    """The names of these users, as far as there are such users: one query, none for none."""
    users = get_user_model()
    keys = []
    for text in {text for text in user_pks if text}:
        try:
            keys.append(users._meta.pk.to_python(text))
        except (ValidationError, ValueError):
            continue  # the project has another user model now
    if not keys:
        return {}
    return {str(user.pk): user.get_username() for user in users._base_manager.filter(pk__in=keys)}


def label(row: StashSlice, names: dict[str, str]) -> str:
    """Who it is, for people: "session 3f2a9c81d0e2", a user's name, or "user 17" where there is none any more."""
    if not row.user_pk:
        return _("session %(hash)s") % {"hash": row.owner[:HASH_SHOWN]}
    return names.get(row.user_pk) or _("user %(pk)s") % {"pk": row.user_pk}


def owner_of(row: StashSlice) -> Owner:
    return Owner(row.owner, user_pk=row.user_pk)


def owned_by(term: str) -> Q:
    """Rows whose owner's hash starts with the term, or whose user's name contains it."""
    users = get_user_model()
    named = users._base_manager.filter(**{f"{users.USERNAME_FIELD}__icontains": term}).values_list("pk", flat=True)
    found = Q(user_pk__in=[str(pk) for pk in named[:MOST_USERS]])
    prefix = term.rstrip("…").lower()
    if len(prefix) >= LEAST_DIGITS and set(prefix) <= set("0123456789abcdef"):
        found |= Q(owner__startswith=prefix)
    return found
