"""What can be asked of all sessions at once, whatever their classes."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from django.utils.module_loading import import_string

from syncsessions import conf
from syncsessions.exceptions import Conflict, SessionNotFound, StoreUnavailable, SyncSessionsError
from syncsessions.json_values import encode, size
from syncsessions.processes import registry, telling
from syncsessions.processes.frozen import frozen
from syncsessions.processes.names import NAMESPACE, is_id, path_of, split
from syncsessions.processes.process import ALIAS, SessionProcess
from syncsessions.processes.running import Steps, arun, run
from syncsessions.processes.session import Session
from syncsessions.processes.sweeping import sweep
from syncsessions.stores import stores
from syncsessions.stores.operations import Count, List
from syncsessions.stores.record import Record


def default_class() -> type[SessionProcess]:
    """PROCESS_CLASS."""
    found: type[SessionProcess] = import_string(conf.current().PROCESS_CLASS)
    return found


def start_session(id: str, args: Any = None, cls: type[SessionProcess] | None = None) -> Session:  # noqa: A002
    """Start a session of `cls`, or of PROCESS_CLASS."""
    return (cls or default_class()).start(id, args)


async def astart_session(id: str, args: Any = None, cls: type[SessionProcess] | None = None) -> Session:  # noqa: A002
    return await (cls or default_class()).astart(id, args)


def get_session(id: str, cls: type[SessionProcess] | None = None) -> Session:  # noqa: A002
    """The session of `cls`; without it, that of PROCESS_CLASS, else the only one of this id.

    Where no class that was imported so far has one, all records are looked through, and the class that one names is
    imported. Raises `SessionNotFound`, and `Conflict` where several classes have one.
    """
    return run(stores[ALIAS], _get(id, cls))


async def aget_session(id: str, cls: type[SessionProcess] | None = None) -> Session:  # noqa: A002
    return await arun(stores[ALIAS], _get(id, cls))


def list_sessions(cls: type[SessionProcess] | None = None) -> list[Session]:
    """Running sessions, newest first; of one class where one is given."""
    return run(stores[ALIAS], _list(cls))


async def alist_sessions(cls: type[SessionProcess] | None = None) -> list[Session]:
    return await arun(stores[ALIAS], _list(cls))


def count_sessions() -> int:
    """How many sessions run."""
    return run(stores[ALIAS], _count())


async def acount_sessions() -> int:
    return await arun(stores[ALIAS], _count())


def session_stats() -> dict[str, Any]:
    """`{"count", "memory_bytes", "average_bytes", "by_class"}`; bytes are those of the records' JSON."""
    return run(stores[ALIAS], _stats())


async def asession_stats() -> dict[str, Any]:
    return await arun(stores[ALIAS], _stats())


def find_sessions(pattern: str) -> list[Session]:
    """Running sessions whose id matches a shell glob like `cart-*`, newest first."""
    return [session for session in list_sessions() if fnmatchcase(session.id, pattern)]


async def afind_sessions(pattern: str) -> list[Session]:
    return [session for session in await alist_sessions() if fnmatchcase(session.id, pattern)]


def terminate_sessions(ids: Iterable[str]) -> int:
    """Terminate the sessions of these ids, of every class; how many there were. Unknown ids are passed over."""
    return run(stores[ALIAS], _terminate(set(ids)))


async def aterminate_sessions(ids: Iterable[str]) -> int:
    return await arun(stores[ALIAS], _terminate(set(ids)))


def broadcast(name: str, *args: Any) -> int:
    """Cast to every running session whose class knows the cast; how many took it. One that fails is passed over."""
    return run(stores[ALIAS], _broadcast(name, args))


async def abroadcast(name: str, *args: Any) -> int:
    return await arun(stores[ALIAS], _broadcast(name, args))


def expire_sessions() -> int:
    """Remove the sessions past their deadline and tell of each; how many there were."""
    return run(stores[ALIAS], sweep())


async def aexpire_sessions() -> int:
    return await arun(stores[ALIAS], sweep())


def _get(session_id: str, cls: type[SessionProcess] | None) -> Steps[Session]:
    if cls is not None:
        return (yield from cls._get(session_id))
    if not is_id(session_id):
        raise SessionNotFound
    found = yield from _of([default_class()], session_id)
    found = found or (yield from _of(registry.known_classes(), session_id))
    if not found:
        named = [record for record in (yield from _records()) if split(record.id)[1] == session_id]
        found = yield from _of([each for each in map(registry.class_of, named) if each is not None], session_id)
    if not found:
        raise SessionNotFound
    if len(found) > 1:
        raise Conflict(f"Several processes have a session {session_id}: name the class.")
    return found[0]


def _of(classes: Iterable[type[SessionProcess]], session_id: str) -> Steps[list[Session]]:
    """The sessions of this id that these classes have."""
    found = []
    for each in classes:
        try:
            found.append((yield from each._get(session_id)))
        except SessionNotFound:
            continue
    return found


def _records() -> Steps[list[Record]]:
    return (yield List(NAMESPACE, 0, None))  # type: ignore[no-any-return]


def _list(cls: type[SessionProcess] | None) -> Steps[list[Session]]:
    records = yield from _records()
    sessions = []
    for record in records:
        process, session_id = registry.class_of(record), split(record.id)[1]
        if process is None or (cls is not None and process is not cls):
            continue
        try:
            session = process._of_record(session_id, record)
        except StoreUnavailable:
            raise
        except SyncSessionsError as error:  # a `migrate` that fails: the others are not to suffer
            telling.harmless(process, session_id, "migrate", error)
            continue
        if session is not None:
            sessions.append(session)
    return sessions


def _count() -> Steps[int]:
    return (yield Count(NAMESPACE))  # type: ignore[no-any-return]


def _stats() -> Steps[dict[str, Any]]:
    records = yield from _records()
    by_class: dict[str, int] = {}
    total = 0
    for record in records:
        path = path_of(record)
        by_class[path] = by_class.get(path, 0) + 1
        total += size(encode(record.data))
    count = len(records)
    return {
        "count": count,
        "memory_bytes": total,
        "average_bytes": total / count if count else 0.0,
        "by_class": by_class,
    }


def _terminate(ids: set[str]) -> Steps[int]:
    count = 0
    for session in (yield from _list(None)):
        if session.id in ids:
            try:
                yield from session._terminate()
            except SessionNotFound:
                continue
            count += 1
    return count


def _broadcast(name: str, args: tuple[Any, ...]) -> Steps[int]:
    frozen(args, "args")
    count = 0
    for session in (yield from _list(None)):
        if name not in session.process.table.casts:
            continue
        try:
            yield from session._cast(name, args)
        except Exception as error:  # the others are not to suffer
            telling.logger.warning("%s did not take the broadcast: %s", session, error)
        else:
            count += 1
    return count
