"""The socket of one outbound call: connected to the very address that was checked, bounded, and cut from any thread."""

from __future__ import annotations

import http.client
import io
import logging
import os
import socket
import ssl
import threading
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from syncsessions.connections.addresses import is_odd_number, may_be_called
from syncsessions.exceptions import SiteUnavailable

LARGEST_BODY = 64 * 1024  # bytes
LARGEST_ANSWER = 2 * LARGEST_BODY  # bytes on the wire: head, chunk sizes and all

_log = logging.getLogger("syncsessions.connections")


class NotPublic(SiteUnavailable):
    """Nobody was called: the host has an address that sites may not have."""


class Wire:
    """The time that one call has, and its socket, which any thread may cut."""

    def __init__(self, within: float, *, anywhere: bool = False) -> None:
        self.anywhere = anywhere
        self._until = time.monotonic() + within
        self._lock = threading.RLock()  # it may be cut by the garbage collector, in whatever thread that runs
        self._cut = False
        self._held: socket.socket | None = None

    def left(self) -> float:
        """Seconds left. Raises `SiteUnavailable` when there are none, and when the wire was cut."""
        seconds = self._until - time.monotonic()
        if self._cut or seconds <= 0:
            raise SiteUnavailable(offline=True)
        return seconds

    def hold(self, sock: socket.socket) -> None:
        """Make this the socket that `cut` shuts."""
        with self._lock:
            self.left()
            self._let_go()
            # A descriptor of its own: TLS takes the socket's away, and a number closed meanwhile may be another's.
            self._held = sock.dup()

    def cut(self) -> None:
        """Shut the socket, which ends whatever a thread waits for on it; none is opened any more."""
        with self._lock:
            self._cut = True
            self._let_go(shut=True)

    def _let_go(self, *, shut: bool = False) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        try:
            if shut:
                held.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is not connected (any more)
        finally:
            held.close()


def reach(host: str, port: int, wire: Wire) -> socket.socket:
    """A socket connected to the host, whose name is looked up once; every address found must be one to be called.

    Raises `SiteUnavailable`.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SiteUnavailable(offline=True) from error
    if not wire.anywhere and (is_odd_number(host) or not all(may_be_called(str(item[4][0])) for item in found)):
        _log.warning("%r was not called: it has an address that is not public", host)
        raise NotPublic
    refusal: OSError | None = None
    for tries_left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        within = wire.left() / tries_left
        try:
            return _connected(socket.socket(family, kind, protocol), address, wire, within)
        except OSError as error:
            refusal = error
    raise SiteUnavailable(offline=True) from refusal


def _connected(sock: socket.socket, address: Any, wire: Wire, within: float) -> socket.socket:
    try:
        sock.settimeout(within)
        wire.hold(sock)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(wire.left())
    except BaseException:
        sock.close()
        raise
    return sock


def adapter(wire: Wire, *, insecure: bool = False) -> HTTPAdapter:
    """What sends one request of `requests` over the wire; `insecure` lets it take http URLs too."""
    made = HTTPAdapter()
    pools = {"https": partial(_SecurePool, wire=wire)} | ({"http": partial(_Pool, wire=wire)} if insecure else {})
    made.poolmanager.pool_classes_by_scheme = pools  # type: ignore[assignment]
    return made


class _Bounded(io.RawIOBase):
    """What a socket's file gives, as long as it is no more than an answer may have."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self._left = LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._file.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise SiteUnavailable
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach()))

    def begin(self) -> None:
        super().begin()
        # urllib3 logs what it cannot read of a head, in which the other site may have repeated the token.
        self.msg.defects.clear()
        self.msg.set_payload("")


class _OnWire:
    """What both kinds of connections do alike."""

    debuglevel = 0  # where a program turns http.client's on, it would print the token

    def __init__(self, *args: Any, wire: Wire, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wire = wire

    def _new_conn(self) -> socket.socket:
        return reach(self._dns_host, self.port, self._wire)  # type: ignore[attr-defined]


class _Connection(_OnWire, HTTPConnection):
    response_class = _Response


class _SecureConnection(_OnWire, HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        """TLS in a context that all calls share: to read the authorities' certificates takes longer than a call."""
        sock = self._new_conn()
        try:
            with _one_at_a_time:
                context = _trust(os.environ.get("REQUESTS_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH)
            self.sock = context.wrap_socket(sock, server_hostname=self.host)
        except (OSError, ValueError) as error:
            raise SiteUnavailable(offline=isinstance(error, TimeoutError)) from error
        finally:
            if self.sock is None:
                sock.close()
        self.is_verified = True


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_one_at_a_time = threading.Lock()  # the first calls of a process would all read the same file


@lru_cache(maxsize=4)
def _trust(bundle: str) -> ssl.SSLContext:
    folder = Path(bundle).is_dir()
    return ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
