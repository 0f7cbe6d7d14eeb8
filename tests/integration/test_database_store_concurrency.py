"""Many processes on a database store: the numbers are exact, and nobody waits for each other in a circle."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from syncsessions.digests import text_hash
from syncsessions.exceptions import RateLimited, SessionLimitReached
from syncsessions.stores.database import DatabaseStore
from syncsessions.stores.models import StoreCounter, StoreLogEntry, StoreRecord
from tests import workers

pytestmark = pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mysql"], indirect=True)

PROCESSES, ROUNDS, LIMIT = 8, 60, 8


def test_creates_deletes_and_sweeps_at_once(plain_store: DatabaseStore, namespace: str) -> None:
    alias = plain_store.using
    connections[alias].close()
    told = json.loads(workers.run("records", alias, alias, namespace, str(PROCESSES), str(ROUNDS), str(LIMIT)))
    assert told["deadlocks"] == []
    assert told["exceeded"] == []
    listed = [record.life for record in plain_store.list(namespace)]
    waiting = [record.life for record in plain_store.expire(namespace)]
    live = [life for life in listed if life not in waiting]  # one may have come to its end in between
    ended = told["deleted"] + told["expired"] + waiting
    assert len(set(ended)) == len(ended)
    assert sorted(ended + live) == sorted(told["created"])
    assert told["deleted"] and told["expired"]
    rows = StoreRecord.objects.using(alias).filter(namespace=namespace)
    assert rows.count() == len(live)
    assert StoreCounter.objects.using(alias).get(lookup=text_hash(namespace)).total == len(live)
    assert set(StoreLogEntry.objects.using(alias).values_list("record_id", flat=True)) <= set(
        rows.values_list("id", flat=True)
    )


@pytest.mark.parametrize(("extra", "refused"), [({"limit": 10}, SessionLimitReached), ({"rate": "10/h"}, RateLimited)])
def test_no_overshoot_from_nothing(
    plain_store: DatabaseStore, namespace: str, extra: dict[str, object], refused: type[Exception]
) -> None:
    """The first creates of a namespace make its counter, too."""
    start = threading.Barrier(8)

    def create(number: int) -> int:
        try:
            start.wait(30)
            made = 0
            for count in range(5):
                try:
                    plain_store.create(namespace, f"{number}.{count}", {}, ttl=60, **extra)  # type: ignore[arg-type]
                    made += 1
                except refused:
                    pass
            return made
        finally:
            connections[plain_store.using].close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 10
    assert plain_store.count(namespace) == 10
