"""The demo over ASGI: pages, static files and sockets from one server."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
pages = get_asgi_application()

from project.demo.consumers import BasketConsumer, Drawing, OrderHandover  # noqa: E402 - needs the apps to be ready
from syncsessions.middleware import SessionIdScopeMiddleware  # noqa: E402
from syncsessions.routing import process_routes, websocket_urlpatterns  # noqa: E402

sockets = [
    *websocket_urlpatterns,
    *process_routes({"basket": BasketConsumer}),
    path("ws/handover/", OrderHandover.as_asgi()),
    path("ws/drawing/", Drawing.as_asgi()),
]

application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(pages),
        "websocket": AuthMiddlewareStack(SessionIdScopeMiddleware(URLRouter(sockets))),
    }
)
