"""Each system check, where it speaks and where it does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core import checks
from django.core.checks import CheckMessage, Tags
from django.db import connections
from django.test import override_settings

from syncsessions import checks as ours

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
IDS = "syncsessions.middleware.SessionIdMiddleware"
REDIS = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"
PATIENT = {"address": "redis://localhost", "socket_timeout": None}

app_name = "checks"
urlpatterns: list[Any] = []


def ids(check: Callable[..., list[CheckMessage]], **settings: Any) -> list[str]:
    with override_settings(**settings):
        return [str(message.id) for message in check()]


def layer(backend: str, **config: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": backend, "CONFIG": config}}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, []),
        ({"STASH_TTL": None, "STASH_INVALID_VALUE": "skip", "STASH_CLIENT_VIEWS": ("a",)}, []),
        ({"STASH_TTL": 0.5, "STASH_CLIENT_VIEWS": {"a"}}, []),
        ([], ["E001"]),
        (None, ["E001"]),
        ({"STASH_TLL": 1}, ["E001"]),
        ({"stash_ttl": 1, "X": 2}, ["E001", "E001"]),
        ({"STASH_TTL": 0}, ["E002"]),
        ({"STASH_TTL": -1}, ["E002"]),
        ({"STASH_TTL": "3600"}, ["E002"]),
        ({"STASH_TTL": True}, ["E002"]),
        ({"STASH_INVALID_VALUE": "ignore"}, ["E002"]),
        ({"STASH_CLIENT_VIEWS": "shop"}, ["E002"]),
        ({"STASH_CLIENT_VIEWS": None}, ["E002"]),
        ({"SITE_URL": "https://a.example/sync", "ALLOW_PRIVATE_SITE_URLS": True}, []),
        ({"SITE_URL": "a.example"}, ["E002"]),
        ({"SITE_URL": ["https://a.example"]}, ["E002"]),
        ({"INCOMING_MODE": "deny_all"}, []),
        ({"INCOMING_MODE": "Deny_all"}, ["E002"]),
        ({"INCOMING_MODE": None}, ["E002"]),
        pytest.param({"INCOMING_PASSWORD": make_password("open sesame")}, [], id="a hash"),
        ({"INCOMING_PASSWORD": "open sesame"}, ["E002"]),
        ({"INCOMING_PASSWORD": "open$sesame$!"}, ["E002"]),
        ({"INCOMING_PASSWORD": ""}, ["E002"]),
        pytest.param({"INCOMING_PASSWORD": make_password(None)}, ["E002"], id="an unusable hash"),
        ({"ALLOW_PRIVATE_SITE_URLS": "no"}, ["E002"]),
        ({"NEW": 1, "STASH_TTL": 0, "STASH_CLIENT_VIEWS": 7}, ["E001", "E002", "E002"]),
    ],
    ids=repr,
)
def test_settings(value: Any, found: list[str]) -> None:
    assert ids(ours.check_settings, SYNCSESSIONS=value) == [f"syncsessions.{each}" for each in found]


def test_an_unknown_key_is_named_and_so_are_the_known_ones() -> None:
    with override_settings(SYNCSESSIONS={"STASH_TLL": 1}):
        (message,) = ours.check_settings()
    assert "STASH_TLL" in message.msg
    assert "STASH_TTL" in str(message.hint)
    assert message.level == checks.ERROR


def test_without_the_setting_all_is_well(settings: Any) -> None:
    del settings.SYNCSESSIONS
    assert ours.check_settings() == []


@pytest.mark.parametrize(
    ("value", "debug", "found"),
    [
        ({}, False, []),
        ({"SITE_URL": "https://a.example/sync"}, False, []),
        ({"SITE_URL": "HTTP://a.example/sync"}, False, ["syncsessions.W012"]),
        ({"SITE_URL": "http://a.example/sync"}, True, []),
        ({"INCOMING_MODE": "require_password"}, False, ["syncsessions.W013"]),
        ({"INCOMING_MODE": "require_password", "INCOMING_PASSWORD": "md5$salt$hash"}, False, []),
        ({"SITE_URL": 7, "INCOMING_MODE": [], "INCOMING_PASSWORD": 7}, False, []),
    ],
    ids=repr,
)
def test_connections(value: Any, debug: bool, found: list[str]) -> None:
    assert ids(ours.check_connections, SYNCSESSIONS=value, DEBUG=debug) == found


@pytest.mark.parametrize(
    ("url", "urlconf", "found"),
    [
        (None, __name__, []),
        ("https://a.example/sync", __name__, ["syncsessions.W011"]),
        ("https://a.example/sync", "tests.two_sites_urls", []),
    ],
)
def test_the_urls_of_connections(url: str | None, urlconf: str, found: list[str]) -> None:
    assert ids(ours.check_connection_urls, SYNCSESSIONS={"SITE_URL": url}, ROOT_URLCONF=urlconf) == found


@pytest.mark.parametrize(
    ("middleware", "found"),
    [
        ([SESSIONS, IDS], []),
        (["project.own.SessionMiddleware", IDS], []),
        ([SESSIONS], ["syncsessions.W001"]),
        ([], ["syncsessions.W001"]),
        ([IDS, SESSIONS], ["syncsessions.E003"]),
    ],
)
def test_middleware(middleware: list[str], found: list[str]) -> None:
    assert ids(ours.check_sessions, MIDDLEWARE=middleware) == found


@pytest.mark.parametrize(
    ("engine", "found"),
    [("db", []), ("cache", []), ("cached_db", []), ("file", []), ("signed_cookies", ["syncsessions.W002"])],
)
def test_session_engine(engine: str, found: list[str]) -> None:
    assert ids(ours.check_sessions, SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}") == found


@pytest.mark.parametrize(
    ("layers", "debug", "found"),
    [
        ({}, False, ["W003"]),
        (None, False, ["W003"]),
        ({"other": {"BACKEND": MEMORY}}, False, ["W003"]),
        (layer(MEMORY), False, ["W004"]),
        (layer(MEMORY), True, []),
        (layer(REDIS), False, ["W005"]),
        (layer(REDIS, hosts=["redis://localhost"]), False, ["W005"]),
        (layer(REDIS, hosts=[PATIENT, ("localhost", 6379)]), False, ["W005"]),
        (layer(REDIS, hosts=[{"address": "redis://localhost"}]), False, ["W005"]),
        (layer(REDIS, hosts=[{**PATIENT, "socket_timeout": 5}]), False, ["W005"]),
        (layer(REDIS, hosts=[PATIENT, PATIENT]), False, []),
        (layer(PUBSUB, hosts=["redis://localhost"]), False, []),
    ],
)
def test_channel_layer(layers: Any, debug: bool, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "version", lambda name: "8.0.1")
    told = ids(ours.check_channel_layer, CHANNEL_LAYERS=layers, DEBUG=debug)
    assert told == [f"syncsessions.{each}" for each in found]


def test_an_older_redis_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "version", lambda name: "7.1.0")
    assert ids(ours.check_channel_layer, CHANNEL_LAYERS=layer(REDIS)) == []


def test_urls_that_are_not_mounted() -> None:
    assert ids(ours.check_urls) == []
    assert ids(ours.check_urls, ROOT_URLCONF=__name__) == ["syncsessions.W006"]


def test_asgi_that_is_not_set() -> None:
    assert ids(ours.check_urls, ASGI_APPLICATION=None) == ["syncsessions.W007"]


@pytest.mark.usefixtures("database")
def test_databases_that_the_stash_knows(database: str) -> None:
    assert ours.check_database(databases=[database]) == []


def test_a_database_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "vendor", "oracle")
    (message,) = ours.check_database(databases=["default"])
    assert message.id == "syncsessions.E004"
    assert "oracle" in message.msg
    assert ours.check_database(databases=["postgresql"]) == []
    assert ours.check_database(databases=None) == []


def test_a_sqlite_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert [message.id for message in ours.check_database(databases=["default"])] == ["syncsessions.E004"]
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 35, 0))
    assert ours.check_database(databases=["default"]) == []


def test_they_are_registered() -> None:
    with override_settings(SYNCSESSIONS={"X": 1}, CHANNEL_LAYERS={}, ASGI_APPLICATION=None, MIDDLEWARE=[]):
        by_tag = {
            tag: {message.id for message in checks.run_checks(tags=[tag])} for tag in (Tags.compatibility, Tags.urls)
        }
    assert {"syncsessions.E001", "syncsessions.W001", "syncsessions.W003"} <= by_tag[Tags.compatibility]
    assert "syncsessions.W007" in by_tag[Tags.urls]
