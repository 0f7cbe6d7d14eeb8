"""Who is behind a socket: seen at its opening, looked at again later, told when it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, load_backend
from django.contrib.auth import SESSION_KEY as USER_SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import DEFAULT_DB_ALIAS
from django.utils.crypto import constant_time_compare

from syncsessions import doorbell, session_id
from syncsessions.commit import after_commit
from syncsessions.digests import keyed_digest

CHANGED = "identity.changed"


class Identity(NamedTuple):
    """The Django session's key and the user in it; both None for a socket without a session."""

    session_key: str | None
    user_pk: str | None


def of_scope(scope: Mapping[str, Any]) -> Identity:
    """Who came with the socket. Loads the session: call it from a thread."""
    session = scope.get("session")
    if session is None:
        return Identity(None, None)
    session.get(session_id.SESSION_KEY)  # a key that the server does not know is forgotten by loading
    user = scope.get("user")
    return Identity(session.session_key, None if user is None or user.pk is None else str(user.pk))


def look_again(scope: Mapping[str, Any], known: Identity) -> Identity:
    """What the session store and the user's row say now. Call it from a thread."""
    if known.session_key is None:
        return known
    session = scope["session"]
    stored = type(getattr(session, "_wrapped", session))(known.session_key)
    stored.get(session_id.SESSION_KEY)
    return Identity(stored.session_key, _user_pk(stored) if known.user_pk is not None or "user" in scope else None)


def _user_pk(session: Any) -> str | None:
    """The user that a stored session stands for, judged as Django does but without touching the session."""
    path = session.get(BACKEND_SESSION_KEY)
    if path not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(path).get_user(session[USER_SESSION_KEY])
    if user is None:
        return None
    if hasattr(user, "get_session_auth_hash"):
        given = session.get(HASH_SESSION_KEY) or ""
        good = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
        if not any(constant_time_compare(given, each) for each in good):
            return None
    return str(user.pk)


def group(found_id: str) -> str:
    """The layer's group of the sockets of a browser session."""
    return f"syncsessions.identity.{keyed_digest('identity', found_id).hex()}"


def key_digest(session_key: str | None) -> str:
    """What is told of a session key: enough to recognise it, not to use it."""
    return keyed_digest("session-key", session_key).hex() if session_key else ""


def watch_logins() -> None:
    """Tell sockets of login and logout, at once and on every worker."""
    user_logged_in.connect(_tell_login, dispatch_uid="syncsessions.identity")
    user_logged_out.connect(_tell_logout, dispatch_uid="syncsessions.identity")


def _tell_login(*, request: Any, **kwargs: object) -> None:
    _tell(request, logged_out=False)


def _tell_logout(*, request: Any, **kwargs: object) -> None:
    _tell(request, logged_out=True)


def _tell(request: Any, *, logged_out: bool) -> None:
    session = getattr(request, "session", None)
    if session is None:
        return
    found = session_id.peek(session)
    if found is None:  # a login as somebody else has flushed the session of who was there before
        found, logged_out = getattr(session, "syncsessions_flushed", None), True
    if found is None:
        return
    # At logout the session is flushed after this signal: whatever key a socket has, it is no longer good.
    key = "" if logged_out else key_digest(session.session_key)
    message = {"type": CHANGED, "key": key, "reason": "logged_out" if logged_out else "logged_in"}
    after_commit(DEFAULT_DB_ALIAS, lambda: doorbell.ring(group(found), message))
