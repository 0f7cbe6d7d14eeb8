"""What the staff does with connections: steps, new tokens, verification. On the list for many, on a page for one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from syncsessions import staff
from syncsessions.admin.connection_forms import ReasonForm
from syncsessions.admin.live_admin import LivePages
from syncsessions.admin.removal import LISTED
from syncsessions.connections import flow
from syncsessions.connections.models import Connection
from syncsessions.connections.status import NOT_FOUND, can_be_verified, fetch_peer_statuses, verify_receiver_connections
from syncsessions.exceptions import SyncSessionsError

NAMED = 10
PATIENCE = 60.0  # seconds after which no further site is called
ASK_FIRST = ("suspend", "revoke")
RIGHTS = {
    "approve": "approve",
    "suspend": "approve",
    "reactivate": "approve",
    "revoke": "approve",
    "rotate": "rotate",
    "verify": "verify",
}
"""By an action's name, the permission that it needs."""
BUTTONS: dict[str, str | Promise] = {
    "approve": gettext_lazy("Approve"),
    "suspend": gettext_lazy("Suspend…"),
    "reactivate": gettext_lazy("Reactivate"),
    "revoke": gettext_lazy("Revoke…"),
    "rotate": gettext_lazy("Rotate tokens"),
    "verify": gettext_lazy("Verify"),
}
STEPS = {
    "approve": (flow.ACTIVE, flow.PENDING),
    "suspend": (flow.SUSPENDED, None),
    "reactivate": (flow.ACTIVE, flow.SUSPENDED),
    "revoke": (flow.REVOKED, None),
}


class ConnectionActions(LivePages):
    """Each action needs its own permission, and a sight of the connection."""

    reason_template = "admin/syncsessions/connection_reason.html"
    actions = [*RIGHTS]

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return self.has_right("approve", request)

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return self.has_right("rotate", request)

    def has_verify_permission(self, request: HttpRequest) -> bool:
        return self.has_right("verify", request)

    @admin.action(description=gettext_lazy("Approve selected connections"), permissions=["approve"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponseBase | None:
        return self.act(request, "approve", queryset)

    @admin.action(description=gettext_lazy("Suspend selected connections…"), permissions=["approve"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponseBase | None:
        return self.act(request, "suspend", queryset)

    @admin.action(description=gettext_lazy("Reactivate selected connections"), permissions=["approve"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponseBase | None:
        return self.act(request, "reactivate", queryset)

    @admin.action(description=gettext_lazy("Revoke selected connections…"), permissions=["approve"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponseBase | None:
        return self.act(request, "revoke", queryset)

    @admin.action(description=gettext_lazy("Rotate the tokens of selected connections"), permissions=["rotate"])
    def rotate(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponseBase | None:
        return self.act(request, "rotate", queryset)

    @admin.action(
        description=gettext_lazy("Verify that the other sites know selected connections"), permissions=["verify"]
    )
    def verify(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponseBase | None:
        return self.act(request, "verify", queryset)

    def action_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """One connection's buttons post here."""
        request.current_app = self.admin_site.name
        connection = self.get_object(request, object_id)
        if connection is None:
            raise Http404
        name = request.POST.get("action", "")
        if not self.has_view_or_change_permission(request, connection):
            raise PermissionDenied
        if request.method == "POST" and name in RIGHTS:
            if not self.has_right(RIGHTS[name], request):
                raise PermissionDenied
            rows = self.get_queryset(request).filter(pk=connection.pk)
            answer = self.act(request, name, rows, back=self.url("change", connection.pk))
            if answer is not None:
                return answer
        return HttpResponseRedirect(self.url("change", connection.pk))

    def act(
        self, request: HttpRequest, name: str, rows: QuerySet[Connection], back: str | None = None
    ) -> HttpResponseBase | None:
        """Ask for the reason where one is due; else do it, and tell of each row."""
        connections = list(rows)
        reason = ""
        if name in ASK_FIRST:
            form = ReasonForm(request.POST if "confirmed" in request.POST else None)
            if not form.is_valid():
                return self._ask(request, name, connections, form, back or request.get_full_path())
            reason = form.cleaned_data["reason"]
        if name == "verify":
            self._verify(request, connections)
        elif name == "rotate":
            self._tell(request, name, *_tried(connections, lambda each: self._rotate(request, each)))
        else:
            step = getattr(Connection, name)
            self._tell(request, name, *_tried(connections, lambda each: step(each, by=request.user, reason=reason)))
        return None

    def _rotate(self, request: HttpRequest, connection: Connection) -> None:
        connection.rotate_tokens()
        staff.note(request.user.pk, connection, _("Rotated the tokens."), gone=False)

    def _verify(self, request: HttpRequest, connections: Sequence[Connection]) -> None:
        asked = [each for each in connections if can_be_verified(each)]
        said = dict(fetch_peer_statuses(asked))
        severed = set(verify_receiver_connections([each for each in asked if said.get(each.pk) == NOT_FOUND]))
        silent = [each.name for each in asked if said.get(each.pk, "offline") in ("offline", "error")]
        known = len(asked) - len(severed) - len(silent)
        if known:
            text = ngettext(
                "%(count)d connection is known at the other site.",
                "%(count)d connections are known at the other sites.",
                known,
            )
            self.message_user(request, text % {"count": known}, messages.SUCCESS)
        if severed:
            text = _("Severed, and suspended here, as the other site knows of no such connection: %(names)s")
            names = _names([each.name for each in asked if each.pk in severed])
            self.message_user(request, text % {"names": names}, messages.WARNING)
        if silent:
            text = _("Nothing was changed, as the other site could not be reached: %(names)s")
            self.message_user(request, text % {"names": _names(silent)}, messages.ERROR)
        if left := [each.name for each in connections if each not in asked]:
            text = _(
                "Not asked: %(names)s. Verified are connections by which this site sends, that are active or pending, "
                "once handed over, and reachable."
            )
            self.message_user(request, text % {"names": _names(left)}, messages.WARNING)

    def _tell(self, request: HttpRequest, name: str, done: int, refused: dict[str, list[str]]) -> None:
        if done:
            self.message_user(request, _done(name, done), messages.SUCCESS)
        for why, names in refused.items():
            text = _("%(names)s: %(why)s") % {"names": _names(names), "why": why}
            self.message_user(request, text, messages.ERROR)

    def _ask(
        self, request: HttpRequest, name: str, connections: Sequence[Connection], form: ReasonForm, back: str
    ) -> HttpResponseBase:
        count = len(connections)
        if name == "suspend":
            title = ngettext("Suspend %(count)d connection?", "Suspend %(count)d connections?", count)
            warning, button = _("Nothing passes until this site reactivates it."), _("Yes, suspend")
        else:
            title = ngettext("Revoke %(count)d connection?", "Revoke %(count)d connections?", count)
            warning, button = _("This is for good: what is revoked can only be deleted."), _("Yes, revoke")
        context = {
            **self.page_context(request, title % {"count": count}, ""),
            "warning": warning,
            "button": button,
            "lines": [f"{each.name}: {each.get_status_display()}" for each in connections[:LISTED]],
            "more": count - LISTED,
            "form": form,
            "action": name,
            "selected": [str(each.pk) for each in connections]
            if request.POST.get("select_across", "0") == "0"
            else request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
            "action_url": request.get_full_path(),
            "back_url": back,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.reason_template, context)


def refusal(connection: Connection, name: str) -> str | Promise | None:
    """Why an action would be refused now; None where it would be tried."""
    if name in STEPS:
        status, lifts = STEPS[name]
        return flow.refusal(connection.standing, status, by_peer=False, lifts=lifts)
    if name == "rotate":
        possible = connection.is_reachable and connection.status == flow.ACTIVE
    else:
        possible = can_be_verified(connection)
    return None if possible else ""


def _tried(connections: Iterable[Connection], work: Callable[[Connection], None]) -> tuple[int, dict[str, list[str]]]:
    """How many it was done for, and by the reason the names of those that it was refused for."""
    done, refused = 0, dict[str, list[str]]()
    until = time.monotonic() + PATIENCE
    for connection in connections:
        try:
            if time.monotonic() > until:
                raise SyncSessionsError(_("Not tried yet, as the others took long. Try again."))
            work(connection)
        except SyncSessionsError as error:
            refused.setdefault(str(error), []).append(connection.name)
        else:
            done += 1
    return done, refused


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(_("“%(name)s”") % {"name": name} for name in names[:NAMED])
    more = len(names) - NAMED
    if more <= 0:
        return shown
    rest = ngettext("and %(count)d more", "and %(count)d more", more) % {"count": more}
    return f"{shown} {rest}"


def _done(name: str, count: int) -> str:
    match name:
        case "approve":
            text = ngettext("%(count)d connection was approved.", "%(count)d connections were approved.", count)
        case "suspend":
            text = ngettext("%(count)d connection was suspended.", "%(count)d connections were suspended.", count)
        case "reactivate":
            text = ngettext("%(count)d connection was reactivated.", "%(count)d connections were reactivated.", count)
        case "revoke":
            text = ngettext("%(count)d connection was revoked.", "%(count)d connections were revoked.", count)
        case _:
            text = ngettext(
                "The tokens of %(count)d connection were rotated.",
                "The tokens of %(count)d connections were rotated.",
                count,
            )
    return text % {"count": count}
