"""What the system check says of a RedisStore's configuration; no server is asked."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from syncsessions.stores.redis import RedisStore, store

GOOD = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("location", "options"),
    [
        (GOOD, {}),
        ("rediss://somebody:s3cret@redis.example:6380/1", {"ssl_cert_reqs": "none"}),
        ("unix:///run/redis.sock?db=1", {"timeout": 1, "prefix": "mine", "max_connections": 7, "username": "me"}),
    ],
)
def test_what_is_fine(location: str, options: dict[str, Any]) -> None:
    assert list(RedisStore("default", {"LOCATION": location, "OPTIONS": options}).check()) == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "no LOCATION"),
        ({"LOCATION": None}, "no LOCATION"),
        ({"LOCATION": ["redis://:s3cret@a"]}, "no LOCATION"),
        ({"LOCATION": "redis.example:s3cret"}, "does not understand"),
        ({"LOCATION": "http://:s3cret@redis.example"}, "does not understand"),
        ({"LOCATION": "redis://me:s3/cret@redis.example:6379"}, "does not understand"),
        ({"LOCATION": GOOD, "OPTIONS": {"tiemout": 1}}, "tiemout"),
        ({"LOCATION": GOOD, "OPTIONS": {"timeout": 0}}, "timeout"),
        ({"LOCATION": GOOD, "OPTIONS": {"timeout": "2"}}, "timeout"),
        ({"LOCATION": GOOD, "OPTIONS": {"max_connections": "many"}}, "OPTIONS"),
        ({"LOCATION": GOOD, "OPTIONS": {"max_connections": -1}}, "OPTIONS"),
    ],
)
async def test_what_is_wrong(params: dict[str, Any], said: str) -> None:
    made = RedisStore("pairing", params)
    (message,) = made.check()
    assert message.id == "syncsessions.E006"
    assert "'pairing'" in message.msg
    assert said in message.msg
    assert "cret" not in f"{message.msg}{message.hint}"
    with pytest.raises(ImproperlyConfigured, match=said) as caught:
        made.ping()
    with pytest.raises(ImproperlyConfigured, match=said):
        await made.aping()
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("found", [None, "4.6.0"])
def test_redis_py_missing_or_too_old(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        assert name == "redis"
        if found is None:
            raise store.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(store, "version", version)
    (message,) = RedisStore("default", {"LOCATION": GOOD}).check()
    assert message.id == "syncsessions.E006"
    assert ("4.6.0" if found else "not installed") in message.msg
