"""Whether a socket's Origin is one of ours, judged as Django's CSRF check judges a POST's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http.request import validate_host
from django.utils.http import is_same_domain


def is_own_origin(scope: Mapping[str, Any]) -> bool:
    """True for our own origin, a trusted one, or none at all: what is no browser sends none, and no cookies unasked."""
    headers = {name.lower(): value for name, value in scope.get("headers", [])}
    origin = headers.get(b"origin", b"").decode("latin-1")
    if not origin:
        return True
    try:
        parts = urlsplit(origin)
        hostname = parts.hostname
    except ValueError:
        return False
    if not hostname or parts.scheme not in ("http", "https"):
        return False
    if b"host" not in headers:
        return _is_allowed_host(hostname)
    return origin == _own(scope) or _is_trusted(origin)


def _own(scope: Mapping[str, Any]) -> str | None:
    scheme = "https" if scope.get("scheme") in ("wss", "https") else "http"
    as_http = {"path": "/", "query_string": b"", **scope, "type": "http", "method": "GET", "scheme": scheme}
    request = ASGIRequest(as_http, None)  # type: ignore[arg-type]  # has no body to read
    try:
        return f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return None


def _is_allowed_host(hostname: str) -> bool:
    """No browser omits Host; what does must at least name a host that the project lists."""
    allowed = settings.ALLOWED_HOSTS
    if settings.DEBUG and not allowed:
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    return validate_host(hostname, [pattern for pattern in allowed if pattern != "*"] or ["localhost"])


def _is_trusted(origin: str) -> bool:
    parts = urlsplit(origin)
    for trusted in settings.CSRF_TRUSTED_ORIGINS:
        if origin == trusted:
            return True
        pattern = urlsplit(trusted)
        is_wildcard = "*" in trusted and pattern.scheme == parts.scheme
        if is_wildcard and is_same_domain(parts.netloc, pattern.netloc.lstrip("*")):
            return True
    return False
