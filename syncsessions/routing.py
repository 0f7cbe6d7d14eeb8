"""The sockets, for the URLRouter of a project's asgi.py."""

from django.urls import path

from syncsessions.consumers.stash import StashConsumer

websocket_urlpatterns = [path("ws/stash/", StashConsumer.as_asgi())]
