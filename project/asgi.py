"""The demo over ASGI: pages, static files and sockets from one server."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
pages = get_asgi_application()

from syncsessions.middleware import SessionIdScopeMiddleware  # noqa: E402 - needs the apps to be ready
from syncsessions.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(pages),
        "websocket": AuthMiddlewareStack(SessionIdScopeMiddleware(URLRouter(websocket_urlpatterns))),
    }
)
