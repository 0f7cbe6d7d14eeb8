"""The sockets, for the URLRouter of a project's asgi.py."""

from django.urls import path

from syncsessions.consumers.stash import StashConsumer
from syncsessions.consumers.sync_admin import SyncAdminConsumer
from syncsessions.consumers.sync_session import SyncSessionConsumer

websocket_urlpatterns = [
    path("ws/stash/", StashConsumer.as_asgi()),
    path("ws/sync/", SyncSessionConsumer.as_asgi()),
    path("ws/sync/admin/", SyncAdminConsumer.as_asgi()),
]
