"""The demo over ASGI, with sockets at `ws/sync/` that take as many frames as come."""

from __future__ import annotations

from typing import ClassVar

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from project.asgi import pages
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.middleware import SessionIdScopeMiddleware


class UnlimitedConsumer(SyncSessionConsumer):
    frame_rate: ClassVar[float] = 1e9
    frame_burst: ClassVar[float] = 1e9


routes = URLRouter([path("ws/sync/", UnlimitedConsumer.as_asgi())])
application = ProtocolTypeRouter({"http": pages, "websocket": AuthMiddlewareStack(SessionIdScopeMiddleware(routes))})
