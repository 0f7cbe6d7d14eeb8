"""What the staff may do with running sessions: see them, touch them, terminate them; each a permission of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions import conf, staff
from syncsessions.exceptions import Conflict, NotFound, StoreUnavailable, SyncSessionsError
from syncsessions.processes import sweeping
from syncsessions.processes.frozen import frozen_dict
from syncsessions.processes.models import ActiveProcess
from syncsessions.processes.names import NAMESPACE, split
from syncsessions.processes.overview import Place, model_of
from syncsessions.processes.process import ALIAS
from syncsessions.processes.registry import class_of
from syncsessions.processes.running import Steps, run
from syncsessions.processes.session import Session
from syncsessions.stores import stores
from syncsessions.stores.operations import Get, Touch
from syncsessions.stores.record import Record


class Rights(NamedTuple):
    view: bool = False
    touch: bool = False
    terminate: bool = False


def rights(user_pk: str | None) -> Rights:
    """What a user may do now; active members of the staff only may do anything. Call it from a thread."""
    return Rights(*staff.held(user_pk, ActiveProcess, Rights._fields))


def touch(place: Place, user_pk: Any) -> bool:
    """Have a session live for another `ttl` seconds from now, in a user's name.

    False where it had ended. Raises `StoreUnavailable`.
    """
    done = run(stores[ALIAS], _touch(place))
    if done:
        staff.note(user_pk, model_of(place), _("Touched."), gone=False)
    return done


def terminate(place: Place, user_pk: Any) -> bool:
    """Terminate a session in a user's name, and write that into the admin's log.

    False where it had ended already. Raises `StoreUnavailable`.
    """
    done = run(stores[ALIAS], _terminate(place))
    if done:
        staff.note(user_pk, model_of(place), _("Terminated."), gone=True)
    return done


def _touch(place: Place) -> Steps[bool]:
    try:
        record: Record = yield Get(NAMESPACE, place.record_id)
        process = class_of(record)
        ttl = float(conf.current().PROCESS_TTL) if process is None else process.lifetime()
        yield Touch(NAMESPACE, place.record_id, ttl, place.life)
    except (NotFound, Conflict):
        return False
    return True


def _terminate(place: Place) -> Steps[bool]:
    try:
        record: Record = yield Get(NAMESPACE, place.record_id)
        if record.life != place.life:
            return False
        session = _session_of(record)
        if session is not None:
            yield from session._terminate()
            return True
    except NotFound:
        return False
    return (yield from sweeping.terminate(None, split(record.id)[1], place, frozen_dict({}, "state")))


def _session_of(record: Record) -> Session | None:
    """None where this worker does not know the class, or cannot make its state one of the class's present version."""
    process = class_of(record)
    if process is None:
        return None
    try:
        return process._of_record(split(record.id)[1], record)
    except StoreUnavailable:
        raise
    except SyncSessionsError:
        return None
