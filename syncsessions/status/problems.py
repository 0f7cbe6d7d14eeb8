"""What is wrong, in plain sentences, and what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from django.conf import settings
from django.core import checks
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions.address import UNIX
from syncsessions.checks import check_connection_urls
from syncsessions.status.connections import ConnectionsStatus
from syncsessions.status.servers import OLDEST, Server


class Problem(NamedTuple):
    """An `error` is what does not work now; a `warning` may become one."""

    level: Literal["error", "warning"]
    message: str
    hint: str


def of_checks() -> list[Problem]:
    """What our system checks say of the settings."""
    return [
        Problem("error" if found.level >= checks.ERROR else "warning", f"{found.msg} ({found.id})", found.hint or "")
        for found in [*checks.run_checks(tags=[checks.Tags.compatibility]), *check_connection_urls()]
        if str(found.id).startswith("syncsessions.") and found.id not in settings.SILENCED_SYSTEM_CHECKS
    ]


def store_silent(alias: str, location: str | None, error: str, rooms: list[str]) -> Problem:
    where = f" ({location})" if location else ""
    hint = _("Is the server up, and does it let this machine in?")
    if rooms:
        hint += " " + _(
            "What needs it (%(rooms)s) answers store_unavailable until then, and goes on by itself when it is back."
        ) % {"rooms": ", ".join(rooms)}
    message = _("The store “%(alias)s”%(where)s does not answer: %(error)s.")
    return Problem("error", message % {"alias": alias, "where": where, "error": error.rstrip(".")}, hint)


def sync_sessions_unknown(error: str) -> Problem:
    return Problem(
        "error",
        _("The sync sessions cannot be read: %(error)s.") % {"error": error.rstrip(".")},
        _("The store itself answers. If it is a database: has “manage.py migrate” been run?"),
    )


def stash_silent(alias: str, error: str) -> Problem:
    return Problem(
        "error",
        _("The stash cannot be read from the database “%(alias)s”: %(error)s.")
        % {"alias": alias, "error": error.rstrip(".")},
        _("Is the database up, and has “manage.py migrate” been run? Until then pages cannot save."),
    )


def connections_silent(alias: str, error: str) -> Problem:
    return Problem(
        "error",
        _("The connections cannot be read from the database “%(alias)s”: %(error)s.")
        % {"alias": alias, "error": error.rstrip(".")},
        _("Is the database up, and has “manage.py migrate” been run?"),
    )


WAITS_TOO_LONG = 60.0  # seconds


def of_connections(found: ConnectionsStatus) -> list[Problem]:
    """What keeps the two sides of a link apart."""
    told = []
    if found.counts and not found.site_url and sum(found.counts["sender"].values()):
        told.append(
            Problem(
                "warning",
                _("There are connections that this site sends over, and SYNCSESSIONS['SITE_URL'] is not set."),
                _("Set it to where other sites reach this one: until then their calls are answered with “disabled”."),
            )
        )
    if found.waiting and (found.waiting_since or 0) > WAITS_TOO_LONG:
        told.append(
            Problem(
                "warning",
                _("Changes of connections have been waiting to be told to other sites for %(minutes)d minutes.")
                % {"minutes": (found.waiting_since or 0) // 60},
                _("Is “manage.py syncsessions_deliver --forever” running, and do the other sites answer?"),
            )
        )
    if found.unanswered:
        told.append(
            Problem(
                "warning",
                ngettext(
                    "%(count)d request for a connection was never answered.",
                    "%(count)d requests for connections were never answered.",
                    found.unanswered,
                )
                % {"count": found.unanswered},
                _("Connect to that site again, which goes on with it; or delete it."),
            )
        )
    return told


def layer_silent(alias: str, location: str | None, error: str) -> Problem:
    where = f" ({location})" if location else ""
    return Problem(
        "error",
        _("The channel layer “%(alias)s”%(where)s carries no messages: %(error)s.")
        % {"alias": alias, "where": where, "error": error.rstrip(".")},
        _("Saves are kept, but open pages do not hear of each other until it works again. Is its server up?"),
    )


def of_server(what: str, server: Server, *, keeps_records: bool) -> list[Problem]:
    """`keeps_records` for a store's: a channel layer loses nothing that matters."""
    found = []
    if server.too_old:
        oldest = ".".join(map(str, OLDEST))
        found.append(
            Problem(
                "warning",
                _("%(what)s is a %(server)s.") % {"what": what, "server": server.name},
                _("It needs Redis %(oldest)s or later, or Valkey.") % {"oldest": oldest},
            )
        )
    if server.evicts and keeps_records:
        found.append(
            Problem(
                "warning",
                _("%(what)s drops records when its memory is full (maxmemory-policy %(policy)s).")
                % {"what": what, "policy": server.evicts},
                _("Set maxmemory-policy to noeviction, or give this store a server of its own."),
            )
        )
    return found


def proxy_not_trusted(proxy: str) -> Problem:
    who = _("a Unix socket") if proxy == UNIX else proxy
    return Problem(
        "warning",
        _("Forwarded headers come from %(who)s, which is not trusted: all clients behind it share one limit.")
        % {"who": who},
        _("If that is your proxy, add “%(proxy)s”, or its network, to SYNCSESSIONS['TRUSTED_PROXIES'] and restart.")
        % {"proxy": proxy},
    )
