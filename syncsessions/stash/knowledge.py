"""What a `ViewStash` knows the store to hold, so that an unchanged save can be skipped without asking.

Known is what it wrote or recovered itself, as long as nothing speaks against it: no other write of this process and no
ring heard from another one, no rollback of the transaction it was seen in, and no more than `KNOWN_FOR` seconds, for a
doorbell may be lost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Self

from django.db import connections, transaction

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON, fingerprint, judge
from syncsessions.stash import latest

KNOWN_FOR = 2.0


class Knowledge:
    """What one slice is known to hold, as a fingerprint for each key."""

    def __init__(self) -> None:
        self._prints: dict[str, str] = {}
        self._key: latest.SliceKey | None = None
        self._mark = latest.Mark("", 0)
        self._heard_before: latest.Mark | None = None
        self._at = 0.0
        self._seen_in: _Transaction | None = None

    @classmethod
    def of(
        cls,
        alias: str,
        key: latest.SliceKey,
        mark: latest.Mark,
        values: Mapping[str, JSON],
        heard_before: latest.Mark | None,
    ) -> Self:
        """Knowledge of a slice that was read; `heard_before` is what `latest` said of it before that."""
        knowledge = cls()
        knowledge._learn(alias, key, mark, values, heard_before)
        return knowledge

    def wrote(
        self,
        alias: str,
        key: latest.SliceKey,
        mark: latest.Mark,
        values: Mapping[str, JSON],
        heard_before: latest.Mark | None,
    ) -> None:
        """Learn from an own write; where another one came between, what was known before is doubtful."""
        if not self._counts() or mark != latest.Mark(self._mark.life, self._mark.revision + 1):
            self._prints = {}
        self._learn(alias, key, mark, values, heard_before)

    def holds(self, key: str, value: JSON) -> bool:
        """Whether the slice surely holds this value. False where it is not JSON: that is for the write to say."""
        known = self._prints.get(key)
        if known is None or not self._counts() or self.is_outdated():
            return False
        try:
            plain, _text = judge({key: value})
        except InvalidValue:
            return False
        return known == fingerprint(plain[key])

    def _learn(
        self,
        alias: str,
        key: latest.SliceKey,
        mark: latest.Mark,
        values: Mapping[str, JSON],
        heard_before: latest.Mark | None,
    ) -> None:
        self._key, self._mark, self._at = key, mark, time.monotonic()
        self._heard_before = heard_before
        self._seen_in = _Transaction(alias) if connections[alias].in_atomic_block else None
        for name, value in values.items():
            try:
                self._prints[name] = fingerprint(judge({name: value})[0][name])
            except InvalidValue:  # the write left it out, as the project's settings say
                self._prints.pop(name, None)

    def _counts(self) -> bool:
        if self._seen_in is not None and not self._seen_in.stands():
            return False
        return time.monotonic() - self._at <= KNOWN_FOR

    def is_outdated(self) -> bool:
        """Whether this process has heard of another write since."""
        if self._key is None:
            return True
        heard = latest.mark(self._key)
        # No news since: another process's writes need not have been heard, nor one's own in an open transaction.
        if heard is None or heard is self._heard_before:
            return False
        return heard.life != self._mark.life or heard.revision > self._mark.revision


class _Transaction:
    """Tells whether what was seen in a transaction still counts: not once it, or its savepoint, was rolled back."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._committed = False
        transaction.on_commit(self._commit, using=alias)

    def _commit(self) -> None:
        self._committed = True

    def stands(self) -> bool:
        # Django takes the callbacks of what is rolled back from this list.
        return self._committed or any(entry[1] == self._commit for entry in connections[self._alias].run_on_commit)
