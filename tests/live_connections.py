"""The demo over ASGI, whose connections count no calls: for tests that make more of them than a peer may."""

from __future__ import annotations

from project.asgi import pages as application
from syncsessions.connections import http_endpoint

__all__ = ["application"]

http_endpoint.ALL_RATE = http_endpoint.ASKING_RATE = "999999999/s"
