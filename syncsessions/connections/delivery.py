"""Delivering what stands in the outbox: one thread reads and writes the database, one for each call only calls.

Of a connection the oldest notice goes first, under a lease: who is killed while it delivers leaves it to the others
when the lease ends, and what then arrives twice is known to the peer by its number.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections, router, transaction
from django.db.models import F, Min
from django.utils.translation import gettext_noop

from syncsessions import database
from syncsessions.connections import announce, outbox, standing
from syncsessions.connections.calls import Answer, call
from syncsessions.connections.models import Connection, ConnectionNotice
from syncsessions.connections.refusals import error_of
from syncsessions.exceptions import SiteUnavailable

WITHIN = 8.0  # seconds for one call
LEASE = 12.0  # seconds
LONGEST_PAUSE = 5.0  # seconds between a failure and the next try: with the call, far less than 20
FIRST_PAUSE = 0.5  # seconds
LOOK_EVERY = 10.0  # seconds between two looks at a link whose other side cannot call here
AT_ONCE = 200
GLANCE = 0.5  # seconds between two looks for what has become due, while calls are under way
FINAL = (400, 401, 404, 409)
NO_ANSWER = gettext_noop("no answer")
UNREADABLE = gettext_noop("this site's token cannot be read: SECRET_KEY was changed")

_log = logging.getLogger("syncsessions.connections")


@dataclass(frozen=True)
class _Job:
    """A call, and what its answer means; None is an answer that did not come."""

    key: tuple[str, UUID]
    ask: Callable[[], Answer] = field(repr=False)  # it holds a token
    settle: Callable[[Answer | None], None] = field(repr=False)


@dataclass(frozen=True)
class _Held:
    """A notice under this one's lease, and with what it is told."""

    notice: ConnectionNotice
    leased_until: int
    site_url: str
    token: str | None = field(repr=False)


class Delivery:
    """Used by one thread. `retries`: what has failed is tried again when it is due; else not in this life."""

    def __init__(self, *, retries: bool) -> None:
        self._alias = router.db_for_write(ConnectionNotice)
        self._retries = retries
        self._under_way: dict[tuple[str, UUID], _Job] = {}
        self._held: dict[int, _Held] = {}
        self._failed: set[UUID] = set()
        self._answers: queue.SimpleQueue[tuple[_Job, Answer | None]] = queue.SimpleQueue()
        self._looked: float | None = None
        self.done = self.refused = 0

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def begin(self) -> None:
        """Start the calls for what is due. Raises `StoreUnavailable`."""
        for notice in self._heads():
            if len(self._under_way) >= AT_ONCE:
                return
            self._take(notice)

    def look(self) -> None:
        """Start to ask how it stands with the links whose other side cannot call here, when it is time to."""
        if self._looked is not None and time.monotonic() < self._looked + LOOK_EVERY:
            return
        self._looked = time.monotonic()
        for row in self._run(lambda: list(standing.silent(self._alias))):
            token = row.peer_token
            if token is not None and len(self._under_way) < AT_ONCE:
                ask = partial(call, "GET", row.site_url, "api/status", token=token, within=WITHIN)
                self._start(_Job(("look", row.pk), ask, partial(self._looked_at, row, token)))

    def settle(self, seconds: float) -> None:
        """Wait so long for an answer, and do what it and those that came with it ask for. Raises `StoreUnavailable`."""
        try:
            job, answer = self._answers.get(timeout=seconds) if seconds else self._answers.get_nowait()
            while True:
                self._under_way.pop(job.key, None)
                job.settle(answer)
                job, answer = self._answers.get_nowait()
        except queue.Empty:
            return

    def let_go(self) -> None:
        """Leave what is under way to others, at once."""
        held, self._held = self._held, {}
        for each in held.values():
            self._run(partial(self._mine(each).update, leased_until=0))

    def waiting(self) -> int:
        return int(self._run(ConnectionNotice.objects.using(self._alias).count))

    def _run(self, work: Callable[[], Any]) -> Any:
        return database.run(self._alias, lambda _: work())

    def _heads(self) -> list[ConnectionNotice]:
        rows = ConnectionNotice.objects.using(self._alias)
        oldest = rows.values("connection_pk").annotate(head=Min("pk")).values("head")

        def work() -> list[ConnectionNotice]:
            now = outbox.micros(self._alias)
            due = rows.filter(pk__in=list(oldest.values_list("head", flat=True)), due__lte=now, leased_until__lte=now)
            return list(due.exclude(connection_pk__in=self._failed).order_by("due")[: AT_ONCE - len(self._under_way)])

        found: list[ConnectionNotice] = self._run(work)
        return found

    def _take(self, notice: ConnectionNotice) -> None:
        """Begin to deliver a notice, unless another one was quicker, or a call about this connection is under way."""
        key = "tell", notice.connection_pk
        if key in self._under_way:
            return
        until = self._run(partial(self._claimed, notice))
        if until is None:
            return
        held = _Held(notice, until, *self._run(partial(self._way, notice)))
        self._held[notice.pk] = held
        if held.token is None:
            self._later(held, UNREADABLE)
            return
        told = {"status": notice.status, "reason": notice.reason, "seq": notice.seq}
        ask = partial(
            call,
            "PATCH" if notice.status else "DELETE",
            held.site_url,
            "api/connection",
            token=held.token,
            json=told if notice.status else None,
            within=WITHIN,
        )
        self._start(_Job(key, ask, partial(self._told, held)))

    def _claimed(self, notice: ConnectionNotice) -> int | None:
        """Until when the lease is this one's; None where it is another one's, or the notice is not due or gone."""
        now = outbox.micros(self._alias)
        if max(notice.due, notice.leased_until) > now:
            return None
        until = now + int(LEASE * 1_000_000)
        as_seen = ConnectionNotice.objects.using(self._alias).filter(
            pk=notice.pk, due=notice.due, leased_until=notice.leased_until
        )
        return until if as_seen.update(leased_until=until, attempts=F("attempts") + 1) else None

    def _way(self, notice: ConnectionNotice) -> tuple[str, str | None]:
        """Site and token: the connection's, as long as there is one, which may have changed them since."""
        row = Connection.objects.using(self._alias).filter(pk=notice.connection_pk).first()
        if row is not None and row.is_reachable:
            return str(row.site_url), row.peer_token
        return notice.site_url, notice.token

    def _start(self, job: _Job) -> None:
        if job.key in self._under_way:
            return
        self._under_way[job.key] = job
        thread = threading.Thread(target=_ask, args=[job, self._answers], name="syncsessions-delivery", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are no more threads to be had
            self._answers.put((job, None))

    def _told(self, held: _Held, answer: Answer | None) -> None:
        if answer is None:
            self._later(held, NO_ANSWER)
        elif 200 <= answer.status < 300:
            self._over(held, None)
        elif answer.status not in FINAL:
            self._later(held, f"HTTP {answer.status}")
        elif self._run(partial(self._way, held.notice)) != (held.site_url, held.token):
            self._again(held)
        elif held.notice.status or answer.status == 409:
            self._over(held, answer)
        else:  # who does not know the link has no row that is to be revoked
            self._over(held, None)

    def _over(self, held: _Held, refusal: Answer | None) -> None:
        """Done with, one way or the other; the next one of this connection begins."""
        self._held.pop(held.notice.pk, None)
        pk = held.notice.connection_pk

        def work() -> bool:
            with transaction.atomic(using=self._alias):
                gone = ConnectionNotice.objects.using(self._alias).filter(pk=held.notice.pk).delete()[0]
                if refusal is not None:
                    why = str(error_of(refusal.status, refusal.fields))[:500]
                    Connection.objects.using(self._alias).filter(pk=pk).update(delivery_error=why)
                    announce.rung(self._alias)
            return bool(gone)

        if not self._run(work):
            return  # another one has told it too, whose lease had ended
        if refusal is None:
            self.done += 1
        else:
            self.refused += 1
            _log.warning("Connection %s: the other site refused a change of status (%s)", pk, refusal.status)
        notices = ConnectionNotice.objects.using(self._alias).filter(connection_pk=pk).order_by("pk")
        following = self._run(notices.first)
        if following is not None:
            self._take(following)

    def _again(self, held: _Held) -> None:
        """At once, as its token was another one by the time it arrived."""
        self._held.pop(held.notice.pk, None)
        self._run(partial(self._mine(held).update, leased_until=0))

    def _later(self, held: _Held, error: str) -> None:
        self._held.pop(held.notice.pk, None)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(held.notice.attempts, 10))
        pause *= random.uniform(0.8, 1.0)  # noqa: S311 - spreads the tries, decides nothing

        def work() -> None:
            due = outbox.micros(self._alias) + int(pause * 1_000_000)
            self._mine(held).update(leased_until=0, due=due, last_error=error)

        self._run(work)
        if not self._retries:
            self._failed.add(held.notice.connection_pk)

    def _mine(self, held: _Held) -> Any:
        rows = ConnectionNotice.objects.using(self._alias)
        return rows.filter(pk=held.notice.pk, leased_until=held.leased_until)

    def _looked_at(self, row: Connection, token: str, answer: Answer | None) -> None:
        if answer is not None:
            self._run(partial(standing.apply, row, token, answer))


def _ask(job: _Job, answers: queue.SimpleQueue[tuple[_Job, Answer | None]]) -> None:
    answer = None
    try:
        answer = job.ask()
    except SiteUnavailable:
        pass
    except Exception as error:  # not its text: that may hold the request, and that the token
        _log.error("A call to another site failed: %s", type(error).__name__)
    finally:
        answers.put((job, answer))


def once(*, looks: bool = True, wait: Callable[[], None] = lambda: None) -> outbox.Delivered:
    """What `outbox.deliver` says. `wait` is called before each wait for an answer."""
    with transaction.atomic(using=router.db_for_write(ConnectionNotice), durable=True):
        pass  # inside a transaction this raises
    delivery = Delivery(retries=False)
    if looks:
        delivery.look()
    delivery.begin()
    while delivery.busy:
        wait()
        delivery.settle(GLANCE)
        delivery.begin()
    return outbox.Delivered(delivery.done, delivery.waiting(), delivery.refused)


class _Elsewhere(Exception):
    """The alias leads to another database by now, as at the end of tests."""


class _Soon:
    """The one thread of a process that delivers after a change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: tuple[str, object] | None = None
        self._running = False

    def want(self, alias: str) -> None:
        with self._lock:
            self._wanted = alias, _place(alias)
            if self._running:
                return
            self._running = True
        try:
            threading.Thread(target=self._run, name="syncsessions-outbox", daemon=True).start()
        except RuntimeError:  # there are no more threads to be had
            self._running = False

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._wanted is None:
                    self._running = False
                    return
                (alias, place), self._wanted = self._wanted, None
            try:
                _put_down(alias, place)
                once(looks=False, wait=partial(_put_down, alias, place))
            except _Elsewhere:
                pass
            except Exception as error:  # the next change, or the command, tries again
                _log.warning("Changes are not told to other sites now: %s", type(error).__name__)
            finally:
                connections.close_all()


def _place(alias: str) -> object:
    return connections.databases[alias]["NAME"]


def _put_down(alias: str, place: object) -> None:
    """Hold no database while a peer takes its time."""
    connections[alias].close()
    if _place(alias) != place:
        raise _Elsewhere


_soon = _Soon()


def soon() -> None:
    """What `outbox.deliver_soon` says. A database in memory is a test's, and ends with it."""
    alias = router.db_for_write(ConnectionNotice)
    connection: Any = connections[alias]
    if not (connection.vendor == "sqlite" and connection.is_in_memory_db()):
        _soon.want(alias)


def _start_anew() -> None:
    """In a forked child: the thread stayed behind, and so did whoever may have held the lock."""
    global _soon
    _soon = _Soon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
