"""`MemoryStore`: each operation under one lock, on plain Python structures."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.checks import Warning as Caution

from syncsessions.exceptions import AlreadyExists, Conflict, NotFound, SessionLimitReached
from syncsessions.json_values import JSON, decode, encode
from syncsessions.stores import operations
from syncsessions.stores.base import BaseStore
from syncsessions.stores.memory.space import Entry, Space
from syncsessions.stores.memory.window import Window
from syncsessions.stores.operations import Operation
from syncsessions.stores.record import Rate, Record, moment

FEW = 1000  # namespaces and keys that are kept without a look at whether they still matter
_SINCE_1970 = time.time() - time.monotonic()  # deadlines stay where they are when somebody sets the wall clock

# One lock for all stores of the process. A fork waits for it: no child gets a store in the middle of a change.
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def clock() -> float:
    """Seconds since 1970, never going back."""
    return time.monotonic() + _SINCE_1970


class MemoryStore(BaseStore):
    """The store of one process. Any thread and any event loop may use it; no operation waits for anything."""

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self._spaces: dict[str, Space] = {}
        self._windows: dict[str, Window] = {}
        self._many = FEW
        self._ways: dict[type[Any], Callable[[Any], Any]] = {
            operations.Create: self._create,
            operations.Get: self._get,
            operations.Replace: self._replace,
            operations.Delete: self._delete,
            operations.Touch: self._touch,
            operations.Count: self._count,
            operations.List: self._list,
            operations.Expire: self._expire,
            operations.ReadLog: self._read_log,
            operations.Hit: self._hit,
            operations.Unhit: self._unhit,
            operations.Ping: lambda operation: clock(),
        }

    def execute(self, operation: Operation) -> Any:
        return self._ways[type(operation)](operation)

    async def aexecute(self, operation: Operation) -> Any:
        return self._ways[type(operation)](operation)

    def check(self) -> Sequence[CheckMessage]:
        if settings.DEBUG:
            return []
        return [
            Caution(
                f"The store {self.alias!r} is in memory and reaches one process only: others find none of its records.",
                hint="With several processes use RedisStore or DatabaseStore. With one, silence this check.",
                id="syncsessions.W008",
            )
        ]

    def _create(self, operation: operations.Create) -> Record:
        namespace, id_, life, data, text, ttl, limit, rate = operation
        entry = self.add(namespace, id_, life, text, None, ttl, limit, rate)
        return Record(namespace, id_, life, data, 1, entry.created_at, moment(entry.created + ttl))

    def add(
        self,
        namespace: str,
        id_: str,
        life: str,
        content: Any,
        encode: Callable[[Any], str] | None,
        ttl: float,
        limit: int | None,
        rate: Rate | None,
        attach: Callable[[Entry], Any] | None = None,
    ) -> Entry:
        """A new record's entry, with what `attach` makes for it. Raises what `create` does."""
        with _lock:
            now = clock()
            space = self._spaces.get(namespace) or self._new_space(namespace, now)
            old = space.records.get(id_)
            if old is not None and old.deadline > now:
                raise AlreadyExists
            if limit is not None and len(space.records) >= limit:
                space.settle(now)
                if len(space.records) >= limit:
                    raise SessionLimitReached
            if rate is not None:
                space.creates.hit(rate, now, life)
            entry = Entry(id_, life, content, encode, now, now + ttl)
            if attach is not None:  # nobody finds the one without the other
                entry.attached = attach(entry)
            space.add(entry)
        return entry

    def find(self, namespace: str, id_: str) -> Entry | None:
        """The live record's entry, to be looked at and given back to `swap`, and not to be changed."""
        space = self._spaces.get(namespace)
        entry = None if space is None else space.records.get(id_)
        return entry if entry is not None and entry.deadline > clock() else None

    def swap(
        self,
        namespace: str,
        entry: Entry,
        revision: int,
        content: Any,
        ttl: float,
        log: Any = None,
        keep: int = 0,
        drop: int = 0,
    ) -> bool:
        """`replace` for an entry with `encode`: whether it still had this revision. Raises `NotFound`."""
        with _lock:
            now = clock()
            if entry.deadline <= now or not entry.queued:
                raise NotFound
            if entry.revision != revision:
                return False
            # In this order: who reads the revision and then the content has content of that revision or a later one.
            entry.content = content
            entry.revision = revision + 1
            deadline = now + ttl
            if deadline < entry.queued:
                self._spaces[namespace].move(entry, deadline)
            else:
                entry.deadline = deadline
            if log is not None or drop:
                entry.log = _logged(entry.log or [], log, keep, drop)
        return True

    def keep(self, namespace: str, entry: Entry, ttl: float) -> bool:
        """`touch` for an entry; whether it is still there."""
        now = clock()
        if entry.deadline <= now or not entry.queued:
            return False
        deadline = now + ttl
        if deadline < entry.queued:
            self.touch(namespace, entry.id, ttl, life=entry.life)
        else:
            entry.deadline = deadline
        return True

    def _get(self, operation: operations.Get) -> Record:
        namespace, id_ = operation
        with _lock:
            entry = self._live(namespace, id_, clock())[1]
            text, revision, deadline = entry.text, entry.revision, entry.deadline
        return Record(namespace, id_, entry.life, decode(text), revision, entry.created_at, moment(deadline))

    def _replace(self, operation: operations.Replace) -> Record:
        namespace, id_, data, text, revision, ttl, life, log, keep, drop = operation
        with _lock:
            now = clock()
            space, entry = self._live(namespace, id_, now)
            if entry.revision != revision or (life is not None and entry.life != life):
                raise Conflict
            entry.content, entry.encode = text, None
            entry.revision += 1
            if ttl is not None:
                space.move(entry, now + ttl)
            if log is not None or drop:
                entry.log = _logged(entry.log or [], log, keep, drop)
            deadline = entry.deadline
        return Record(namespace, id_, entry.life, data, revision + 1, entry.created_at, moment(deadline))

    def _delete(self, operation: operations.Delete) -> bool:
        namespace, id_, life = operation
        with _lock:
            try:
                space, entry = self._live(namespace, id_, clock())
            except NotFound:
                return False
            if life is not None and entry.life != life:
                return False
            space.remove(entry)
        return True

    def _touch(self, operation: operations.Touch) -> None:
        namespace, id_, ttl, life = operation
        with _lock:
            now = clock()
            space, entry = self._live(namespace, id_, now)
            if life is not None and entry.life != life:
                raise Conflict
            space.move(entry, now + ttl)

    def _count(self, operation: operations.Count) -> int:
        with _lock:
            space = self._spaces.get(operation.namespace)
            if space is None:
                return 0
            space.settle(clock())
            return len(space.records)

    def _list(self, operation: operations.List) -> list[Record]:
        namespace, offset, limit = operation
        with _lock:
            space = self._spaces.get(namespace)
            if space is None:
                return []
            space.settle(clock())
            entries = islice(reversed(space.records.values()), offset, None if limit is None else offset + limit)
            found = [(e.id, e.life, e.content, e.encode, e.revision, e.created, e.deadline) for e in entries]
        return [
            Record(
                namespace,
                id_,
                life,
                decode(content if encode is None else encode(content)),
                revision,
                moment(created),
                moment(deadline),
            )
            for id_, life, content, encode, revision, created, deadline in found
        ]

    def _expire(self, operation: operations.Expire) -> list[Record]:
        namespace, limit = operation
        with _lock:
            space = self._spaces.get(namespace)
            if space is None:
                return []
            space.settle(clock(), limit)
            found = [space.aside.popleft() for _ in range(min(limit, len(space.aside)))]
        return [Record(namespace, e.id, e.life, decode(e.text), e.revision, e.created_at, e.expires_at) for e in found]

    def _read_log(self, operation: operations.ReadLog) -> list[JSON]:
        namespace, id_, limit = operation
        with _lock:
            log = self._live(namespace, id_, clock())[1].log or []
            newest = list(islice(reversed(log), limit))
        return [decode(each if isinstance(each, str) else encode(each)) for each in newest]

    def _hit(self, operation: operations.Hit) -> str:
        key, rate, token = operation
        with _lock:
            now = clock()
            window = self._windows.get(key) or self._new_window(key, now)
            window.hit(rate, now, token)
        return token

    def _unhit(self, operation: operations.Unhit) -> None:
        with _lock:
            window = self._windows.get(operation.key)
            if window is not None:
                window.unhit(operation.token)

    def _live(self, namespace: str, id_: str, now: float) -> tuple[Space, Entry]:
        space = self._spaces.get(namespace)
        if space is not None:
            entry = space.records.get(id_)
            if entry is not None and entry.deadline > now:
                return space, entry
        raise NotFound

    def _new_space(self, namespace: str, now: float) -> Space:
        self._sweep(now)
        space = self._spaces[namespace] = Space()
        return space

    def _new_window(self, key: str, now: float) -> Window:
        self._sweep(now)
        window = self._windows[key] = Window()
        return window

    def _sweep(self, now: float) -> None:
        """Drop what matters no more each time that there is twice of what mattered last time."""
        if len(self._spaces) + len(self._windows) < self._many:
            return
        self._spaces = {name: space for name, space in self._spaces.items() if not space.is_idle(now)}
        self._windows = {key: window for key, window in self._windows.items() if not window.is_over(now)}
        self._many = max(FEW, 2 * (len(self._spaces) + len(self._windows)))


def _logged(log: list[Any], entry: Any, keep: int, drop: int) -> list[Any]:
    if drop:
        del log[-drop:]
    if entry is not None:
        log.append(entry)
        if len(log) > keep:
            del log[: len(log) - keep]
    return log
