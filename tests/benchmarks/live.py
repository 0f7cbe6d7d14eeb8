"""The server that the socket benchmarks measure: daphne, the real stack, the rates raised, a bare echo beside it."""

from __future__ import annotations

import os
from typing import Any

import django
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.benchmarks.live_settings")
django.setup()

from syncsessions.consumers.sync_session import SyncSessionConsumer  # noqa: E402
from syncsessions.middleware import SessionIdScopeMiddleware  # noqa: E402


class Sync(SyncSessionConsumer):
    frame_rate = 1e9
    frame_burst = 1e9


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data)


class LayerEcho(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Sends what it receives through the channel layer to itself, and then to its client."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.send(self.channel_name, {"type": "back", "text": text_data})

    async def back(self, message: dict[str, Any]) -> None:
        await self.send(text_data=message["text"])


routes = [path("ws/sync/", Sync.as_asgi()), path("ws/echo/", Echo.as_asgi()), path("ws/layer/", LayerEcho.as_asgi())]
application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AuthMiddlewareStack(SessionIdScopeMiddleware(URLRouter(routes))),
    }
)
