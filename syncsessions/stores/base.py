"""What every store can do, and what a backend has to bring."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage

from syncsessions.database import InThread
from syncsessions.json_values import JSON
from syncsessions.stores import operations
from syncsessions.stores.operations import Operation
from syncsessions.stores.record import Record


class BaseStore(ABC):
    """Ephemeral JSON records under (namespace, id), each with a revision and a deadline; a log; rates.

    Every operation is one atomic step, has an `a` twin with the same arguments and errors, and raises
    `StoreUnavailable` soon where the backend does not answer. A record past its deadline is gone for every reader,
    swept or not. Times are seconds, rates `"n/s|m|h"`, ids and namespaces any text of 1 to 200 characters.
    """

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        self.alias = alias
        self.location = params.get("LOCATION")
        self.options: dict[str, Any] = dict(params.get("OPTIONS") or {})

    @abstractmethod
    def execute(self, operation: Operation) -> Any:
        """Carry out an operation; the public methods say what each returns and raises."""

    async def aexecute(self, operation: Operation) -> Any:
        return await InThread(self.execute)(operation)

    def in_transaction(self) -> bool:
        """Whether what is done here now belongs to a transaction of the caller's."""
        return False

    def after_commit(self, tell: Callable[[], None]) -> None:
        """Call `tell` once what was done here stands: at once, where no transaction of the caller's holds it back."""
        tell()

    def check(self) -> Sequence[CheckMessage]:
        """System checks of this store's configuration; needs no running backend."""
        return []

    def close(self) -> None:  # noqa: B027 - a backend without connections has nothing to do
        """Let go of connections; the next operation makes new ones."""

    def create(
        self,
        namespace: str,
        id: str,  # noqa: A002
        data: Mapping[str, Any],
        *,
        ttl: float,
        limit: int | None = None,
        rate: str | None = None,
    ) -> Record:
        """A new record. Raises `AlreadyExists`; `SessionLimitReached` where `limit` live ones exist in the namespace;
        `RateLimited` where the namespace's creates have spent `rate`. What is refused spends no rate."""
        return self.execute(operations.create(namespace, id, data, ttl, limit, rate))  # type: ignore[no-any-return]

    async def acreate(
        self,
        namespace: str,
        id: str,  # noqa: A002
        data: Mapping[str, Any],
        *,
        ttl: float,
        limit: int | None = None,
        rate: str | None = None,
    ) -> Record:
        return await self.aexecute(operations.create(namespace, id, data, ttl, limit, rate))  # type: ignore[no-any-return]

    def get(self, namespace: str, id: str) -> Record:  # noqa: A002
        """The live record. Raises `NotFound`."""
        return self.execute(operations.get(namespace, id))  # type: ignore[no-any-return]

    async def aget(self, namespace: str, id: str) -> Record:  # noqa: A002
        return await self.aexecute(operations.get(namespace, id))  # type: ignore[no-any-return]

    def replace(
        self,
        namespace: str,
        id: str,  # noqa: A002
        data: Mapping[str, Any],
        *,
        revision: int,
        ttl: float | None = None,
        life: str | None = None,
        log: JSON = None,
        keep: int = 100,
        log_drop: int = 0,
    ) -> Record:
        """Put `data` in place of the record's if its revision (and life, where given) is this one: else `Conflict`.

        With `ttl` the deadline moves too. `log_drop` removes the log's newest entries; then `log`, if there is one, is
        appended as the newest and the newest `keep` stay. Raises `NotFound` where there is no live record.
        """
        return self.execute(  # type: ignore[no-any-return]
            operations.replace(namespace, id, data, revision, ttl, life, log, keep, log_drop)
        )

    async def areplace(
        self,
        namespace: str,
        id: str,  # noqa: A002
        data: Mapping[str, Any],
        *,
        revision: int,
        ttl: float | None = None,
        life: str | None = None,
        log: JSON = None,
        keep: int = 100,
        log_drop: int = 0,
    ) -> Record:
        return await self.aexecute(  # type: ignore[no-any-return]
            operations.replace(namespace, id, data, revision, ttl, life, log, keep, log_drop)
        )

    def delete(self, namespace: str, id: str, *, life: str | None = None) -> bool:  # noqa: A002
        """Remove the record; whether there was a live one (of this life, where given)."""
        return self.execute(operations.delete(namespace, id, life))  # type: ignore[no-any-return]

    async def adelete(self, namespace: str, id: str, *, life: str | None = None) -> bool:  # noqa: A002
        return await self.aexecute(operations.delete(namespace, id, life))  # type: ignore[no-any-return]

    def touch(self, namespace: str, id: str, ttl: float, *, life: str | None = None) -> None:  # noqa: A002
        """Let the deadline be `ttl` seconds from now. Raises `NotFound`, and `Conflict` where the life is another."""
        self.execute(operations.touch(namespace, id, ttl, life))

    async def atouch(self, namespace: str, id: str, ttl: float, *, life: str | None = None) -> None:  # noqa: A002
        await self.aexecute(operations.touch(namespace, id, ttl, life))

    def count(self, namespace: str) -> int:
        """How many live records the namespace has."""
        return self.execute(operations.count(namespace))  # type: ignore[no-any-return]

    async def acount(self, namespace: str) -> int:
        return await self.aexecute(operations.count(namespace))  # type: ignore[no-any-return]

    def list(self, namespace: str, *, offset: int = 0, limit: int | None = None) -> builtins.list[Record]:
        """Live records, newest first."""
        return self.execute(operations.list_(namespace, offset, limit))  # type: ignore[no-any-return]

    async def alist(self, namespace: str, *, offset: int = 0, limit: int | None = None) -> builtins.list[Record]:
        return await self.aexecute(operations.list_(namespace, offset, limit))  # type: ignore[no-any-return]

    def expire(self, namespace: str, *, limit: int = 1000) -> builtins.list[Record]:
        """Remove up to `limit` records past their deadline; each is returned to exactly one caller."""
        return self.execute(operations.expire(namespace, limit))  # type: ignore[no-any-return]

    async def aexpire(self, namespace: str, *, limit: int = 1000) -> builtins.list[Record]:
        return await self.aexecute(operations.expire(namespace, limit))  # type: ignore[no-any-return]

    def read_log(self, namespace: str, id: str, limit: int | None = None) -> builtins.list[JSON]:  # noqa: A002
        """The live record's log entries, newest first. Raises `NotFound`."""
        return self.execute(operations.read_log(namespace, id, limit))  # type: ignore[no-any-return]

    async def aread_log(self, namespace: str, id: str, limit: int | None = None) -> builtins.list[JSON]:  # noqa: A002
        return await self.aexecute(operations.read_log(namespace, id, limit))  # type: ignore[no-any-return]

    def hit(self, key: str, rate: str) -> str:
        """Count one against `rate` in a sliding window; a token to give it back with.

        Raises `RateLimited` where the rate is spent; that itself is not counted.
        """
        return self.execute(operations.hit(key, rate))  # type: ignore[no-any-return]

    async def ahit(self, key: str, rate: str) -> str:
        return await self.aexecute(operations.hit(key, rate))  # type: ignore[no-any-return]

    def unhit(self, key: str, token: str) -> None:
        """Give one hit back; nothing where it has left the window."""
        self.execute(operations.unhit(key, token))

    async def aunhit(self, key: str, token: str) -> None:
        await self.aexecute(operations.unhit(key, token))

    def ping(self) -> None:
        """Ask the backend for a sign of life. Raises `StoreUnavailable`."""
        self.execute(operations.Ping())

    async def aping(self) -> None:
        await self.aexecute(operations.Ping())
