"""Calls out of event loops: each loop has connections of its own, which end with it."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError

from syncsessions.exceptions import StoreUnavailable
from syncsessions.stores.redis.clients import (
    BROKEN,
    COMMON,
    FAILED,
    MAX_CONNECTIONS,
    Attempts,
    Command,
    by_hash,
    in_full,
)
from syncsessions.stores.redis.plans import Call

_open: dict[LoopClient, asyncio.AbstractEventLoop] = {}
"""Held until they are closed, which their loop alone can do, even if their store is dropped before."""


class LoopClients:
    """A client for each event loop that asks for one."""

    def __init__(self, url: str, options: Mapping[str, Any], timeout: float) -> None:
        self._url = url
        self._settings = {
            **COMMON,
            **options,
            "socket_timeout": None,  # a client bounds the whole call, by one timer
            "socket_connect_timeout": None,
            "retry": Retry(NoBackoff(), 0),
        }
        self._most = self._settings.pop("max_connections", None) or MAX_CONNECTIONS
        self._timeout = timeout
        self._clients: dict[asyncio.AbstractEventLoop, LoopClient] = {}

    async def send(self, call: Call) -> Any:
        """The call's answer. Raises `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = await self._begin(loop)
        return await client.send(call)

    def close(self) -> None:
        """Close what running loops have; loops at rest close theirs when they end."""
        for loop, client in list(self._clients.items()):
            if loop.is_running():
                self._clients.pop(loop, None)
                closing = client.close()
                try:
                    asyncio.run_coroutine_threadsafe(closing, loop)
                except RuntimeError:  # it has ended meanwhile
                    closing.close()

    async def _begin(self, loop: asyncio.AbstractEventLoop) -> LoopClient:
        for other in list(self._clients):
            if other.is_closed():
                self._clients.pop(other, None)
        for held, of_loop in list(_open.items()):
            if of_loop.is_closed():
                _open.pop(held, None)
        pool: Any = redis.asyncio.ConnectionPool.from_url(self._url, **self._settings)
        client = self._clients[loop] = LoopClient(pool.make_connection, self._most, self._timeout)
        _open[client] = loop
        # A loop that ends closes the async generators that began on it: there is no other sign of its end.
        client.ending = self._at_the_end_of(loop, client)
        await anext(client.ending)
        return client

    async def _at_the_end_of(self, loop: asyncio.AbstractEventLoop, client: LoopClient) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._clients.get(loop) is client:
                del self._clients[loop]
            await client.close()


class LoopClient:
    """Up to `most` connections of one event loop."""

    ending: AsyncGenerator[None, None]

    def __init__(self, make_connection: Callable[[], Any], most: int, timeout: float) -> None:
        self._make_connection = make_connection
        self._timeout = timeout
        self._free = asyncio.Semaphore(most)
        self._idle: list[Any] = []
        self._closed = False

    async def send(self, call: Call) -> Any:
        try:
            try:
                return await self._insist(call, by_hash(call))
            except NoScriptError:
                return await self._insist(call, in_full(call))
        except FAILED as error:
            raise StoreUnavailable from error

    async def close(self) -> None:
        """Close the connections, those in use when they have done their work."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(*FAILED):
                await connection.disconnect()
        _open.pop(self, None)

    async def _insist(self, call: Call, command: Command) -> Any:
        attempts = Attempts(call, self._timeout)
        while True:
            try:
                async with asyncio.timeout(self._timeout), self._free:
                    return await self._exchange(command, attempts)
            except BROKEN:
                if not attempts.one_more():
                    raise

    async def _exchange(self, command: Command, attempts: Attempts) -> Any:
        attempts.sent = False
        connection = self._idle.pop() if self._idle else self._make_connection()
        try:
            if connection.is_connected and _is_stale(connection):
                await connection.disconnect(nowait=True)
            await connection.send_command(*command)
            attempts.sent = True
            return await connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            await connection.disconnect(nowait=True)  # a late answer must not be the next call's
            raise
        finally:
            self._idle.append(connection)
            if self._closed:
                await self.close()


def _is_stale(connection: Any) -> bool:
    """Whether the server has closed an idle connection. The system knows at once, the loop when it next looks."""
    number: int = connection._writer.get_extra_info("socket").fileno()
    if number < 0 or not hasattr(select, "poll"):
        return number < 0
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
