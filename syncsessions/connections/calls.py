"""Calls to other sites: `requests` with a limit on everything that the other end could make long, large or misleading.

Nothing is followed, kept or taken out of the environment but REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import loads
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.views.decorators.debug import sensitive_variables
from urllib3.exceptions import ReadTimeoutError

from syncsessions import conf
from syncsessions.connections.site_url import normalised
from syncsessions.connections.wire import LARGEST_BODY, NotPublic, Wire, adapter
from syncsessions.exceptions import SiteUnavailable

WITHIN = 10.0  # seconds for one call in all
ASKING_SITE = "Syncsessions-Site"
"""The header by which the site that has a link proven names itself: a token is no proof to any but its own peer."""

_PIECE = 16 * 1024  # bytes
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "django-syncsessions",
}
_log = logging.getLogger("syncsessions.connections")


@dataclass(frozen=True)
class Answer:
    """`body` is the JSON that came, None where it was none; it may hold a token, and is not shown."""

    status: int
    body: Any = field(repr=False)

    @property
    def fields(self) -> dict[str, Any]:
        """The body where that is an object, else an empty one."""
        return self.body if isinstance(self.body, dict) else {}


class Cancel:
    """By which one thread ends the calls of others, at once and for good."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """End every call that was given this, those to come too."""
        with self._lock:
            self._cancelled = True
            listeners = self._listeners[:]
        for listener in listeners:
            listener()

    @contextmanager
    def calling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call the listener on `cancel()`, however long ago that was, as long as the block runs."""
        with self._lock:
            self._listeners.append(listener)
            late = self._cancelled
        try:
            if late:
                listener()
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


@sensitive_variables("token", "json")
def call(
    method: str,
    site_url: str | None,
    path: str,
    *,
    token: str | None = None,
    json: Any = None,
    within: float | None = None,
    cancel: Cancel | None = None,
    asking: str | None = None,
) -> Answer:
    """What the site at `site_url` answers to one request, whatever its status; redirects are not followed.

    `path` stands below `site_url` (`api/status`). The call is over after `within` seconds, whatever it then waits for
    (a lookup of the name, too), and at once when `cancel` says so. `asking` are this site's addresses, where the other
    one has to know who asks. Raises `SiteUnavailable`, and `NotPublic` where it called nobody.
    """
    within = WITHIN if within is None else within
    cancel = cancel or Cancel()
    exchange = _Exchange(Wire(within, anywhere=conf.current().ALLOW_PRIVATE_SITE_URLS))
    with cancel.calling(exchange.abandon):
        try:
            exchange.begin(method, site_url, path, token, json, asking)
            answer = exchange.answer(within)
        finally:
            exchange.abandon()
    if isinstance(answer, Answer):
        return answer
    if not cancel.cancelled:
        _log.info("%s at %r: %s", method, _host(site_url), answer.reason)
    raise NotPublic if answer.not_public else SiteUnavailable(offline=answer.offline)


class _NoAnswer(NamedTuple):
    offline: bool
    reason: str
    not_public: bool = False


class _Exchange:
    """One request in a thread of its own, as no wait for a resolver can be ended: it can only be left."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._over = threading.Event()
        self._outcome: Answer | _NoAnswer = _NoAnswer(True, "not finished in time")

    def begin(self, *request: Any) -> None:
        thread = threading.Thread(target=self._run, args=request, name="syncsessions-call", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there are no more threads to be had
            raise SiteUnavailable from None

    def abandon(self) -> None:
        self._wire.cut()
        self._over.set()

    def answer(self, within: float) -> Answer | _NoAnswer:
        self._over.wait(within)
        return self._outcome

    def _run(self, *request: Any) -> None:
        try:
            self._outcome = _exchanged(self._wire, _request(*request))
        except Exception as error:  # it goes no further: it may hold the request, and that the token
            self._outcome = _NoAnswer(_is_offline(error), _reason(error), isinstance(error, NotPublic))
        finally:
            self.abandon()


def _request(
    method: str, site_url: str | None, path: str, token: str | None, json: Any, asking: str | None
) -> requests.PreparedRequest:
    site = normalised(site_url, insecure=settings.DEBUG)
    headers = _HEADERS if token is None else _HEADERS | {"Authorization": f"Bearer {token}"}
    headers = headers if asking is None else headers | {ASKING_SITE: asking}
    return requests.Request(method, f"{site}/{path.lstrip('/')}", headers, json=json).prepare()


def _exchanged(wire: Wire, request: requests.PreparedRequest) -> Answer:
    # The adapter alone: a session would read the body of a redirect without bound, and proxies in the environment.
    with adapter(wire, insecure=settings.DEBUG).send(
        request, stream=True, timeout=(wire.left(), wire.left())
    ) as response:
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise SiteUnavailable
        body = b""
        for piece in response.raw.stream(_PIECE, decode_content=False):
            body += piece
            if len(body) > LARGEST_BODY:
                raise SiteUnavailable
        return Answer(response.status_code, _json(body))


def _json(text: bytes) -> Any:
    try:
        return loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _is_offline(error: Exception) -> bool:
    if isinstance(error, SiteUnavailable):
        return error.offline
    return isinstance(error, requests.Timeout | ReadTimeoutError | TimeoutError)


def _reason(error: Exception) -> str:
    """For the log: the system's own words where there are some; those of `requests` may quote a header."""
    return str(error.__cause__) if isinstance(error, SiteUnavailable) and error.__cause__ else type(error).__name__


def _host(site_url: str | None) -> str:
    try:
        return urlsplit(site_url or "").hostname or "?"
    except ValueError:
        return "?"
