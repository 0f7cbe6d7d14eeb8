"""Delivering what stands in the outbox: one thread reads and writes the database, one for each call only calls.

Sites that hang take little from the others: most calls are short, a few at a time may last, and looks at how a link
stands come after what is to be told.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import router
from django.utils.translation import gettext_noop

from syncsessions import database
from syncsessions.commit import outside_transactions
from syncsessions.connections import clock, outbox, standing
from syncsessions.connections.calls import Answer, call
from syncsessions.connections.models import Connection, ConnectionNotice
from syncsessions.connections.outbox import Held
from syncsessions.connections.refusals import error_of
from syncsessions.database import InThreadOfItsOwn
from syncsessions.exceptions import SiteUnavailable

AT_ONCE = 400  # calls
PATIENT_AT_ONCE = 64  # of those that tell something, how many may last
LOOKS_AT_ONCE = 64
WITHIN = 8.0  # seconds for a call that may last
HASTY = 2.5  # seconds for any other
LONGEST_PAUSE = 5.0  # seconds between a failure and the next try: with the call, far less than 20
FIRST_PAUSE = 0.5  # seconds
LOOK_EVERY = 10.0  # seconds between two looks at a link whose other side cannot call here
GLANCE = 0.5  # seconds between two looks for what has become due, while calls are under way
BREATH = 0.1  # seconds that this costs nothing, however fast the answers come
FINAL = (400, 401, 404, 409)
NO_ANSWER = gettext_noop("no answer")
UNREADABLE = gettext_noop("this site's token cannot be read: SECRET_KEY was changed")

_log = logging.getLogger("syncsessions.connections")


class Delivered(NamedTuple):
    """Of notices: those that arrived, those that are left for later, and those that a peer has refused for good.

    Of those that are left, so many are `elsewhere`: another process is about to tell them.
    """

    done: int
    waiting: int
    refused: int
    elsewhere: int = 0


def deliver(*, looks: bool = True, wait: Callable[[], None] = lambda: None) -> Delivered:
    """Tell peers what they are yet to be told, each in order and all at once, and (`looks`) ask how it stands with
    those links whose other side cannot call here. Ends when what is left has to wait: nobody is tried twice in vain.

    `wait` is called before each wait for an answer. Raises `StoreUnavailable`; RuntimeError inside a transaction, which
    nobody else would see that this one delivers.
    """
    outside_transactions(router.db_for_write(ConnectionNotice))
    delivery = Delivery(retries=False)
    if looks:
        delivery.look()
    delivery.begin()
    while delivery.busy:
        wait()
        delivery.settle(GLANCE)
        delivery.begin()
    waiting, elsewhere = delivery.left()
    return Delivered(delivery.done, waiting, delivery.refused, elsewhere)


adeliver = InThreadOfItsOwn(deliver)


@dataclass(frozen=True)
class _Job:
    """A call, and what its answer means; None is an answer that did not come."""

    key: tuple[str, UUID]
    ask: Callable[[], Answer] = field(repr=False)  # it holds a token
    settle: Callable[[Answer | None], None] = field(repr=False)
    patient: bool = False


class Delivery:
    """Used by one thread. `retries`: what has failed is tried again when it is due; else not in this life."""

    def __init__(self, *, retries: bool) -> None:
        self._alias = router.db_for_write(ConnectionNotice)
        self._retries = retries
        self._under_way: dict[tuple[str, UUID], _Job] = {}
        self._held: dict[int, Held] = {}
        self._answers: queue.SimpleQueue[tuple[_Job, Answer | None]] = queue.SimpleQueue()
        self._looks: deque[UUID] = deque()
        self._looked = self._began = float("-inf")
        self._begun: int | None = None
        self.done = self.refused = 0

    @property
    def busy(self) -> bool:
        return bool(self._under_way)

    def begin(self) -> None:
        """Start the calls for what is due and then, as far as there is room, the looks. Raises `StoreUnavailable`."""
        if self._under_way and time.monotonic() < self._began + BREATH:
            return
        self._began = time.monotonic()
        if self._begun is None and not self._retries:
            self._begun = self._run(clock.micros, self._alias)
        if room := self._room():
            self._take(self._run(outbox.due, self._alias, room, begun=self._begun))
        self._begin_looks()

    def look(self) -> None:
        """Put the links whose other side cannot call here in a queue, to be asked how they stand, when it is time to.
        Raises `StoreUnavailable`."""
        # Each round asks each once, in the same order: whoever is next was not asked for longest.
        if not self._looks and time.monotonic() >= self._looked + LOOK_EVERY:
            self._looked = time.monotonic()
            self._looks.extend(self._run(lambda: list(standing.silent(self._alias).values_list("pk", flat=True))))

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
            self._run(outbox.release, self._alias, each)

    def left(self) -> tuple[int, int]:
        """How many notices there are, and for how many of them it is another process' turn."""
        found: tuple[int, int] = self._run(outbox.left, self._alias)
        return found

    def _run(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return database.run(self._alias, lambda _: work(*given, **named))

    def _room(self) -> int:
        return max(0, AT_ONCE - len(self._under_way))

    def _take(self, notices: Iterable[ConnectionNotice]) -> None:
        """Begin to deliver those that no other one was quicker with, nor has a call about its connection under way."""
        free = [notice for notice in notices if ("tell", notice.connection_pk) not in self._under_way]
        patient = sum(job.patient for job in self._under_way.values())
        for held in self._run(outbox.claim, self._alias, free) if free else ():
            self._held[held.notice.pk] = held
            if held.token is None:
                self._later(held, UNREADABLE)
                continue
            lasts = patient < PATIENT_AT_ONCE
            patient += lasts
            ask = partial(_tell, held, WITHIN if lasts else HASTY)
            self._start(_Job(("tell", held.notice.connection_pk), ask, partial(self._told, held), lasts))

    def _begin_looks(self) -> None:
        under_way = sum(kind == "look" for kind, _pk in self._under_way)
        while self._looks and (room := min(self._room(), LOOKS_AT_ONCE - under_way)) > 0:
            pks = [self._looks.popleft() for _ in range(min(room, len(self._looks)))]
            for row in self._run(lambda pks=pks: list(standing.silent(self._alias).filter(pk__in=pks))):
                token, key = row.peer_token, ("look", row.pk)
                if token is not None and key not in self._under_way:
                    ask = partial(call, "GET", row.site_url, "api/status", token=token, within=WITHIN)
                    self._start(_Job(key, ask, partial(self._looked_at, row, token)))
                    under_way += 1

    def _start(self, job: _Job) -> None:
        self._under_way[job.key] = job
        thread = threading.Thread(target=_ask, args=[job, self._answers], name="syncsessions-delivery", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are no more threads to be had
            self._answers.put((job, None))

    def _told(self, held: Held, answer: Answer | None) -> None:
        if answer is None:
            self._later(held, NO_ANSWER)
        elif 200 <= answer.status < 300 or _is_so_already(held, answer):
            self._over(held, None)
        elif answer.status not in FINAL:
            self._later(held, f"HTTP {answer.status}")
        elif self._run(outbox.is_out_of_date, self._alias, held):  # at once again, with what counts by now
            self._held.pop(held.notice.pk, None)
            self._run(outbox.release, self._alias, held)
        elif held.notice.status or answer.status == 409:
            self._over(held, answer)
        else:  # who does not know the link has no row that is to be revoked
            self._over(held, None)

    def _over(self, held: Held, refusal: Answer | None) -> None:
        """Done with, one way or the other; the next one of this connection begins."""
        self._held.pop(held.notice.pk, None)
        why = None if refusal is None else str(error_of(refusal.status, refusal.fields))[:500]
        if not self._run(outbox.finish, self._alias, held, why):
            return
        pk = held.notice.connection_pk
        if refusal is None:
            self.done += 1
        else:
            self.refused += 1
            _log.warning("Connection %s: the other site refused a change of status (%s)", pk, refusal.status)
        following = self._run(outbox.following, self._alias, pk)
        if following is not None:
            self._take([following])

    def _later(self, held: Held, error: str) -> None:
        self._held.pop(held.notice.pk, None)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(held.notice.attempts, 10))
        pause *= random.uniform(0.8, 1.0)  # noqa: S311 - spreads the tries, decides nothing
        self._run(outbox.postpone, self._alias, held, pause, error)

    def _looked_at(self, row: Connection, token: str, answer: Answer | None) -> None:
        if answer is not None:
            self._run(standing.apply, row, token, answer)


def _tell(held: Held, within: float) -> Answer:
    notice = held.notice
    told = {"status": notice.status, "reason": notice.reason, "seq": notice.seq} if notice.status else None
    method = "PATCH" if notice.status else "DELETE"
    return call(method, held.site_url, "api/connection", token=held.token, json=told, within=within)


def _is_so_already(held: Held, answer: Answer) -> bool:
    """Whether the peer refuses a status because it has it."""
    return answer.status == 409 and held.notice.status != "" and answer.fields.get("status") == held.notice.status


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
