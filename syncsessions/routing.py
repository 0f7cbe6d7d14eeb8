"""The sockets, for the URLRouter of a project's asgi.py."""

from __future__ import annotations

from collections.abc import Mapping

from django.urls import URLPattern, path

from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.consumers.stash import StashConsumer
from syncsessions.consumers.sync_admin import SyncAdminConsumer
from syncsessions.consumers.sync_session import SyncSessionConsumer

websocket_urlpatterns = [
    path("ws/stash/", StashConsumer.as_asgi()),
    path("ws/sync/", SyncSessionConsumer.as_asgi()),
    path("ws/sync/admin/", SyncAdminConsumer.as_asgi()),
]


def process_routes(consumers: Mapping[str, type[SessionProcessConsumer]]) -> list[URLPattern]:
    """`{"shop": ShopConsumer}` as routes at `ws/process/<name>/`, to stand beside `websocket_urlpatterns`."""
    return [path(f"ws/process/{name}/", consumer.as_asgi()) for name, consumer in consumers.items()]
