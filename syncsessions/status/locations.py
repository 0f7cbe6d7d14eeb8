"""Where servers are, and what went wrong with them, as an operator may be shown it: without credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.exceptions import InvalidChannelLayerError
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.utils.translation import gettext as _

from syncsessions.exceptions import SyncSessionsError
from syncsessions.status.probe import NoAnswer

HIDDEN = "…"


def shown_location(location: Any) -> str:
    """A URL without user, password and query, a (host, port), a mapping of either; several with commas between."""
    if isinstance(location, bytes):
        location = location.decode(errors="replace")
    if isinstance(location, str):
        return _shown_url(location)
    if isinstance(location, Mapping):
        return _shown_mapping(location)
    if isinstance(location, list | tuple):
        if len(location) == 2 and isinstance(location[1], int):
            return f"{location[0]}:{location[1]}"
        return ", ".join(map(shown_location, location))
    return HIDDEN


def _shown_url(url: str) -> str:
    scheme, found, _rest = url.partition("://")
    if not found:
        return HIDDEN if "@" in url else url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://{HIDDEN}"
    # A password with a slash, a question mark or a hash in it ends up to the right of where it should be.
    if "@" in parts.path + parts.query + parts.fragment or not (host or parts.path):
        return f"{scheme}://{HIDDEN}"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}{'' if port is None else f':{port}'}{parts.path}"


def _shown_mapping(host: Mapping[str, Any]) -> str:
    if "address" in host:
        return shown_location(host["address"])
    if "sentinels" in host:
        return f"{host.get('master_name')} of {shown_location(host['sentinels'])}"
    if "path" in host:
        return f"unix://{host['path']}"
    return f"{host.get('host', 'localhost')}:{host.get('port', 6379)}"


def shown_error(error: BaseException) -> str:
    """What went wrong, in the words of a server, of the way to it, or in ours: others' words may quote a URL."""
    if isinstance(error, NoAnswer):
        return _("no answer within %(seconds).0f s") % {"seconds": error.seconds}
    cause = (error.__cause__ or error) if isinstance(error, SyncSessionsError) else error
    text = " ".join(str(cause).split())
    ours = isinstance(cause, SyncSessionsError | ImproperlyConfigured | InvalidChannelLayerError)
    if text and (ours or isinstance(cause, OSError | DatabaseError) or _is_of_redis(cause)):
        return text if ours else f"{type(cause).__name__}: {text}"
    return type(cause).__name__


def _is_of_redis(error: BaseException) -> bool:
    return any(each.__module__ == "redis.exceptions" for each in type(error).__mro__)
