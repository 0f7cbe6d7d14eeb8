"""`request.session_id` for views, `scope["session_id"]` for consumers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from channels.db import database_sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase

from syncsessions import session_id


class SessionIdMiddleware:
    """Gives each request a `session_id`, made when first read, and `asession_id()` for async views.

    Stands after SessionMiddleware. Also keeps the id through the rotation of the session key at login.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        session = getattr(request, "session", None)
        if session is None:
            raise ImproperlyConfigured(
                "SessionIdMiddleware needs request.session: put it after SessionMiddleware in MIDDLEWARE."
            )
        request.__class__ = _with_session_id(type(request))  # type: ignore[arg-type]  # a class is hashable
        _keep_id_through_rotation(session)
        response: HttpResponseBase | Awaitable[HttpResponseBase] = self.get_response(request)
        return response


class SessionIdScopeMiddleware:
    """For consumers, inside Channels' session middleware: `scope["session_id"]`, None where there is no session."""

    def __init__(self, inner: Callable[..., Awaitable[None]]) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        session = scope.get("session")
        found = None if session is None else await database_sync_to_async(session_id.peek)(session)
        await self.inner({**scope, "session_id": found}, receive, send)


@cache
def _with_session_id(request_class: type[HttpRequest]) -> type[HttpRequest]:
    """The request's class with a `session_id` that is plain text when read and costs nothing until then."""

    def read(request: Any) -> str:
        return session_id.ensure(request.session)

    async def aread(request: Any) -> str:
        return await sync_to_async(read)(request)

    names = {"session_id": property(read), "asession_id": aread, "__module__": request_class.__module__}
    return type(request_class.__name__, (request_class,), names)


def _keep_id_through_rotation(session: Any) -> None:
    """Put an id that only derives from the session's key into its data before login gives it another key.

    Where login as somebody else flushes the session instead, remember whose sockets are to be told.
    """
    cycle, acycle = session.cycle_key, session.acycle_key
    flush, aflush = session.flush, session.aflush

    def keep() -> None:
        if session_id.peek(session) is not None:
            session_id.ensure(session)

    def cycle_key() -> None:
        keep()
        cycle()

    async def acycle_key() -> None:
        await sync_to_async(keep)()
        await acycle()

    def remember() -> None:
        session.syncsessions_flushed = session_id.peek(session)

    def flush_session() -> None:
        remember()
        flush()

    async def aflush_session() -> None:
        await sync_to_async(remember)()
        await aflush()

    session.cycle_key, session.acycle_key = cycle_key, acycle_key
    session.flush, session.aflush = flush_session, aflush_session
