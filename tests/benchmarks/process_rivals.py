"""A session process against what does nearly as little: an actor that counts, and a script of Redis called by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.test.utils import override_settings

from tests.benchmarks.counters import Counter
from tests.benchmarks.stores import forget
from tests.benchmarks.timing import race
from tests.servers import redis_url

WATCHED = 20  # dispatches whose round trips are counted


def pykka_rows(rounds: int) -> list[dict[str, Any]]:
    """A dispatch and a call that answers, against asking an actor that counts."""
    try:
        import pykka
    except ImportError:
        return []

    class Actor(pykka.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self.n = 0

        def on_receive(self, message: Any) -> Any:
            self.n += message
            return self.n

    actor, session = Actor.start(), Counter.get("one")
    try:
        rivals = {
            "pykka: ask": lambda: actor.ask(1),
            "dispatch": lambda: session.dispatch("count.add", 1),
            "call that changes the state": lambda: session.call("add", 1),
        }
        return [{**each._asdict(), "per_second": 1 / each.seconds} for each in race(rivals, rounds)]
    finally:
        actor.stop()


def on_redis(settings: Mapping[str, Any], rounds: int) -> dict[str, Any] | None:
    """Dispatches against bare calls, and the round trips of a dispatch; None where there is no Redis."""
    if redis_url() is None:
        return None
    with _redis_store(settings) as params, _second_worker(params) as (session, other):
        bare = _Bare(params["LOCATION"], params["OPTIONS"]["prefix"], session)
        rivals: dict[str, Callable[[], object]] = {
            "bare EVALSHA of the same script by redis-py": bare,
            "dispatch": lambda: session.dispatch("count.add", 1),
        }
        results: dict[str, Any] = {
            "race": [{**each._asdict(), "per_second": 1 / each.seconds} for each in race(rivals, rounds)]
        }

        def by_turns() -> None:
            other.dispatch("count.add", 1)
            session.dispatch("count.add", 1)

        session.dispatch("count.add", 1)
        alone = _trips(params["LOCATION"], lambda: session.dispatch("count.add", 1)) / WATCHED
        by_turns()
        results["trips"] = {"alone": alone, "by turns": _trips(params["LOCATION"], by_turns) / (2 * WATCHED)}
    return results


@contextmanager
def _redis_store(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    params = {
        "BACKEND": "syncsessions.stores.redis.RedisStore",
        "LOCATION": redis_url(),
        "OPTIONS": {"prefix": f"benchmarks-{os.getpid()}"},
    }
    with override_settings(SYNCSESSIONS={**settings, "STORES": {"default": params}}):
        try:
            yield params
        finally:
            forget(params)


@contextmanager
def _second_worker(params: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """A session, and the same one as another worker knows it."""
    from syncsessions.processes.names import NAMESPACE
    from syncsessions.processes.stored import StoredSession
    from syncsessions.stores.redis import RedisStore

    session = Counter.start("one")
    record_id, _life = session.key
    store = RedisStore("other", params)
    try:
        yield session, StoredSession(Counter, "one", store, store.get(NAMESPACE, record_id))
    finally:
        store.close()


class _Bare:
    """The script that puts a record's next revision in its place, with the same text, called by hand."""

    def __init__(self, url: str, prefix: str, session: Any) -> None:
        import redis

        from syncsessions.json_values import encode
        from syncsessions.processes.names import NAMESPACE
        from syncsessions.stores.redis.keys import Keys
        from syncsessions.stores.redis.scripts import REPLACE

        space = Keys(prefix).of(NAMESPACE)
        record = session.store.create(NAMESPACE, "bare", {"n": 0}, ttl=86_400)
        self._text = encode(session.store.get(NAMESPACE, session.key[0]).data)
        self._keys = (space.record("bare"), space.log("bare"), space.deadlines)
        self._life, self._revision = f"={record.life}", record.revision
        self._sha = REPLACE.sha
        self._client = redis.Redis.from_url(url)
        self._client.script_load(REPLACE.text)
        assert self()[0] == b"ok"

    def __call__(self) -> Any:
        revision = self._revision
        self._revision += 1
        return self._client.evalsha(
            self._sha,
            3,
            *self._keys,
            "bare",
            self._text,
            str(revision),
            self._life,
            86_400_000_000,
            revision.to_bytes(8, "big"),
            0,
            0,
        )


def _trips(url: str, work: Callable[[], Any]) -> int:
    """Commands that clients send while `work` is done so many times; what scripts do inside the server is none."""
    import redis

    with redis.Redis.from_url(url) as client, client.monitor() as monitor:
        for _ in range(WATCHED):
            work()
        client.echo("the end")
        seen = 0
        while "the end" not in (command := monitor.next_command())["command"]:
            seen += command["client_type"] != "lua" and command["command"].split()[0].upper() not in ("HELLO", "CLIENT")
    return seen
