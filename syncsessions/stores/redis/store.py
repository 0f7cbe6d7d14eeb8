"""`RedisStore`: carries out plans by redis-py, which need not be there before the first operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from syncsessions.stores.base import BaseStore
from syncsessions.stores.operations import Operation
from syncsessions.stores.redis.keys import Keys
from syncsessions.stores.redis.plans import plan
from syncsessions.stores.steps import adrive, drive

if TYPE_CHECKING:
    from syncsessions.stores.redis.clients import Client
    from syncsessions.stores.redis.loops import LoopClients

OLDEST = 5
"""The oldest major version of redis-py that will do."""


class RedisStore(BaseStore):
    """Records in Redis (6.2 or later) or Valkey, for any number of workers and machines.

    LOCATION is a URL: `redis://`, `rediss://` or `unix://`. OPTIONS are `prefix` of all keys ("syncsessions"),
    `timeout` (2.0 seconds, to connect and to be answered), and what redis-py's connection pool takes: `username`,
    `max_connections` (50 for the threads of a process, and 50 for each event loop), `ssl_ca_certs`.

    Let the server have the maxmemory-policy `noeviction`: another may remove records before their deadlines. With a
    server that keeps nothing on disk, its restart ends every record.
    """

    _clients: tuple[Client, LoopClients] | None = None

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._settings = dict(self.options)
        self._keys = Keys(str(self._settings.pop("prefix", "syncsessions")))
        self._timeout = self._settings.pop("timeout", 2.0)

    def execute(self, operation: Operation) -> Any:
        client, _loops = self._clients or self._begin()
        return drive(client.send, plan(self._keys, operation))

    async def aexecute(self, operation: Operation) -> Any:
        _client, loops = self._clients or self._begin()
        return await adrive(loops.send, plan(self._keys, operation))

    def check(self) -> Sequence[CheckMessage]:
        problem = self._problem()
        if problem is None:
            return []
        return [
            Error(
                f"The store {self.alias!r} cannot be used: {problem}.",
                hint='It needs pip install "django-syncsessions[redis]" and a LOCATION like "redis://127.0.0.1:6379/1".',
                id="syncsessions.E006",
            )
        ]

    def close(self) -> None:
        for client in self._clients or ():
            client.close()

    def _begin(self) -> tuple[Client, LoopClients]:
        problem = self._problem()
        if problem is not None:
            raise ImproperlyConfigured(f"The store {self.alias!r} cannot be used: {problem}.")
        from syncsessions.stores.redis.clients import Client
        from syncsessions.stores.redis.loops import LoopClients

        location = str(self.location)
        made = Client(location, self._settings, self._timeout), LoopClients(location, self._settings, self._timeout)
        # Of several threads' first one wins. A lock would be held for ever in a process forked meanwhile.
        return vars(self).setdefault("_clients", made)  # type: ignore[no-any-return]

    def _problem(self) -> str | None:
        """What is wrong with the configuration; not a word of LOCATION's, which may hold a password."""
        try:
            found = version("redis")
        except PackageNotFoundError:
            return "redis-py is not installed"
        if int(found.split(".")[0]) < OLDEST:
            return f"redis-py {found} is older than {OLDEST}.0"
        if isinstance(self._timeout, bool) or not isinstance(self._timeout, int | float) or self._timeout <= 0:
            return "its timeout is not a positive number of seconds"
        if not isinstance(self.location, str) or not self.location:
            return "it has no LOCATION"
        from syncsessions.stores.redis.clients import Client

        try:
            Client(self.location, self._settings, self._timeout).check()
        except TypeError as error:
            return f"redis-py does not know one of its OPTIONS: {error}"
        except Exception:  # whatever the settings make of redis-py's classes
            return "redis-py does not understand its LOCATION or OPTIONS"
        return None
