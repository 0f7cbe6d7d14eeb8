"""What is compared: `merge`, and what a project would do without the stash. Each is a function that does one write.

Every rival keeps the same slice of 1 KB for the same number of owners, sets one of its ten keys, and commits.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable
from typing import Any

from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, models

from syncsessions.json_values import judge
from syncsessions.stash import StashSession, ViewStash

Operation = Callable[[], object]

OWNERS = 100
VIEW = "shop.checkout"
_WORDS = "the order goes to my neighbour on the third floor if nobody answers ring twice and wait please".split()


def some_text() -> str:
    """About 85 characters that compress as prose does (Django's sessions are compressed)."""
    return " ".join(secrets.choice(_WORDS) for _ in range(18))[:85].ljust(85, ".")


SLICE = {f"field_{number}": some_text() for number in range(10)}
_changes = itertools.cycle([{f"field_{number % 10}": some_text()} for number in range(97)])


class Draft(models.Model):
    """The table that a project would make for itself: one row for each owner."""

    owner = models.CharField(max_length=64, primary_key=True)
    data = models.JSONField()
    revision = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "benchmarks"
        db_table = "benchmarks_draft"

    def __str__(self) -> str:
        return self.owner


class CheckoutStash(ViewStash):
    view = VIEW
    keys = list(SLICE)


def rivals() -> dict[str, Operation]:
    """Make the tables and rows; the rivals by name, the first one is what the others are compared with."""
    with connection.schema_editor() as editor:
        editor.create_model(Draft)
    ids = [secrets.token_urlsafe(24) for _ in range(OWNERS)]
    sessions = [StashSession(session_id) for session_id in ids]
    for session_id, session in zip(ids, sessions, strict=True):
        session.merge(VIEW, SLICE)
        Draft.objects.create(owner=session_id, data=SLICE)
    next_id, next_session = _around(ids), _around(sessions)
    next_key = _around([_django_session() for _ in ids])

    def hand_written(sql: str, data: dict[str, Any]) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql, [next_id(), json.dumps(data)])
            revision: int = cursor.fetchone()[0]
        return revision

    def update_or_create() -> None:
        Draft.objects.update_or_create(owner=next_id(), defaults={"data": {**SLICE, **next(_changes)}})

    def django_session() -> None:
        session = SessionStore(next_key())
        session[VIEW] = {**session[VIEW], **next(_changes)}
        session.save()

    found: dict[str, Operation] = {
        "merge": lambda: next_session().merge(VIEW, next(_changes)),
        "merge, StashSession made anew": lambda: StashSession(next_id()).merge(VIEW, next(_changes)),
    }
    if connection.vendor == "sqlite":
        found["hand-written upsert, whole value"] = lambda: hand_written(_overwrite, {**SLICE, **next(_changes)})
        found["hand-written upsert, json_patch"] = lambda: hand_written(_json_patch, next(_changes))
    else:
        found["hand-written upsert, ||"] = lambda: hand_written(_concatenate, next(_changes))
    found["update_or_create"] = update_or_create
    found["request.session: load, set, save"] = django_session
    return found


def readings() -> dict[str, Operation]:
    """What surrounds a merge: reading, recovering, saving what has not changed, judging values."""
    session = StashSession(secrets.token_urlsafe(24))
    page = CheckoutStash(session)
    page.save(SLICE)
    return {
        "ViewStash.save, nothing changed (0 queries)": lambda: page.save(SLICE),
        "ViewStash.recover": lambda: CheckoutStash(session).recover(),
        "StashSession.fetch_view": lambda: session.fetch_view(VIEW),
        "judge 1 KB": lambda: judge(SLICE),
    }


def _upsert(now: str, data: str) -> str:
    return (
        f"INSERT INTO benchmarks_draft (owner, data, revision, created_at, updated_at) "
        f"VALUES (%s, %s, 1, {now}, {now}) ON CONFLICT (owner) DO UPDATE "
        f"SET data = {data}, revision = benchmarks_draft.revision + 1, updated_at = {now} RETURNING revision"
    )


_overwrite = _upsert("CURRENT_TIMESTAMP", "excluded.data")
_json_patch = _upsert("CURRENT_TIMESTAMP", "json_patch(benchmarks_draft.data, excluded.data)")
_concatenate = _upsert("now()", "benchmarks_draft.data || excluded.data")


def _django_session() -> str:
    session = SessionStore()
    session[VIEW] = SLICE
    session.save()
    return str(session.session_key)


def _around(items: list[Any]) -> Callable[[], Any]:
    return itertools.cycle(items).__next__
