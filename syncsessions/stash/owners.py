"""Whose stash it is: from an id, a request, a socket's scope or a user, looked up when needed and not before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from syncsessions import session_id
from syncsessions.digests import keyed_digest, text_hash
from syncsessions.exceptions import AccessRefused, InvalidSessionId
from syncsessions.stash.rows import Owner

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser


class OwnerSource(Protocol):
    def peek(self) -> Owner | None:
        """The owner if there is one yet; makes and changes nothing."""

    def ensure(self) -> Owner:
        """The owner, a new one where there was none."""


class KnownOwner:
    """An owner that is known already."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def peek(self) -> Owner:
        return self._owner

    ensure = peek


class SessionOwner:
    """The browser session behind a Django session."""

    def __init__(self, session: session_id.Session) -> None:
        self._session = session

    def peek(self) -> Owner | None:
        found = session_id.peek(self._session)
        return None if found is None else owner_of_session(found, session_id.former(self._session))

    def ensure(self) -> Owner:
        former = session_id.former(self._session)
        return owner_of_session(session_id.ensure(self._session), former)


class SocketOwner(SessionOwner):
    """The browser session behind a socket's scope; a socket cannot start one, for it cannot set a cookie.

    `given` is the scope's own word for its id, of which the Django session may know what older secret keys made.
    """

    def __init__(self, session: session_id.Session, given: str | None = None) -> None:
        super().__init__(session)
        self._given = given

    def peek(self) -> Owner | None:
        if self._given is None or self._given == session_id.peek(self._session):
            return super().peek()
        return owner_of_session(self._given)

    def ensure(self) -> Owner:
        owner = self.peek()
        if owner is None:
            raise InvalidSessionId(_("This socket came without a session. Save once over HTTP first."))
        return owner


class NoOwner:
    """A socket whose scope has neither a session id nor a session."""

    def peek(self) -> None:
        return None

    def ensure(self) -> Owner:
        raise InvalidSessionId(_("This socket came without a session. Save once over HTTP first."))


class UserOwner:
    """A user who is asked for when needed: a request's user is a query that a page may never make."""

    def __init__(self, user: Callable[[], AbstractBaseUser | AnonymousUser | None]) -> None:
        self._user = user

    def peek(self) -> Owner | None:
        user = self._user()
        return None if user is None or user.pk is None else owner_of_user(user.pk)

    def ensure(self) -> Owner:
        owner = self.peek()
        if owner is None:
            raise AccessRefused("not_allowed", _("This stash belongs to a user: log in first."))
        return owner


def owner_of_session(text: str, former_ids: list[str | None] | None = None) -> Owner:
    """The owner for a session id, stored as a keyed hash only. Raises `InvalidSessionId`."""
    try:
        digest = keyed_digest("stash", text)
    except (AttributeError, UnicodeEncodeError):
        digest = b""
    if not text or not digest:
        raise InvalidSessionId
    former = zip(settings.SECRET_KEY_FALLBACKS, former_ids or [None] * len(settings.SECRET_KEY_FALLBACKS), strict=True)
    return Owner(digest.hex(), former=tuple(keyed_digest("stash", old or text, secret).hex() for secret, old in former))


def owner_of_user(pk: object) -> Owner:
    """The owner for a user's primary key, which is no secret: its hash has no key and outlives any rotation."""
    return Owner(text_hash(f"user:{pk}"), user_pk=str(pk))


def request_owner(request: Any) -> OwnerSource:
    return SessionOwner(request.session)


def scope_owner(scope: Mapping[str, Any]) -> OwnerSource:
    found, session = scope.get("session_id"), scope.get("session")
    if found and (session is None or not settings.SECRET_KEY_FALLBACKS):
        return KnownOwner(owner_of_session(str(found)))
    return NoOwner() if session is None else SocketOwner(session, str(found) if found else None)
