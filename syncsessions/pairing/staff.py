"""What the staff may do with live sync sessions: see them, see their codes, end them; each a permission of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth import get_permission_codename, get_user_model
from django.utils.translation import gettext as _

from syncsessions.exceptions import NotFound
from syncsessions.pairing.models import ActiveSyncSession
from syncsessions.pairing.session import FAILED, SyncSession
from syncsessions.pairing.sessions import sync_sessions

ENDED_BY_ADMIN = "ended_by_admin"


class Rights(NamedTuple):
    view: bool = False
    see_code: bool = False
    end: bool = False


def rights(user_pk: str | None) -> Rights:
    """What a user may do now; active members of the staff only may do anything. Call it from a thread."""
    user: Any = None if user_pk is None else get_user_model()._default_manager.filter(pk=user_pk).first()
    if user is None or not (user.is_active and getattr(user, "is_staff", False)):
        return Rights()
    return Rights(*(user.has_perm(permission(name)) for name in Rights._fields))


def permission(name: str) -> str:
    opts = ActiveSyncSession._meta
    return f"{opts.app_label}.{get_permission_codename(name, opts)}"


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
    if sync_sessions.end(session, FAILED, ENDED_BY_ADMIN).reason != ENDED_BY_ADMIN:
        return False
    if apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.models import DELETION, LogEntry

        LogEntry.objects.log_actions(user_pk, [ActiveSyncSession.of(session)], DELETION, _("Ended."))
    return True
