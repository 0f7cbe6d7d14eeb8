"""The demo over ASGI, with the site's session process."""

from __future__ import annotations

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from project.asgi import pages, sockets
from syncsessions.middleware import SessionIdScopeMiddleware
from syncsessions.routing import process_routes
from tests.site.shop import ShopConsumer

routes = URLRouter([*sockets, *process_routes({"shop": ShopConsumer})])
application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(pages),
        "websocket": AuthMiddlewareStack(SessionIdScopeMiddleware(routes)),
    }
)
