"""A wire between two sites that a test may cut: what is asked arrives, and the answer does not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TIMEOUT = 60.0  # seconds


class Tap:
    """Listens at `port` and passes each request on to the port that it leads to."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.leads_to: int | None = None
        self.losing: list[str] = []
        """Of requests whose first line has this in it, one answer each is lost."""
        self.lost: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=[client], daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(TIMEOUT)
            request = _message(client)
            with socket.create_connection(("127.0.0.1", self.leads_to or 1), TIMEOUT) as server:
                server.sendall(request)
                answer = b"".join(iter(lambda: server.recv(65536), b""))
            line = request.split(b"\r\n", 1)[0].decode()
            for each in self.losing:
                if each in line:
                    self.losing.remove(each)
                    self.lost.append(line)
                    return
            client.sendall(answer)


def _message(sock: socket.socket) -> bytes:
    """One HTTP request, whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionError
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def tapped() -> Iterator[Tap]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        tap = Tap(listener)
        threading.Thread(target=tap.serve, daemon=True).start()
        try:
            yield tap
        finally:
            listener.shutdown(socket.SHUT_RDWR)
