"""`SessionProcess`: a class of session processes; what it declares, and how its sessions are started and found."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from syncsessions import conf
from syncsessions.exceptions import (
    AlreadyExists,
    CallFailed,
    InvalidSessionId,
    NotFound,
    SessionNotFound,
    SyncSessionsError,
)
from syncsessions.json_values import encode
from syncsessions.processes import registry, sweeping, telling
from syncsessions.processes.declarations import Reducer
from syncsessions.processes.document import Document, completed, data_of, of_snapshot, opened
from syncsessions.processes.frozen import FrozenDict, frozen, frozen_dict, merged
from syncsessions.processes.live import LiveSession, text_of
from syncsessions.processes.names import MAX_PATH, NAMESPACE, is_id, record_prefix
from syncsessions.processes.running import Steps, arun, run
from syncsessions.processes.session import Session
from syncsessions.processes.stored import StoredSession, clock_of
from syncsessions.processes.table import Plan, Table
from syncsessions.stores import BaseStore, operations, stores
from syncsessions.stores.memory import MemoryStore
from syncsessions.stores.record import Record

ALIAS = "processes"
_holding = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_holding.acquire, after_in_parent=_holding.release, after_in_child=_holding.release)
_sessions: weakref.WeakValueDictionary[tuple[str, str], Session] = weakref.WeakValueDictionary()


class SessionProcess:
    """A state machine per user session: subclass it, declare its messages, and start sessions by their ids.

    `reducers`: Reducer classes, or {slice: Reducer}. `ttl`: seconds that an idle session lives (None: PROCESS_TTL).
    `history`: actions kept (0: none). `middleware`: `(session_id, action, state, next)`, the first is outermost.
    `client_actions`: what a browser may dispatch. `unknown_action`: "raise", "log" or "ignore". `vsn` and `migrate`
    take snapshots and sessions of another version over.

    Methods marked `@call` and `@cast` are its messages; they are sync, pure, and see `self.session_id`.
    """

    reducers: ClassVar[Sequence[type[Reducer]] | Mapping[str, type[Reducer]]] = ()
    ttl: ClassVar[float | None] = None
    history: ClassVar[int] = 0
    middleware: ClassVar[Sequence[Callable[..., Any]]] = ()
    client_actions: ClassVar[Any] = frozenset()
    unknown_action: ClassVar[str] = "raise"
    vsn: ClassVar[int] = 1

    table: ClassVar[Table]
    simple: ClassVar[Mapping[str, Plan]]
    """Plans that a message in memory may take without a look at times, history and middleware."""
    needs_clock: ClassVar[bool]
    path: ClassVar[str]
    says_goodbye: ClassVar[bool]
    """Whether it has an `on_stop` of its own."""
    _prefix: ClassVar[str]

    session_id: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._declare()

    @classmethod
    def _declare(cls) -> None:
        cls.table = Table(cls, cls.reducers)
        cls.path = f"{cls.__module__}.{cls.__qualname__}"
        cls._prefix = record_prefix(cls.path)
        cls.simple = {} if cls.history or cls.middleware else cls.table.simple
        cls.needs_clock = bool(cls.history) or any(not each.is_plain for each in cls.table.handlers.values())
        registry.add(cls._prefix[:-1], cls)
        cls.says_goodbye = cls.on_stop is not SessionProcess.on_stop

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id

    def init(self, args: Any) -> dict[str, Any]:
        """The process's own top-level keys at the start; `args` are what `start` was given."""
        return {}

    def on_stop(self, session_id: str, state: FrozenDict, reason: str) -> None:
        """The session has stopped: "terminated" or "expired". Called once per life; raising is reported."""

    def migrate(self, old_vsn: int, state: dict[str, Any]) -> dict[str, Any]:
        """The state of another version as one of this version."""
        return state

    # Sessions

    @classmethod
    def start(cls, id: str, args: Any = None) -> Session:  # noqa: A002
        """Start a session. Raises `InvalidSessionId`, `AlreadyExists`, `SessionLimitReached`, `RateLimited`, and
        `CallFailed` when `init` raised; then nothing has changed."""
        return run(cls.store(), cls._start(id, args))

    @classmethod
    async def astart(cls, id: str, args: Any = None) -> Session:  # noqa: A002
        return await arun(cls.store(), cls._start(id, args))

    @classmethod
    def get(cls, id: str) -> Session:  # noqa: A002
        """The running session of this id. Raises `SessionNotFound`."""
        store = stores[ALIAS]
        if type(store) is MemoryStore:
            entry = store.find(NAMESPACE, cls._prefix + id) if type(id) is str else None
            if entry is None:
                raise SessionNotFound
            return entry.attached  # type: ignore[no-any-return]
        return run(store, cls._get(id))

    @classmethod
    async def aget(cls, id: str) -> Session:  # noqa: A002
        return await arun(cls.store(), cls._get(id))

    @classmethod
    def get_or_start(cls, id: str, args: Any = None) -> Session:  # noqa: A002
        """The running session of this id, started where there is none."""
        return run(cls.store(), cls._get_or_start(id, args))

    @classmethod
    async def aget_or_start(cls, id: str, args: Any = None) -> Session:  # noqa: A002
        return await arun(cls.store(), cls._get_or_start(id, args))

    @classmethod
    def started(cls, id: str) -> bool:  # noqa: A002
        """Whether a session of this id runs."""
        return run(cls.store(), cls._started(id))

    @classmethod
    async def astarted(cls, id: str) -> bool:  # noqa: A002
        return await arun(cls.store(), cls._started(id))

    @classmethod
    def restore(cls, id: str, snapshot: Mapping[str, Any]) -> Session:  # noqa: A002
        """Start a session from a snapshot, at revision 0. Raises what `start` does; `InvalidValue` for no snapshot."""
        return run(cls.store(), cls._restore(id, snapshot))

    @classmethod
    async def arestore(cls, id: str, snapshot: Mapping[str, Any]) -> Session:  # noqa: A002
        return await arun(cls.store(), cls._restore(id, snapshot))

    @classmethod
    def lifetime(cls) -> float:
        """Seconds that an idle session lives."""
        return float(conf.current().PROCESS_TTL if cls.ttl is None else cls.ttl)

    @classmethod
    def store(cls) -> BaseStore:
        return stores[ALIAS]

    # How

    @classmethod
    def _start(cls, session_id: str, args: Any, *, or_other: bool = False) -> Steps[Session]:
        def document() -> Document:
            plain = frozen(args, "args")
            try:
                start = cls(session_id).init(plain)
            except SyncSessionsError:
                raise
            except Exception as error:
                raise cls._failed("init", error) from error
            return opened(cls.table, cls.vsn, frozen_dict(start, "init"))

        return (yield from cls._open(session_id, document, or_other=or_other))

    @classmethod
    def _restore(cls, session_id: str, snapshot: object) -> Steps[Session]:
        def document() -> Document:
            state, rest = of_snapshot(snapshot)
            if rest.vsn != cls.vsn:
                state, rest = cls.migrated(session_id, rest.vsn, state), rest.of_version(cls.vsn)
            return completed(cls.table, state), 0, rest

        return (yield from cls._open(session_id, document))

    @classmethod
    def migrated(cls, session_id: str, old_vsn: int, state: FrozenDict) -> FrozenDict:
        """The state as `migrate` makes it one of this version."""
        try:
            return frozen_dict(cls(session_id).migrate(old_vsn, state), "migrate")
        except SyncSessionsError:
            raise
        except Exception as error:
            raise cls._failed("migrate", error) from error

    @classmethod
    def migrated_start(cls, session_id: str, old_vsn: int, start: FrozenDict) -> FrozenDict:
        """What `init` would have returned in this version, for `reset`."""
        made = cls.migrated(session_id, old_vsn, merged(start, cls.table.slices))
        return frozen_dict({key: value for key, value in made.items() if key not in cls.table.slices}, "migrate")

    @classmethod
    def _open(cls, session_id: str, document_of: Callable[[], Document], *, or_other: bool = False) -> Steps[Session]:
        """With `or_other` a session that somebody else starts meanwhile serves as well."""
        try:
            if not is_id(session_id):
                raise InvalidSessionId
            document = document_of()
            session = yield from cls._create(session_id, document)
        except SyncSessionsError as error:
            if not (or_other and isinstance(error, AlreadyExists)):
                telling.start_failed(cls, session_id, error)
            raise
        telling.started(cls, session_id)
        yield from sweeping.now_and_then()
        return session

    @classmethod
    def _create(cls, session_id: str, document: Document) -> Steps[Session]:
        if len(cls.path) > MAX_PATH:
            state, revision, rest = document
            document = state, revision, rest._replace(path=cls.path)
        settings, store, ttl = conf.current(), stores[ALIAS], cls.lifetime()
        record_id = cls._prefix + session_id
        judged = operations.create(NAMESPACE, record_id, {}, ttl, settings.MAX_PROCESSES, settings.PROCESS_START_RATE)
        if type(store) is MemoryStore:
            entry = store.add(
                NAMESPACE,
                record_id,
                judged.life,
                document,
                text_of,
                ttl,
                judged.limit,
                judged.rate,
                lambda entry: LiveSession(cls, session_id, store, entry),
            )
            return entry.attached  # type: ignore[no-any-return]
        data = data_of(document)
        record: Record = yield judged._replace(data=data, text=encode(data))
        clock_of(store).set(record.created_at.timestamp())
        return cls._held(session_id, store, record)

    @classmethod
    def _held(cls, session_id: str, store: BaseStore, record: Record) -> StoredSession:
        """This process's one object for the record's life."""
        key = (record.id, record.life)
        with _holding:
            held = _sessions.get(key)
            if isinstance(held, StoredSession) and held.process is cls and held.store is store:
                held.learn(record)
                return held
            session = _sessions[key] = StoredSession(cls, session_id, store, record)
        return session

    @classmethod
    def _of_record(cls, session_id: str, record: Record) -> Session | None:
        """The session of a record that was just read; None where it is gone by now."""
        store = stores[ALIAS]
        if type(store) is not MemoryStore:
            return cls._held(session_id, store, record)
        entry = store.find(NAMESPACE, record.id)
        return entry.attached if entry is not None and entry.life == record.life else None

    @classmethod
    def _get(cls, session_id: str) -> Steps[Session]:
        store = stores[ALIAS]
        if not is_id(session_id):
            raise SessionNotFound
        if type(store) is MemoryStore:
            entry = store.find(NAMESPACE, cls._prefix + session_id)
            if entry is None:
                raise SessionNotFound
            return entry.attached  # type: ignore[no-any-return]
        try:
            record: Record = yield operations.Get(NAMESPACE, cls._prefix + session_id)
        except NotFound:
            raise SessionNotFound from None
        return cls._held(session_id, store, record)

    @classmethod
    def _get_or_start(cls, session_id: str, args: Any) -> Steps[Session]:
        args = frozen(args, "args")
        while True:
            try:
                return (yield from cls._get(session_id))
            except SessionNotFound:
                pass
            try:
                return (yield from cls._start(session_id, args, or_other=True))
            except AlreadyExists:
                continue  # somebody else was faster, or was until a moment ago

    @classmethod
    def _started(cls, session_id: str) -> Steps[bool]:
        if not is_id(session_id):
            return False
        try:
            yield operations.Get(NAMESPACE, cls._prefix + session_id)
        except NotFound:
            return False
        return True

    @classmethod
    def _failed(cls, what: str, error: Exception) -> CallFailed:
        return CallFailed(f"{cls.__qualname__}: {what} failed: {type(error).__name__}: {error}")


SessionProcess._declare()
