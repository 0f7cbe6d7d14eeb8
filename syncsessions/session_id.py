"""The id of a browser session: 24 bytes as 32 url-safe characters, kept inside the Django session's data.

Inside the data it survives the key rotation of login and dies with the flush of logout. Where a session key exists the
id derives from it, so that two first requests of one cookie agree although Django's session save is last-wins.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Protocol

from django.conf import settings

from syncsessions.digests import fallback_digests, keyed_digest

SESSION_KEY = "_syncsessions_id"
BYTES = 24


class Session(Protocol):
    """What is used of Django's sessions."""

    session_key: str | None

    def get(self, key: str, default: object = None) -> object: ...
    def __setitem__(self, key: str, value: object) -> None: ...


def peek(session: Session) -> str | None:
    """The session's id if it has one; loads the session, changes nothing. None for a browser without a session."""
    # Loading comes first: it forgets a key that the server does not know.
    stored = session.get(SESSION_KEY)
    if isinstance(stored, str):
        return stored
    return _text(keyed_digest("session-id", session.session_key)) if session.session_key else None


def ensure(session: Session) -> str:
    """The session's id, made and put into the session where it had none."""
    session_id = peek(session) or secrets.token_urlsafe(BYTES)
    if session.get(SESSION_KEY) != session_id:
        older = former(session)
        session[SESSION_KEY] = session_id
        if any(older):
            for adopt in _adopters:
                adopt(session_id, older)
    return session_id


def former(session: Session) -> list[str | None]:
    """For each of SECRET_KEY_FALLBACKS the id that the session had under it; None where it was the present one."""
    # Loading comes first here too.
    if session.get(SESSION_KEY) is not None or session.session_key is None:
        return [None] * len(settings.SECRET_KEY_FALLBACKS)
    return [_text(digest) for digest in fallback_digests("session-id", session.session_key)]


def on_first_kept(adopt: Callable[[str, list[str | None]], None]) -> None:
    """Have `adopt` told an id and its `former` ones when it is put into the session: later nobody can tell these."""
    if adopt not in _adopters:
        _adopters.append(adopt)


_adopters: list[Callable[[str, list[str | None]], None]] = []


def _text(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest[:BYTES]).decode()
