"""A real server of which each path misbehaves in its own way, as a site that one is linked to may."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

DEADLINE = 30.0  # seconds that a test waits for what has to come
STATUSES = ("active", "suspended", "revoked", "pending", "expired")


class Talk:
    """One client's connection, its request read."""

    def __init__(self, site: Site, sock: socket.socket, head: str, body: bytes) -> None:
        self.site, self.head, self.body = site, head, body
        self._sock = sock
        self._gone = False

    @property
    def path(self) -> str:
        return self.head.split(" ", 2)[1]

    def header(self, name: str) -> str | None:
        for line in self.head.splitlines()[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name.lower():
                return value.strip()
        return None

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def answer(self, status: int, body: bytes | Any, *headers: str, length: int | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(data) if length is None else length}", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def wait_until_gone(self) -> None:
        """Until the client has closed its end."""
        with contextlib.suppress(OSError):
            while self._sock.recv(4096):
                pass
        if not self._gone:
            self._gone = True
            self.site.note_gone()


class Site:
    """What the server has seen, and where it is."""

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.origin = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self.talks: list[Talk] = []
        self.connected = 0
        self.gone = 0
        self.names: list[str | None] = []  # that TLS asked for
        self._changed = threading.Condition()

    def url(self, behaviour: str, *more: object) -> str:
        return "/".join([self.origin, behaviour, *map(str, more)])

    def note_connected(self) -> None:
        with self._changed:
            self.connected += 1
            self._changed.notify_all()

    def note_talk(self, talk: Talk) -> None:
        with self._changed:
            self.talks.append(talk)
            self._changed.notify_all()

    def note_gone(self) -> None:
        with self._changed:
            self.gone += 1
            self._changed.notify_all()

    def wait_for(self, seen: Callable[[Site], bool], within: float = DEADLINE) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: seen(self), within), "the server did not see it"


def active(talk: Talk) -> None:
    status(talk, "active")


def status(talk: Talk, word: Any) -> None:
    talk.answer(
        200, {"enabled": True, "connection": {"exists": True, "status": word, "name": "x", "direction": "sender"}}
    )


def _hang(talk: Talk) -> None:
    talk.wait_until_gone()


def _hang_after_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
    talk.wait_until_gone()


def _hang_within_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    talk.wait_until_gone()


def _drip(talk: Talk) -> None:
    """An answer that is right, and would be whole in some minutes."""
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    _slowly(talk, b" ")


def _drip_headers(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\n")
    _slowly(talk, b"X: y\r\n")


def _slowly(talk: Talk, piece: bytes) -> None:
    stop = threading.Event()
    threading.Thread(target=lambda: (talk.wait_until_gone(), stop.set()), daemon=True).start()
    while not stop.wait(0.05):
        talk.send(piece)


def _flood(piece: bytes, start: bytes = b"") -> Callable[[Talk], None]:
    def flood(talk: Talk) -> None:
        talk.send(start)
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            talk.send(piece * 1000)

    return flood


def _raw(data: bytes) -> Callable[[Talk], None]:
    return lambda talk: talk.send(data)


def _said(code: int, body: Any, *headers: str, length: int | None = None) -> Callable[[Talk], None]:
    return lambda talk: talk.answer(code, body, *headers, length=length)


def _redirect(talk: Talk) -> None:
    talk.answer(302, {"exists": False}, f"Location: {talk.site.url('active')}/api/status")


def _reset(talk: Talk) -> None:
    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    talk._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


_LINK = {"exists": True, "status": "active", "name": "x", "direction": "sender"}
_FINE = json.dumps({"connection": _LINK}).encode()

BEHAVIOURS: dict[str, Callable[[Talk], None]] = {
    **{word: (lambda talk, word=word: status(talk, word)) for word in STATUSES},
    "unknown_status": lambda talk: status(talk, "sleeping"),
    "status_not_text": lambda talk: status(talk, ["active"]),
    "status_null": lambda talk: status(talk, None),
    "chunked": _raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(_FINE), _FINE)
    ),
    "without_length": _raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + _FINE),
    "continue": _raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_FINE), _FINE)
    ),
    "gone": _said(404, {"exists": False}),
    # what is an error
    "503": _said(503, {"code": "disabled", "message": "This is disabled here."}),
    "500": _said(500, b"<h1>Server Error (500)</h1>"),
    "401": _said(401, {"code": "invalid_token"}),
    "201": _said(201, _FINE),
    "410": _said(410, {"exists": False}),
    "404_html": _said(404, b"<h1>Not Found</h1>", "Content-Type: text/html"),
    "404_json": _said(404, {"detail": "Not found."}),
    "404_null": _said(404, {"exists": None}),
    "404_zero": _said(404, {"exists": 0}),
    "404_exists": _said(404, {"exists": True}),
    "404_list": _said(404, [{"exists": False}]),
    "404_empty": _said(404, b""),
    "404_cut": _said(404, b'{"exists": false}', length=30),
    "bad_json": _said(200, b'{"connection": {"exists": true, "status": "active"'),
    "not_utf8": _said(200, b'{"connection": "\xff"}'),
    "deep_json": _said(200, b"[" * 60_000),
    "nan": _said(200, b'{"connection": {"exists": true, "status": "active", "n": NaN}}'),
    "huge_number": _said(200, b"1" * 10_000),
    "empty": _said(200, b""),
    "list": _said(200, [_LINK]),
    "text": _said(200, "active"),
    "null": _said(200, None),
    "no_connection": _said(200, {"enabled": True}),
    "connection_text": _said(200, {"connection": "active"}),
    "connection_missing": _said(200, {"connection": {"exists": False, "status": "active"}}),
    "without_exists": _said(200, {"connection": {"status": "active"}}),
    "cut": _said(200, _FINE, length=len(_FINE) + 10),
    "cut_chunk": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (len(_FINE) + 9, _FINE)),
    "no_last_chunk": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(_FINE), _FINE)),
    "bad_chunk": _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n%s\r\n0\r\n\r\n" % _FINE),
    "nothing": _raw(b""),
    "reset": _reset,
    "not_http": _raw(b"220 mail.example ESMTP\r\n"),
    "large": lambda talk: talk.answer(200, b" " * 10_000_000 + _FINE),
    "a_bit_large": lambda talk: talk.answer(200, _FINE + b" " * (64 * 1024 + 1 - len(_FINE))),
    "bomb": lambda talk: talk.answer(200, gzip.compress(b" " * 20_000_000), "Content-Encoding: gzip"),
    "small_gzip": lambda talk: talk.answer(200, gzip.compress(_FINE), "Content-Encoding: gzip"),
    "endless": _flood(b" " * 100, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
    "endless_headers": _flood(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n"),
    "endless_line": _flood(b"x" * 100, b"HTTP/1.1 200 OK\r\nX: "),
    "endless_chunk_size": _flood(b"0" * 100, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "endless_trailer": _flood(b"X: y\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
    "endless_100": _flood(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "redirect": _redirect,
    "redirect_large": lambda talk: talk.answer(302, b" " * 10_000_000, "Location: http://["),
    "cookie": _said(200, _FINE, "Set-Cookie: a=b; Path=/"),
    # what is not finished in time
    "hang": _hang,
    "hang_after_headers": _hang_after_headers,
    "hang_within_headers": _hang_within_headers,
    "drip": _drip,
    "drip_headers": _drip_headers,
}
FINE = ("chunked", "without_length", "continue", "cookie", "active")
NEVER_FINISHED = ("hang", "hang_after_headers", "hang_within_headers", "drip", "drip_headers")
ERRORS = tuple(name for name in BEHAVIOURS if name not in (*STATUSES, *FINE, *NEVER_FINISHED, "gone"))


@contextmanager
def misbehaving(
    *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0, behave: Any = None
) -> Iterator[Site]:
    """The server, at a free port or at this one; `behave` is what it does where no path says anything else."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=512) as listener:
        site = Site("https" if tls else "http", address, listener.getsockname()[1])
        if tls:
            tls.sni_callback = lambda sock, name, context: site.names.append(name)
        threading.Thread(target=_accept, args=[listener, site, tls, behave], daemon=True).start()
        try:
            yield site
        finally:
            listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def deaf(address: str = "127.0.0.1") -> Iterator[str]:
    """The origin of a server that the system connects one to and that never accepts."""
    with socket.create_server((address, 0), backlog=128) as listener:
        yield f"http://{address}:{listener.getsockname()[1]}"


@contextmanager
def unreachable(address: str = "127.0.0.1") -> Iterator[str]:
    """The origin of a server whose queue is full: who wants to connect gets no reply at all."""
    with socket.create_server((address, 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://{address}:{listener.getsockname()[1]}"


def free_port(address: str = "127.0.0.1") -> int:
    """A port at which nobody listens."""
    with socket.create_server((address, 0)) as listener:
        return int(listener.getsockname()[1])


def _accept(listener: socket.socket, site: Site, tls: ssl.SSLContext | None, behave: Any) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        site.note_connected()
        threading.Thread(target=_serve, args=[sock, site, tls, behave], daemon=True).start()


def _serve(sock: socket.socket, site: Site, tls: ssl.SSLContext | None, behave: Any) -> None:
    sock.settimeout(DEADLINE * 2)
    with contextlib.suppress(OSError, ValueError), sock:
        spoken = tls.wrap_socket(sock, server_side=True) if tls else sock
        with spoken:
            data = b""
            while b"\r\n\r\n" not in data:
                data += (more := spoken.recv(4096))
                if not more:
                    return
            head, _, body = data.partition(b"\r\n\r\n")
            talk = Talk(site, spoken, head.decode(), body)
            missing = int(talk.header("Content-Length") or 0) - len(body)
            while missing > 0 and (more := spoken.recv(missing)):
                talk.body, missing = talk.body + more, missing - len(more)
            site.note_talk(talk)
            (BEHAVIOURS.get(talk.path.split("/")[1]) or behave or BEHAVIOURS["404_html"])(talk)
            with contextlib.suppress(OSError):
                spoken.shutdown(socket.SHUT_WR)  # what was sent arrives, even where the client still sends
                talk.wait_until_gone()
