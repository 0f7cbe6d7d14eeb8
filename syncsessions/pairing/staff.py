"""What the staff may do with live sync sessions: see them, see their codes, end them; each a permission of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from syncsessions import staff
from syncsessions.exceptions import NotFound
from syncsessions.pairing.models import ActiveSyncSession
from syncsessions.pairing.session import ENDED_BY_ADMIN, FAILED, Ending, SyncSession
from syncsessions.pairing.sessions import sync_sessions


class Rights(NamedTuple):
    view: bool = False
    see_code: bool = False
    end: bool = False


def rights(user_pk: str | None) -> Rights:
    """What a user may do now; active members of the staff only may do anything. Call it from a thread."""
    return Rights(*staff.held(user_pk, ActiveSyncSession, Rights._fields))


def find(lives: Collection[str]) -> list[SyncSession]:
    """Those of these sessions that live, newest first."""
    return [session for session in sync_sessions.list_active() if session.life in lives]


def end(session: SyncSession, user_pk: Any) -> bool:
    """End a session for both parties in a user's name, and write that into the admin's log.

    False where it had ended already. Raises `StoreUnavailable`.
    """
    try:
        sync_sessions.get(session.code, life=session.life)
    except NotFound:
        return False
    ending, first = sync_sessions.settle(session, Ending(FAILED, ENDED_BY_ADMIN))
    if not first or ending.reason != ENDED_BY_ADMIN:
        return False
    staff.note(user_pk, ActiveSyncSession.of(session), _("Ended."), gone=True)
    return True
