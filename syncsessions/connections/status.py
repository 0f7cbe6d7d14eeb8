"""What the other sites say of the links to them, as their answers arrive."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from syncsessions.connections import flow, steps
from syncsessions.connections.calls import Answer, Cancel, call
from syncsessions.connections.enquiries import Enquiries, Over
from syncsessions.connections.models import Connection
from syncsessions.database import InThread
from syncsessions.exceptions import SiteUnavailable

NOT_FOUND, OFFLINE, ERROR = "not_found", "offline", "error"

Item = TypeVar("Item")
_log = logging.getLogger("syncsessions.connections")


def fetch_sender_statuses(receivers: Iterable[Connection]) -> Arrivals[tuple[UUID, str]]:
    """`(id, status)` of each receiver connection as its sender tells it: one of the five statuses, or not_found,
    offline, error. `close()` ends it, and so does dropping it."""
    return Arrivals(receivers, _SENDERS)


def afetch_sender_statuses(receivers: Iterable[Connection]) -> AsyncArrivals[tuple[UUID, str]]:
    """As `fetch_sender_statuses`; `aclose()` ends it."""
    return AsyncArrivals(receivers, _SENDERS)


def fetch_peer_statuses(connections: Iterable[Connection]) -> Arrivals[tuple[UUID, str]]:
    """As `fetch_sender_statuses`, for connections of either direction; a receiver that nobody can call is left out."""
    return Arrivals(connections, _PEERS)


def afetch_peer_statuses(connections: Iterable[Connection]) -> AsyncArrivals[tuple[UUID, str]]:
    """As `fetch_peer_statuses`; `aclose()` ends it."""
    return AsyncArrivals(connections, _PEERS)


def verify_receiver_connections(senders: Iterable[Connection]) -> Arrivals[UUID]:
    """The id of each sender connection whose receiver says that there is no such link, once it is suspended here.

    Asked are those active or pending that were handed over before. A site that does not answer changes nothing.
    """
    return Arrivals(senders, _RECEIVERS)


def averify_receiver_connections(senders: Iterable[Connection]) -> AsyncArrivals[UUID]:
    """As `verify_receiver_connections`; `aclose()` ends it."""
    return AsyncArrivals(senders, _RECEIVERS)


def can_be_asked(connection: Connection) -> bool:
    """Whether the other site can be called at all. Who redeemed an invitation without a callback can call the site
    that made it, and not the other way round."""
    return connection.has_callback or _is_receiver(connection)


def can_be_verified(connection: Connection) -> bool:
    """Whether `verify_receiver_connections` asks about it."""
    return (
        connection.direction == Connection.Direction.SENDER
        and connection.status in (flow.ACTIVE, flow.PENDING)
        and connection.handed_over_at is not None
        and connection.has_callback
    )


def read_answer(answer: Answer) -> str:
    """The status that an answer to `GET api/status` tells."""
    if answer.status == 404 and answer.fields.get("exists") is False:
        return NOT_FOUND
    told = answer.fields.get("connection") if answer.status == 200 else None
    if isinstance(told, dict) and told.get("exists") is True and told.get("status") in flow.STATUSES:
        return str(told["status"])
    return ERROR


class _Question(NamedTuple):
    """All that a thread has to know: it reads nothing of the row, which might be a query."""

    connection: Connection
    site_url: str | None
    token: str | None


class _Said(NamedTuple):
    question: _Question
    status: str


class _Purpose(NamedTuple, Generic[Item]):
    """Whom to ask, and what becomes of an answer: an item to hand out or nothing, by way of the database or not."""

    concerns: Callable[[Connection], bool]
    item: Callable[[_Said], Item | None]
    stores: bool = False


class _Asked(Generic[Item]):
    """What both forms share. The threads know nothing of it, so that it is collected once its consumer is gone."""

    def __init__(self, connections: Iterable[Connection], purpose: _Purpose[Item]) -> None:
        self._connections: Iterable[Connection] = connections
        self._purpose = purpose
        self._begun = False
        self._enquiries: Enquiries[_Question, _Said] = Enquiries(_ask)
        weakref.finalize(self, self._enquiries.close).atexit = False

    def _questions(self) -> list[_Question]:
        connections, self._connections = self._connections, ()
        once = {connection.pk: connection for connection in connections if self._purpose.concerns(connection)}
        return [_Question(connection, connection.site_url, connection.peer_token) for connection in once.values()]


class Arrivals(_Asked[Item], Iterator[Item]):
    """Begins to ask when the first is taken; ends with `close()`, from any thread, or when it is dropped."""

    def __next__(self) -> Item:
        if not self._begun:
            self._begun = True
            self._enquiries.put(self._questions())
        try:
            while (said := self._enquiries.take(wait=True)) is not None:
                item = self._purpose.item(said)
                if item is not None:
                    return item
        except Over:
            pass
        raise StopIteration

    def close(self) -> None:
        """Cancel what is in flight; nothing more arrives."""
        self._enquiries.close()


class AsyncArrivals(_Asked[Item], AsyncIterator[Item]):
    """As `Arrivals`, with `aclose()`; the database is used in the thread that Django gives to async code."""

    async def __anext__(self) -> Item:
        if not self._begun:
            self._begun = True
            self._rung = asyncio.Event()
            ring = _bell(asyncio.get_running_loop(), self._rung)
            self._enquiries.put(await InThread(self._questions)(), ring)
        while True:
            self._rung.clear()
            try:
                said = self._enquiries.take(wait=False)
            except Over:
                raise StopAsyncIteration from None
            if said is None:
                await self._rung.wait()
                continue
            work = self._purpose.item
            item = await InThread(work)(said) if self._purpose.stores else work(said)
            if item is not None:
                return item

    async def aclose(self) -> None:
        """Cancel what is in flight; nothing more arrives."""
        self._enquiries.close()


def _bell(loop: asyncio.AbstractEventLoop, rung: asyncio.Event) -> Callable[[], None]:
    def ring() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(rung.set)

    return ring


def _ask(question: _Question, cancel: Cancel) -> _Said:
    if not question.token:
        return _Said(question, ERROR)
    try:
        return _Said(
            question, read_answer(call("GET", question.site_url, "api/status", token=question.token, cancel=cancel))
        )
    except SiteUnavailable as error:
        return _Said(question, OFFLINE if error.offline else ERROR)


def _shown(said: _Said) -> tuple[UUID, str]:
    return said.question.connection.pk, said.status


def _severed(said: _Said) -> UUID | None:
    connection, asked_with = said.question.connection, said.question.token or ""
    if said.status != NOT_FOUND:
        if said.status in (OFFLINE, ERROR):
            _log.info("Connection %s could not be verified: %s", connection.pk, said.status)
        return None
    try:
        return connection.pk if steps.sever(connection, asked_with) else None
    except Exception as error:
        _log.error(
            "Connection %s is gone at the other site; it was not suspended: %s", connection.pk, type(error).__name__
        )
        return None


def _is_receiver(connection: Connection) -> bool:
    return connection.direction == Connection.Direction.RECEIVER


_SENDERS = _Purpose(_is_receiver, _shown)
_PEERS = _Purpose(can_be_asked, _shown)
_RECEIVERS = _Purpose(can_be_verified, _severed, stores=True)
