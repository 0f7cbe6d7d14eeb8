"""The API of connections under test: a client that speaks it, and a site that answers its callbacks."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client

from syncsessions.connections import tokens
from syncsessions.connections.calls import ASKING_SITE
from syncsessions.stores import stores
from tests.staff import put
from tests.stores import configuration

MOUNT = "/sync/api/"
OWN = "https://r.example/sync"


class Api:
    """Speaks to the API from one address. Each call gives the response, whose JSON is in `.said`."""

    def __init__(self, address: str = "198.51.100.7", **extra: Any) -> None:
        self.client = Client(enforce_csrf_checks=True, REMOTE_ADDR=address, **extra)

    def __call__(self, method: str, path: str, body: Any = None, *, token: str | None = None, **extra: Any) -> Any:
        headers = {**({} if token is None else {"Authorization": f"Bearer {token}"}), **extra.pop("headers", {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            extra = {"data": body, "content_type": "application/json", **extra}
        response: Any = self.client.generic(method, f"{MOUNT}{path}", headers=headers, **extra)
        assert response.status_code < 500 or response.status_code == 503
        if response.content:
            assert response["Content-Type"] == "application/json"
            response.said = json.loads(response.content)
            if response.status_code >= 400 and response.said != {"exists": False}:
                assert {"code", "message"} <= set(response.said)
        return response

    def get(self, path: str, **extra: Any) -> Any:
        return self("GET", path, **extra)

    def post(self, path: str, body: Any, **extra: Any) -> Any:
        return self("POST", path, body, **extra)

    def tell(self, token: str, status: str, **more: Any) -> Any:
        return self("PATCH", "connection", {"status": status, **more}, token=token)


def refused(response: Any) -> tuple[int, str]:
    return response.status_code, response.said["code"]


class Caller:
    """A site on this machine that knows the tokens in `known`; `answer` stands in the place of what it would say."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.answer: tuple[int, bytes] | None = None
        self.asking = ""
        caller = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                caller.asked.append((self.path, token))
                caller.asking = self.headers.get(ASKING_SITE, "")
                status, body = caller.answer or caller.say(token)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def say(self, token: str) -> tuple[int, bytes]:
        if token not in self.known:
            return 404, b'{"exists": false}'
        link = {"exists": True, "status": "pending", "name": "R", "direction": "sender"}
        return 200, json.dumps({"enabled": True, "connection": link}).encode()

    def url(self, path: str = "") -> str:
        """A site of its own for each path, which all are proven here."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path or secrets.token_hex(6)}"

    def offer(self) -> str:
        token = tokens.draw()
        self.known.add(token)
        return token

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def open_site(settings: Any) -> None:
    """This site takes part in connections, its limits unspent, and may call sites on this machine."""
    settings.DEBUG = True
    put(settings, SITE_URL=OWN, ALLOW_PRIVATE_SITE_URLS=True, STORES={"default": configuration("memory")})
    stores.close_all()


@pytest.fixture
def api(open_site: None) -> Api:
    return Api()


@pytest.fixture
def caller() -> Iterator[Caller]:
    made = Caller()
    yield made
    made.close()
