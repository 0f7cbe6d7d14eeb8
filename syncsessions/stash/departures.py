"""What goes with its owner: a session's stash at logout, a user's stash with the user."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import post_delete

from syncsessions.commit import after_commit
from syncsessions.exceptions import SyncSessionsError
from syncsessions.stash.owners import owner_of_user
from syncsessions.stash.session import StashSession
from syncsessions.stash.sql import database_alias, spare_the_transaction

logger = logging.getLogger("syncsessions.stash")


def watch() -> None:
    user_logged_out.connect(_purge_session, dispatch_uid="syncsessions.stash")
    user_logged_in.connect(_purge_flushed, dispatch_uid="syncsessions.stash")
    if not apps.is_installed("django.contrib.auth"):
        return
    user_model = get_user_model()
    # A user who is removed through a proxy sends the signal as the proxy. No sender at all would slow every delete.
    for model in [user_model, *apps.get_models()]:
        if issubclass(model, user_model) and model._meta.concrete_model is user_model:
            post_delete.connect(_purge_user, sender=model, dispatch_uid="syncsessions.stash")


def _purge_session(*, request: Any, **kwargs: object) -> None:
    if getattr(request, "session", None) is not None:
        _destroy(StashSession.for_request(request))


def _purge_flushed(*, request: Any, **kwargs: object) -> None:
    """A login over somebody else's session has flushed it: what that one stashed is out of reach."""
    flushed = getattr(getattr(request, "session", None), "syncsessions_flushed", None)
    if flushed is not None:
        _destroy(StashSession(flushed))


def _purge_user(*, instance: Any, using: str, **kwargs: object) -> None:
    stash = StashSession.for_owner(owner_of_user(instance.pk))
    if using == database_alias():
        _destroy(stash)
    else:
        after_commit(using, lambda: _destroy(stash))


def _destroy(stash: StashSession) -> None:
    """Neither a logout nor a user's removal fails for the stash: what stays is unreachable, and pruned in time."""
    try:
        with spare_the_transaction():
            stash.destroy()
    except SyncSessionsError:
        logger.exception("A stash could not be removed with its owner; the prune will")
