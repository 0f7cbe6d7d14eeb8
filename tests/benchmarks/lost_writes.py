"""Two requests at once, each with a key of its own: how many pairs lose one. Real handler, middleware and threads."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from syncsessions.session_id import SESSION_KEY
from syncsessions.stash import StashSession

VIEW = "shop.checkout"
DEADLINE = 30  # seconds


class Case(NamedTuple):
    """When the two requests wait for each other (before or after reading the state), and how long the view works."""

    name: str
    wait_after_reading: bool
    work: float


CASES = [
    Case("both have read before either writes", True, 0),
    Case("they arrive together, the view takes 10 ms", False, 0.010),
    Case("they arrive together, the view takes no time", False, 0),
]


class Lost(NamedTuple):
    """Of `pairs` pairs of requests, how many lost a key with `request.session`, and how many with the stash."""

    case: str
    pairs: int
    session: int
    stash: int


class _Pair:
    """What the views of the pair under way need to know."""

    case: Case
    barrier: threading.Barrier


def with_session(request: HttpRequest, key: str) -> HttpResponse:
    _meet(not _Pair.case.wait_after_reading)
    request.session.get("nothing")
    _meet(_Pair.case.wait_after_reading)
    time.sleep(_Pair.case.work)
    request.session[key] = 1
    return HttpResponse()


def with_stash(request: HttpRequest, key: str) -> HttpResponse:
    stash = StashSession.for_request(request)
    _meet(not _Pair.case.wait_after_reading)
    stash.get_view(VIEW)
    _meet(_Pair.case.wait_after_reading)
    time.sleep(_Pair.case.work)
    stash.merge(VIEW, {key: 1})
    return HttpResponse()


urlpatterns = [path("session/<str:key>", with_session), path("stash/<str:key>", with_stash)]


def lost_writes(pairs: int) -> list[Lost]:
    handler = WSGIHandler()
    return [
        Lost(
            case.name,
            pairs,
            sum(_loses(handler, case, "session", _kept_in_session) for _ in range(pairs)),
            sum(_loses(handler, case, "stash", _kept_in_stash) for _ in range(pairs)),
        )
        for case in CASES
    ]


def _loses(handler: WSGIHandler, case: Case, way: str, kept: Callable[[str], Iterable[str]]) -> bool:
    session = SessionStore()
    session.save()
    cookie = str(session.session_key)
    _Pair.case, _Pair.barrier = case, threading.Barrier(2, timeout=DEADLINE)
    failures: list[BaseException] = []
    threads = [
        threading.Thread(target=_request, args=(handler, f"/{way}/{key}", cookie, failures)) for key in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return not {"a", "b"} <= set(kept(cookie))


def _kept_in_session(cookie: str) -> Iterable[str]:
    return SessionStore(cookie).keys()


def _kept_in_stash(cookie: str) -> Iterable[str]:
    return StashSession(SessionStore(cookie)[SESSION_KEY]).get_view(VIEW)


def _meet(now: bool) -> None:
    if now:
        _Pair.barrier.wait()


def _request(handler: WSGIHandler, url: str, cookie: str, failures: list[BaseException]) -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": url,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={cookie}",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
    }
    try:
        handler(environ, lambda status, headers: None).close()
    except BaseException as error:
        failures.append(error)
    finally:
        connection.close()
