"""Calls over redis-py: from any thread by one pool, from each event loop by connections of its own.

What fails fails soon: nothing is waited for longer than the timeout, and nothing is tried again after a pause.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from syncsessions.exceptions import StoreUnavailable
from syncsessions.stores.redis.plans import Call

MAX_CONNECTIONS = 50
COMMON: dict[str, Any] = {
    "protocol": 2,
    # Seconds after which an idle connection is asked for a PING first: its server may have gone without a word.
    "health_check_interval": 30,
}
BROKEN = (RedisConnectionError, OSError)
FAILED = (RedisError, OSError)

# redis-py 5.0 to 5.2 ask for a name, later ones warn of it.
_FOR = () if redis.VERSION >= (5, 3) else ("EVALSHA",)

Command = tuple[str | bytes | int, ...]


def by_hash(call: Call) -> Command:
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)


def in_full(call: Call) -> Command:
    return ("EVAL", call.script.text, len(call.keys), *call.keys, *call.args)


class Attempts:
    """Whether a call may be made once more: its connection broke at once, and it cannot be carried out twice."""

    def __init__(self, call: Call, timeout: float) -> None:
        self.sent = False
        self._repeatable = call.repeatable
        self._until = time.monotonic() + timeout / 2
        self._last = False

    def one_more(self) -> bool:
        if self._last or (self.sent and not self._repeatable) or time.monotonic() > self._until:
            return False
        self._last = True
        return True


class Client:
    """One pool for all threads, which a forked process begins anew."""

    def __init__(self, url: str, options: Mapping[str, Any], timeout: float) -> None:
        self._timeout = timeout
        settings = {
            **COMMON,
            "max_connections": MAX_CONNECTIONS,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            **options,
            "retry": Retry(NoBackoff(), 0),
        }
        self._pool: Any = redis.BlockingConnectionPool.from_url(url, timeout=timeout, **settings)

    def check(self) -> None:
        """Raises `TypeError` or `ValueError` where redis-py does not understand the options."""
        self._pool.make_connection()

    def send(self, call: Call) -> Any:
        """The call's answer. Raises `StoreUnavailable`."""
        try:
            try:
                return self._insist(call, by_hash(call))
            except NoScriptError:
                return self._insist(call, in_full(call))
        except FAILED as error:
            raise StoreUnavailable from error

    def close(self) -> None:
        self._pool.disconnect()

    def _insist(self, call: Call, command: Command) -> Any:
        attempts = Attempts(call, self._timeout)
        while True:
            try:
                return self._exchange(command, attempts)
            except BROKEN:
                if not attempts.one_more():
                    raise

    def _exchange(self, command: Command, attempts: Attempts) -> Any:
        attempts.sent = False
        connection = self._pool.get_connection(*_FOR)
        try:
            connection.send_command(*command)
            attempts.sent = True
            return connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()  # a late answer must not be the next call's
            raise
        finally:
            self._pool.release(connection)
