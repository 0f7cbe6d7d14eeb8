"""A status as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.color import Style
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions import __version__
from syncsessions.management.durations import duration
from syncsessions.status import Status
from syncsessions.status.connections import NOT_REACHABLE, ConnectionsStatus, RemoteStatus
from syncsessions.status.problems import Problem
from syncsessions.status.stash import StashStatus
from syncsessions.status.stores import ProcessesStatus, StoreStatus, SyncSessionsStatus

GAP = "  "
TIMES = frozenset({"PAIRING_LEASE", "PROCESS_TTL", "STASH_TTL"})


def block(status: Status, style: Style) -> str:
    """All of it, some twenty lines; what is wrong stands last, where the eye is."""
    parts = [
        f"syncsessions {__version__}, {status.at:%Y-%m-%d %H:%M:%S} UTC",
        _section(_("Stores"), _columns([_store_row(store) for store in status.stores])),
        _section(_("Channel layer"), _columns([_layer_row(status)])),
        _section(_("Sync sessions"), _sync_sessions(status.sync_sessions)),
        _section(_("Session processes"), [_processes(status.processes)]),
        _section(_("Stash"), [_stash(status.stash)]),
        _section(_("Connections"), _connections(status.connections)),
        _section(_("Settings"), _columns([[name, _value(name, value)] for name, value in status.settings.items()])),
        _problems(status, style),
    ]
    return "\n\n".join(parts)


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(GAP + line for line in lines)])


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width] for row in rows]
    return [GAP.join(line).rstrip() for line in lines] or [_("none")]


def _store_row(store: StoreStatus) -> list[str]:
    return [
        store.alias,
        _last_name(store.backend),
        store.location or "",
        _answer(store.ping_ms, _("ping %(ms)s ms")),
        store.server or "",
        _("for %(rooms)s") % {"rooms": ", ".join(store.used_by)} if store.used_by else "",
    ]


def _layer_row(status: Status) -> list[str]:
    layer = status.channel_layer
    if layer is None:
        return [_("none: open pages do not hear of each other")]
    answer = _answer(layer.round_trip_ms, _("there and back in %(ms)s ms"))
    return [layer.alias, _last_name(layer.backend), layer.location or "", answer, layer.server or ""]


def _answer(milliseconds: float | None, sentence: str) -> str:
    return _("DOES NOT ANSWER") if milliseconds is None else sentence % {"ms": f"{milliseconds:.2f}"}


def _processes(found: ProcessesStatus) -> str:
    if not found.visible:
        return _("not to be seen from here: they are in the memory of the process that started them")
    if found.active is None:
        return _("not known")
    return _("%(count)s active") % {"count": f"{found.active:,}"}


def _sync_sessions(found: SyncSessionsStatus) -> list[str]:
    if not found.visible:
        return [_("not to be seen from here: they are in the memory of the process that opened them")]
    if found.active is None:
        return [_("not known")]
    lines = [_("%(count)s active") % {"count": f"{found.active:,}"}]
    if found.counted < found.active:
        lines.append(_("of the newest %(count)s:") % {"count": f"{found.counted:,}"})
    if found.active:
        lines += [_counts(found.by_status), _counts(found.by_direction)]
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _stash(found: StashStatus) -> str:
    if found.slices is None or found.owners is None:
        return _("not known")
    slices = ngettext("%(count)s slice", "%(count)s slices", found.slices) % {"count": f"{found.slices:,}"}
    owners = ngettext("%(count)s browser session or user", "%(count)s browser sessions and users", found.owners) % {
        "count": f"{found.owners:,}"
    }
    sentence = _("about %(slices)s of about %(owners)s") if found.estimated else _("%(slices)s of %(owners)s")
    where = _("in the database “%(alias)s”") % {"alias": found.database}
    return f"{sentence % {'slices': slices, 'owners': owners}}, {where}"


def _connections(found: ConnectionsStatus) -> list[str]:
    if found.counts is None:
        return [_("not known")]
    lines = [
        _("other sites reach this one at %(url)s, incoming mode %(mode)s")
        % {"url": found.site_url, "mode": found.incoming_mode}
        if found.site_url
        else _("closed to other sites: SITE_URL is not set")
    ]
    directions = {"sender": _("sending to %(counts)s"), "receiver": _("receiving from %(counts)s")}
    for direction, counts in found.counts.items():
        some = {status: count for status, count in counts.items() if count}
        if some:
            lines.append(directions[direction] % {"counts": _counts(some)})
    if len(lines) == 1:
        lines.append(_("none"))
    if found.invitations:
        text = ngettext("%(count)d open invitation", "%(count)d open invitations", found.invitations)
        lines.append(text % {"count": found.invitations})
    if found.waiting:
        text = ngettext(
            "%(count)d change waits to be told, for %(seconds)d s",
            "%(count)d changes wait to be told, the oldest for %(seconds)d s",
            found.waiting,
        )
        lines.append(text % {"count": found.waiting, "seconds": found.waiting_since or 0})
    if found.refused:
        text = ngettext(
            "%(count)d shows in the admin what the other site has refused",
            "%(count)d show in the admin what the other sites have refused",
            found.refused,
        )
        lines.append(text % {"count": found.refused})
    return lines + (_columns([_remote_row(each) for each in found.remote]) if found.remote else [])


def _remote_row(link: RemoteStatus) -> list[str]:
    said = {
        NOT_REACHABLE: _("cannot be asked from here"),
        "not_found": _("over there NOT FOUND"),
        "offline": _("over there OFFLINE"),
        "error": _("over there NO USABLE ANSWER"),
    }
    remote = said.get(link.remote) or _("over there %(status)s") % {"status": link.remote}
    here = _("here %(status)s") % {"status": link.status}
    return [link.name, _("sender") if link.direction == "sender" else _("receiver"), link.site_url or "", here, remote]


def _value(name: str, value: Any) -> str:
    if value is None:
        return _("for ever") if name in TIMES else _("none")
    if name in TIMES and isinstance(value, int | float):
        return duration(value)
    if isinstance(value, list):
        return ", ".join(value) or _("none")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _problems(status: Status, style: Style) -> str:
    if not status.problems:
        return style.SUCCESS(_("All is well."))
    lines = [_("All answers. To look at:") if status.ok else _("Something does not answer:")]
    for problem in status.problems:
        lines += _told(problem, style)
    return "\n".join(lines)


def _told(problem: Problem, style: Style) -> list[str]:
    paint = style.ERROR if problem.level == "error" else style.WARNING
    word = _("ERROR") if problem.level == "error" else _("WARNING")
    told = [GAP + paint(f"{word} {problem.message}")]
    return [*told, GAP * 2 + problem.hint] if problem.hint else told


def _last_name(path: str) -> str:
    return path.rpartition(".")[2]
