"""Who the client of a socket or a request is, what limits count it by, and word of proxies that nobody has named in
TRUSTED_PROXIES."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections
from django.http import HttpRequest

from syncsessions import conf
from syncsessions.address import UNIX, client_address, limit_key
from syncsessions.exceptions import AlreadyExists
from syncsessions.stores import stores

logger = logging.getLogger("syncsessions.client")

NOTES = "syncsessions.notes"
"""The namespace, in the store of pairing, of what `syncsessions_status` has to tell of other processes."""
PROXY = "proxy:"
"""Ids of notes on a proxy begin so; its address or "unix" follows."""
NOTE_TTL = 86_400.0  # seconds
NOTE_AGAIN = 3600.0  # seconds after which a proxy that is still there is noted anew
MOST_PROXIES = 16  # that one process keeps in mind

_noted: dict[str, float] = {}  # proxies, and when each was noted last, by the monotonic clock
_lock = threading.Lock()


def limit_key_of(scope: Mapping[str, Any]) -> str:
    """What limits count the client of this scope by. Neither waits nor raises: call it from the event loop."""
    return limit_key(address_of(scope))


def address_of(scope: Mapping[str, Any]) -> str | None:
    """The client's address, None where it has none. Neither waits nor raises."""
    peer, port = scope.get("client") or (None, None)
    forwarded = [
        value.decode("latin-1") for name, value in scope.get("headers", ()) if name.lower() == b"x-forwarded-for"
    ]
    return _address(peer, port, forwarded)


def address_of_request(request: HttpRequest) -> str | None:
    """The same of Django's request, over WSGI or ASGI."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        return address_of(scope)
    meta = request.META
    forwarded = meta.get("HTTP_X_FORWARDED_FOR")
    return _address(meta.get("REMOTE_ADDR"), meta.get("REMOTE_PORT"), [] if forwarded is None else [forwarded])


def _address(peer: str | None, port: object, forwarded: Sequence[str]) -> str | None:
    client = client_address(peer, forwarded, conf.current().TRUSTED_PROXIES or ())
    # Port 0 is no socket's: a server that believes the header has put the client in the peer's place already.
    if client.disbelieved and str(port) != "0":
        _saw_proxy(client.address or UNIX)
    return client.address


def _saw_proxy(proxy: str) -> None:
    now = time.monotonic()
    with _lock:
        last, first = _noted.get(proxy), not _noted
        if last is not None and now - last < NOTE_AGAIN:
            return
        if last is None and len(_noted) >= MOST_PROXIES:
            return
        _noted[proxy] = now
    if first:
        logger.warning(
            "A forwarded header from %s is not believed. If that is your proxy, add it to "
            "SYNCSESSIONS['TRUSTED_PROXIES']: until then all clients behind it share one limit.",
            proxy,
        )
    threading.Thread(target=_leave_note, args=[proxy], name="syncsessions-note", daemon=True).start()


def _leave_note(proxy: str) -> None:
    try:
        stores["pairing"].create(NOTES, PROXY + proxy, {"proxy": proxy}, ttl=NOTE_TTL)
    except AlreadyExists:
        pass
    except Exception as error:  # a note is no reason to disturb anybody; the log has said the same
        logger.debug("No note was left of the proxy %s: %s", proxy, type(error).__name__)
    finally:
        connections.close_all()
