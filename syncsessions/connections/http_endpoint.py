"""What all endpoints do alike: whether they are open, limits, the bearer, bounded bodies, and errors as JSON."""

from __future__ import annotations

import logging
import math
import re
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any

from django.core.exceptions import DisallowedHost
from django.db import connections, router, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables

from syncsessions import conf, database
from syncsessions.address import limit_key
from syncsessions.client import address_of_request
from syncsessions.connections import clock, gate, http_fields, soon
from syncsessions.connections.calls import ASKING_SITE
from syncsessions.connections.models import Connection, ConnectionNotice
from syncsessions.connections.site_url import canonical
from syncsessions.exceptions import (
    AccessRefused,
    FrameError,
    InvalidValue,
    RateLimited,
    StoreUnavailable,
    SyncSessionsError,
)
from syncsessions.stores import stores

ALL_RATE = "600/m"  # of one client address, whatever it asks for
ASKING_RATE = "60/m"  # of one client address, to register or to redeem

STATUS = {
    "too_large": 413,
    "invalid_token": 401,
    "invalid_password": 401,
    "already_exists": 409,
    "already_used": 409,
    "invalid_transition": 409,
    "not_found": 404,
    "rate_limited": 429,
    "disabled": 503,
    "store_unavailable": 503,
}
"""HTTP status by error code; other refusals of access are 403, all other errors 400."""

_BEARER = re.compile(r"bearer +([^\s]+)", re.IGNORECASE)
_log = logging.getLogger(__name__)


class Call:
    """One request: who asks, with what token, for what."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.connection: Connection | None = None

    @cached_property
    def address(self) -> str | None:
        return address_of_request(self._request)

    @property
    def client(self) -> str:
        """What limits count the client by."""
        return limit_key(self.address)

    @property
    def has_credentials(self) -> bool:
        return "Authorization" in self._request.headers

    @property
    def bearer(self) -> str | None:
        """The token that is presented; None where nothing is, or something else."""
        found = _BEARER.fullmatch(self._request.headers.get("Authorization", "").strip(" \t"))
        return found[1] if found else None

    def is_asked_by(self, site_url: str | None) -> bool:
        """Whether the site that asks, where it says which it is, is this one: it may have its token from another."""
        asking = self._request.headers.get(ASKING_SITE)
        return asking is None or (site_url is not None and site_url in map(_spelt, asking.split()[:2]))

    @property
    def called_at(self) -> str | None:
        """The address by which the caller knows this site, which need not be its SITE_URL."""
        try:
            host = self._request.get_host()
        except DisallowedHost:
            return None
        return _spelt(f"{self._request.scheme}://{host}{self._request.path.rpartition('/api/')[0]}")

    def fields(self) -> http_fields.Fields:
        """What the body says. Raises `FrameError` and `InvalidValue`."""
        charset = self._request.content_params.get("charset", "utf-8") if self._request.content_params else "utf-8"
        if self._request.content_type != "application/json" or charset.lower() not in ("utf-8", "utf8"):
            raise FrameError("bad_frame", _("Send JSON in UTF-8, as application/json."))
        return http_fields.parse(self._body())

    def _body(self) -> bytes:
        """Read no further than a body may be."""
        try:
            length = int(self._request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        if length > http_fields.BODY_LIMIT:
            raise http_fields.too_large()
        try:
            body: bytes = self._request.read(http_fields.BODY_LIMIT + 1)
        except (UnreadablePostError, ValueError):  # the client went away and, over ASGI, its body was closed
            raise FrameError("bad_frame", _("The body was cut short.")) from None
        return body

    def ask(self) -> None:
        """Count a registration or redemption. Raises `RateLimited`."""
        stores["default"].hit(f"connections.asking:{self.client}", ASKING_RATE)

    def peer(self) -> Connection:
        """The connection of the bearer, whatever its status and rules. Raises `AccessRefused`, `RateLimited`."""
        return self._known(Connection.objects.identify)

    def peer_in_its_network(self) -> Connection:
        """The same under the network rule."""
        found = self.peer()
        if not gate.is_allowed(self.address, found.ip_allowlist):
            raise AccessRefused("ip_not_allowed")
        return found

    def peer_that_may_pass(self) -> Connection:
        """The same under every rule, whichever its direction."""
        return self._known(lambda token: Connection.objects.authenticate(token, direction=None, address=self.address))

    @sensitive_variables("token")
    def _known(self, find: Callable[[str], Connection]) -> Connection:
        token = self.bearer
        if token is None:
            raise AccessRefused("invalid_token")
        alias = router.db_for_write(Connection)
        found = database.run(alias, lambda _connection: find(token))
        if found.rate_limit:
            stores["default"].hit(f"connections.calls:{found.pk}", found.rate_limit)
        rows = Connection.objects.using(alias).filter(pk=found.pk)
        database.run(alias, lambda _connection: rows.update(last_connected_at=clock.now(alias)))
        self.connection = found
        return found

    def close(self) -> None:
        """The peer is there: tell it what waits for it."""
        try:
            if self.connection is not None and _has_notices(self.connection):
                soon.deliver_soon()
        except Exception as error:  # what was asked for is done, and the outbox is drained by others too
            _log.warning("The notices for a connection were not looked for: %s", type(error).__name__)


Answer = dict[str, Any] | tuple[int, dict[str, Any]]
Handler = Callable[[Call], Answer]
View = Callable[..., HttpResponse]


def endpoint(**handlers: Handler) -> View:
    """A view that answers these methods (and HEAD where GET), every other with 405, and never with a 500."""
    allowed = sorted({*handlers, *(["HEAD"] if "GET" in handlers else [])})

    def view(request: HttpRequest) -> HttpResponse:
        method = "GET" if request.method == "HEAD" else str(request.method)
        response = _respond(request, handlers.get(method), allowed)
        if request.method == "HEAD":
            response.content = b""
        return response

    view.login_required = False  # type: ignore[attr-defined]  # for projects with LoginRequiredMiddleware
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return csrf_exempt(never_cache(view))


def _respond(request: HttpRequest, handler: Handler | None, allowed: list[str]) -> HttpResponse:
    try:
        if not conf.current().SITE_URL:
            raise AccessRefused("disabled")
        call = Call(request)
        stores["default"].hit(f"connections.all:{call.client}", ALL_RATE)
        if handler is None:
            refused = AccessRefused("not_allowed", _("Allowed here: %s.") % ", ".join(allowed))
            return JsonResponse(refused.as_dict(), status=405, headers={"Allow": ", ".join(allowed)})
        try:
            answer = handler(call)
        finally:
            call.close()
    except SyncSessionsError as error:
        return refusal(error)
    except Exception as error:
        # Neither its text nor any value goes into the log: either may hold a token.
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("A request failed: %s\n%s", type(error).__name__, where)
        return refusal(StoreUnavailable())
    status, fields = answer if isinstance(answer, tuple) else (200, answer)
    return JsonResponse(fields, status=status)


def refusal(error: SyncSessionsError) -> HttpResponse:
    """An error as the caller is told it."""
    status = STATUS.get(error.code, 403 if isinstance(error, AccessRefused) else 400)
    response = JsonResponse(error.as_dict(), status=status)
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        response["Retry-After"] = str(math.ceil(error.retry_after))
    if error.code == "disabled":
        response._has_been_logged = True  # type: ignore[attr-defined]  # or each would be an error in the site's log
    return response


def _spelt(site_url: str) -> str | None:
    try:
        return canonical(site_url)
    except InvalidValue:
        return None


def _has_notices(connection: Connection) -> bool:
    alias = router.db_for_write(Connection)
    return ConnectionNotice.objects.using(alias).filter(connection_pk=connection.pk).exists()
