"""The records of one namespace in memory, in the order of their age and of their deadlines."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Any

from syncsessions.stores.memory.window import Window
from syncsessions.stores.record import moment

SPARE = 64  # stale places in the queue that are always borne
_numbers = count()  # of places in the queue, so that equal times never compare entries


class Entry:
    """A record as it is kept: `content` and the log's entries are JSON, so that each reader decodes a copy of its own.

    With `encode` the content is a value of the room that keeps it, and becomes JSON when somebody reads the record.
    """

    __slots__ = (
        "attached",
        "content",
        "created",
        "deadline",
        "encode",
        "id",
        "life",
        "log",
        "queued",
        "revision",
    )

    def __init__(
        self,
        id: str,  # noqa: A002
        life: str,
        content: Any,
        encode: Callable[[Any], str] | None,
        now: float,
        deadline: float,
    ) -> None:
        self.id = id
        self.life = life
        self.content = content
        self.encode = encode
        self.revision = 1
        self.created = now
        self.deadline = deadline
        self.queued = deadline
        """When its place in the queue comes up: never after the deadline. 0 when the record has left."""
        self.log: list[Any] | None = None
        self.attached: Any = None
        """What the room that keeps it wants to find again with it."""

    @property
    def text(self) -> str:
        return self.content if self.encode is None else self.encode(self.content)

    @property
    def created_at(self) -> datetime:
        return moment(self.created)

    @property
    def expires_at(self) -> datetime:
        return moment(self.deadline)


class Space:
    """Live records, oldest first, and beside them what has expired and was not yet taken.

    The queue is a heap of times to look at a record. A later deadline leaves it alone, an earlier one takes a second
    place, and a record that goes leaves its place stale: stale places are swept when they outnumber the records.
    """

    __slots__ = ("_queue", "_stale", "aside", "creates", "records")

    def __init__(self) -> None:
        self.records: dict[str, Entry] = {}
        self.aside: deque[Entry] = deque()
        self.creates = Window()
        self._queue: list[tuple[float, int, Entry]] = []
        self._stale = 0

    def add(self, entry: Entry) -> None:
        """A new record; one past its deadline with the same id is set aside."""
        old = self.records.get(entry.id)
        if old is not None:
            self.remove(old)
            self.aside.append(old)
        self.records[entry.id] = entry
        heappush(self._queue, (entry.queued, next(_numbers), entry))

    def move(self, entry: Entry, deadline: float) -> None:
        """Give a record another deadline."""
        entry.deadline = deadline
        if deadline < entry.queued:
            entry.queued = deadline
            heappush(self._queue, (deadline, next(_numbers), entry))
            self._one_more_is_stale()

    def remove(self, entry: Entry) -> None:
        del self.records[entry.id]
        entry.queued = 0.0
        self._one_more_is_stale()

    def settle(self, now: float, enough: float = math.inf) -> None:
        """Set aside what is past its deadline, until so many have been."""
        queue, aside = self._queue, self.aside
        while queue and queue[0][0] <= now and len(aside) < enough:
            due, _number, entry = queue[0]
            if entry.queued != due:
                heappop(queue)
                self._stale -= 1
            elif entry.deadline > now:
                entry.queued = entry.deadline
                heapreplace(queue, (entry.deadline, next(_numbers), entry))
            else:
                heappop(queue)
                entry.queued = 0.0
                del self.records[entry.id]
                aside.append(entry)

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost with it."""
        return not self.records and not self.aside and self.creates.is_over(now)

    def _one_more_is_stale(self) -> None:
        self._stale += 1
        if self._stale > len(self.records) + SPARE:
            self._queue = [place for place in self._queue if place[2].queued == place[0]]
            heapify(self._queue)
            self._stale = len(self._queue) - len(self.records)
