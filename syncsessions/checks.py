"""System checks: what is wrong or missing in a project, and what to do about it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import identify_hasher
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags
from django.core.checks import Warning as Caution
from django.db import connections
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from syncsessions import conf
from syncsessions.address import UNIX
from syncsessions.connections import site_url
from syncsessions.connections.incoming import MODES
from syncsessions.exceptions import InvalidValue
from syncsessions.processes import SessionProcess
from syncsessions.stores import DEFAULT_STORE_ALIAS, InvalidStoreError, stores
from syncsessions.stores.record import parse_rate

SESSION_MIDDLEWARE = "django.contrib.sessions.middleware.SessionMiddleware"
OUR_MIDDLEWARE = "syncsessions.middleware.SessionIdMiddleware"
RETURNING = (3, 35)  # the SQLite that knows it


def register_all() -> None:
    checks.register(check_settings, Tags.compatibility)
    checks.register(check_stores, Tags.compatibility)
    checks.register(check_sessions, Tags.compatibility)
    checks.register(check_channel_layer, Tags.compatibility)
    checks.register(check_connections, Tags.compatibility)
    checks.register(check_urls, Tags.urls)
    checks.register(check_connection_urls, Tags.urls)
    checks.register(check_database, Tags.database)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    value = getattr(settings, "SYNCSESSIONS", {})
    if not isinstance(value, Mapping):
        return [Error("SYNCSESSIONS is not a dict.", id="syncsessions.E001")]
    found: list[CheckMessage] = [
        Error(
            f"SYNCSESSIONS has an unknown key, {name!r}.",
            hint=f"The keys are {', '.join(sorted(conf.NAMES))}.",
            id="syncsessions.E001",
        )
        for name in value
        if name not in conf.NAMES
    ]
    return found + [_bad_value(name, wanted) for name, wanted in _wrong_values(conf.current())]


def _wrong_values(given: conf.Settings) -> list[tuple[str, str]]:
    wrong = []
    if given.STASH_TTL is not None and not _is_time(given.STASH_TTL):
        wrong.append(("STASH_TTL", "a positive number of seconds, or None for ever"))
    if given.STASH_INVALID_VALUE not in ("raise", "skip"):
        wrong.append(("STASH_INVALID_VALUE", '"raise" or "skip"'))
    if not _is_list(given.STASH_CLIENT_VIEWS):
        wrong.append(("STASH_CLIENT_VIEWS", "a list of views' names"))
    for name in ("PROCESS_TTL", "PAIRING_LEASE"):
        if not _is_time(getattr(given, name)):
            wrong.append((name, "a positive number of seconds"))
    for name in ("MAX_PROCESSES", "PAIRING_MAX_SESSIONS", "PAIRING_MAX_PER_USER"):
        if not _is_whole(getattr(given, name)):
            wrong.append((name, "a whole number, 0 or more"))
    if given.PROCESS_START_RATE is not None and not _is_rate(given.PROCESS_START_RATE):
        wrong.append(("PROCESS_START_RATE", 'a rate like "100/m", or None for no bound'))
    if not _is_process(given.PROCESS_CLASS):
        wrong.append(("PROCESS_CLASS", "the dotted path of a subclass of SessionProcess"))
    if not _is_rate(given.PAIRING_GUESS_RATE):
        wrong.append(("PAIRING_GUESS_RATE", 'a rate like "10/m"'))
    if not _is_list(given.TRUSTED_PROXIES) or not all(map(_is_proxy, given.TRUSTED_PROXIES)):
        wrong.append(("TRUSTED_PROXIES", f'a list of networks like "10.0.0.0/8", and "{UNIX}" for Unix sockets'))
    if given.SITE_URL is not None and not _is_site(given.SITE_URL):
        wrong.append(("SITE_URL", 'an address like "https://a.example/sync", or None'))
    if given.INCOMING_MODE not in MODES:
        wrong.append(("INCOMING_MODE", " or ".join(f'"{mode}"' for mode in MODES)))
    if given.INCOMING_PASSWORD is not None and not _is_hash(given.INCOMING_PASSWORD):
        wrong.append(("INCOMING_PASSWORD", "a hash by django.contrib.auth.hashers.make_password, or None"))
    if not isinstance(given.ALLOW_PRIVATE_SITE_URLS, bool):
        wrong.append(("ALLOW_PRIVATE_SITE_URLS", "True or False"))
    return wrong


def _is_site(value: object) -> bool:
    try:
        return bool(site_url.canonical(value))
    except InvalidValue:
        return False


def _is_hash(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(identify_hasher(value))
    except ValueError:
        return False


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)


def _is_rate(value: Any) -> bool:
    try:
        parse_rate(value)
    except (InvalidValue, TypeError):  # what cannot be hashed is no rate either
        return False
    return True


def _is_process(path: Any) -> bool:
    try:
        return issubclass(import_string(path), SessionProcess)
    except (ImportError, AttributeError, TypeError):
        return False


def _is_proxy(value: object) -> bool:
    try:
        return value == UNIX or bool(ip_network(str(value).strip(), strict=False))
    except ValueError:
        return False


def _bad_value(name: str, wanted: str) -> CheckMessage:
    return Error(f"SYNCSESSIONS[{name!r}] must be {wanted}.", id="syncsessions.E002")


def check_stores(**kwargs: Any) -> list[CheckMessage]:
    configured: object = conf.current().STORES
    if not isinstance(configured, Mapping) or DEFAULT_STORE_ALIAS not in configured:
        return [_bad_store('SYNCSESSIONS["STORES"] is not a dict with a "default" store.')]
    found: list[CheckMessage] = []
    for alias in stores:
        try:
            found.extend(stores[alias].check())
        except InvalidStoreError as error:
            found.append(_bad_store(str(error)))
    return found


def _bad_store(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint='Write {"default": {"BACKEND": "syncsessions.stores.memory.MemoryStore"}}, or one of the other stores.',
        id="syncsessions.E005",
    )


def check_sessions(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    order = list(settings.MIDDLEWARE)
    if OUR_MIDDLEWARE not in order:
        found.append(
            Caution(
                "SessionIdMiddleware is not in MIDDLEWARE.",
                hint=f"Add {OUR_MIDDLEWARE!r} after {SESSION_MIDDLEWARE!r}: without it request.session_id is "
                "missing, and a stash that only a socket has written may be lost at login.",
                id="syncsessions.W001",
            )
        )
    elif SESSION_MIDDLEWARE in order and order.index(SESSION_MIDDLEWARE) > order.index(OUR_MIDDLEWARE):
        found.append(
            Error(
                "SessionIdMiddleware stands before SessionMiddleware.",
                hint=f"Move {OUR_MIDDLEWARE!r} below {SESSION_MIDDLEWARE!r}.",
                id="syncsessions.E003",
            )
        )
    if settings.SESSION_ENGINE == "django.contrib.sessions.backends.signed_cookies":
        found.append(
            Caution(
                "Sessions are kept in signed cookies: their key changes with every save, so that two first requests "
                "of one browser may not agree on a stash, and a logout cannot end a stolen cookie.",
                hint="Use a session engine that keeps sessions on the server.",
                id="syncsessions.W002",
            )
        )
    return found


def check_channel_layer(**kwargs: Any) -> list[CheckMessage]:
    layers: dict[str, dict[str, Any]] = getattr(settings, "CHANNEL_LAYERS", {}) or {}
    if "default" not in layers:
        return [
            Caution(
                "CHANNEL_LAYERS has no default layer: open pages will not hear of what others write.",
                hint='For one process: {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}; '
                "for several, channels_redis.",
                id="syncsessions.W003",
            )
        ]
    layer = layers["default"]
    backend = str(layer.get("BACKEND", ""))
    if backend.endswith("InMemoryChannelLayer") and not settings.DEBUG:
        return [
            Caution(
                "The in-memory channel layer reaches one process only: pages served by another will not hear.",
                hint="With several processes use channels_redis. With one, silence this check.",
                id="syncsessions.W004",
            )
        ]
    if backend.endswith(".RedisChannelLayer") and _redis_times_out() and not _all_hosts_wait(layer):
        return [
            Caution(
                "redis-py 8 gives up on a silent connection after 5 seconds: every idle socket would fail by then.",
                hint='Write each host as {"address": "redis://…", "socket_timeout": None}, '
                "or use RedisPubSubChannelLayer.",
                id="syncsessions.W005",
            )
        ]
    return []


def _redis_times_out() -> bool:
    try:
        return int(version("redis").split(".")[0]) >= 8
    except PackageNotFoundError:
        return False


def _all_hosts_wait(layer: Mapping[str, Any]) -> bool:
    hosts = (layer.get("CONFIG") or {}).get("hosts")
    if not isinstance(hosts, list | tuple) or not hosts:
        return False
    return all(isinstance(host, Mapping) and host.get("socket_timeout", 0) is None for host in hosts)


def check_connections(**kwargs: Any) -> list[CheckMessage]:
    given = conf.current()
    found: list[CheckMessage] = []
    if not settings.DEBUG and str(given.SITE_URL).lower().startswith("http:"):
        found.append(
            Caution(
                "SYNCSESSIONS['SITE_URL'] begins with http:// : other sites call https only, unless they run in DEBUG.",
                hint="Serve this site over https, and write its address so.",
                id="syncsessions.W012",
            )
        )
    if given.INCOMING_MODE == "require_password" and not given.INCOMING_PASSWORD:
        found.append(
            Caution(
                'SYNCSESSIONS["INCOMING_MODE"] is "require_password", and there is no INCOMING_PASSWORD: every other '
                "site is refused.",
                hint="Set INCOMING_PASSWORD to what django.contrib.auth.hashers.make_password gives.",
                id="syncsessions.W013",
            )
        )
    return found


def check_connection_urls(**kwargs: Any) -> list[CheckMessage]:
    if not conf.current().SITE_URL:
        return []
    try:
        reverse("syncsessions_connections:status")
    except NoReverseMatch:
        return [
            Caution(
                "SYNCSESSIONS['SITE_URL'] is set, but the URLs of connections are not mounted: no site can call.",
                hint='Add path("sync/", include("syncsessions.connections.urls")) to the root URLconf.',
                id="syncsessions.W011",
            )
        ]
    return []


def check_urls(**kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    try:
        reverse("syncsessions:stash")
    except NoReverseMatch:
        found.append(
            Caution(
                "The URLs of syncsessions are not mounted: a page without a socket cannot save.",
                hint='Add path("syncsessions/", include("syncsessions.urls")) to the root URLconf.',
                id="syncsessions.W006",
            )
        )
    if not getattr(settings, "ASGI_APPLICATION", None):
        found.append(
            Caution(
                "ASGI_APPLICATION is not set: on WSGI alone pages save by fetch and are not live.",
                hint="Route syncsessions.routing.websocket_urlpatterns in asgi.py, or silence this check.",
                id="syncsessions.W007",
            )
        )
    return found


def check_database(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    from syncsessions.stash.sql import VENDORS, database_alias

    alias = database_alias()
    if alias not in (databases or ()):
        return []
    vendor = connections[alias].vendor
    if vendor not in VENDORS:
        return [
            Error(
                f"The stash does not know the database {vendor!r}.",
                hint=f"Route the app to one of {', '.join(sorted(VENDORS))}.",
                id="syncsessions.E004",
            )
        ]
    if vendor == "sqlite" and sqlite3.sqlite_version_info < RETURNING:
        return [
            Error(
                f"SQLite {sqlite3.sqlite_version} is too old for the stash.",
                hint="It needs SQLite 3.35 or later.",
                id="syncsessions.E004",
            )
        ]
    return []
