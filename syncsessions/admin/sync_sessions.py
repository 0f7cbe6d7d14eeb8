"""The live sync sessions in the admin: one page that keeps itself up to date, and an end to those that are chosen."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions.admin.live_admin import LiveAdmin
from syncsessions.admin.live_page import clock, labels, texts
from syncsessions.admin.removal import LISTED, Plan
from syncsessions.exceptions import StoreUnavailable, SyncSessionsError
from syncsessions.frames import error_frame
from syncsessions.paging import page_number
from syncsessions.pairing import overview, staff, sync_sessions
from syncsessions.pairing.models import ActiveSyncSession
from syncsessions.pairing.session import SyncSession
from syncsessions.stores.steps import run


@admin.register(ActiveSyncSession)
class ActiveSyncSessionAdmin(LiveAdmin):
    """Three permissions: to view the list, to see its codes in clear, to end sessions."""

    list_template = "admin/syncsessions/sync_sessions.html"

    def has_see_code_permission(self, request: HttpRequest) -> bool:
        return self.has_right("see_code", request)

    def has_end_permission(self, request: HttpRequest) -> bool:
        return self.has_right("end", request)

    def get_urls(self) -> list[URLPattern]:
        # The list alone: there are no rows in a table that the other pages could be about.
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("live/", view(self.live_view), name=f"{name}_live"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        if request.method == "POST":
            return self._end(request)
        unavailable = False
        try:
            frame = self._frame(request)
        except StoreUnavailable:
            unavailable = True
            frame = overview.nothing(_page(request)).as_frame(with_codes=False)
        named = labels()
        may_end = self.has_end_permission(request)
        context = {
            **self.page_context(request, str(capfirst(self.opts.verbose_name_plural)), "admin-sync.js"),
            "list": frame,
            "rows": [_in_words(row, named) for row in frame["sessions"]],
            "counts": [(status, named["status"][status], count) for status, count in frame["counts"].items()],
            "unavailable": unavailable,
            "may_end": may_end,
            "config": {
                **self.line_config(self.url("live")),
                "list": frame,
                "unavailable": unavailable,
                "labels": named,
                "texts": texts(),
            },
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.list_template, context)

    def live_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the socket sends, for pages without one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return JsonResponse(self._frame(request))
        except StoreUnavailable as error:
            return JsonResponse(error_frame(error), status=503)

    def _frame(self, request: HttpRequest) -> dict[str, Any]:
        found = run(sync_sessions.store, overview.look(_page(request)))
        return found.as_frame(with_codes=self.has_see_code_permission(request))

    def _end(self, request: HttpRequest) -> HttpResponseBase:
        """Ask about the chosen sessions; end them once the asking page has posted back."""
        if not self.has_end_permission(request):
            raise PermissionDenied
        only = request.POST.get("only")
        chosen = {only} if only else set(request.POST.getlist(ACTION_CHECKBOX_NAME))
        try:
            found = staff.find(chosen)
            if found and "confirmed" not in request.POST:
                return self._ask(request, found)
            ended = self._end_all(request, found)
        except SyncSessionsError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self._tell(request, chosen, ended)
        page = _page(request)
        return HttpResponseRedirect(self.url("changelist") + (f"?p={page}" if page > 1 else ""))

    def _end_all(self, request: HttpRequest, sessions: list[SyncSession]) -> int:
        ended = 0
        try:
            for session in sessions:
                ended += staff.end(session, request.user.pk)
        except StoreUnavailable:
            if ended:
                self._tell(request, (), ended)
            raise
        return ended

    def _tell(self, request: HttpRequest, chosen: Collection[str], ended: int) -> None:
        if ended:
            text = ngettext("%(count)d sync session was ended.", "%(count)d sync sessions were ended.", ended)
            self.message_user(request, text % {"count": ended}, messages.SUCCESS)
        late = len(chosen) - ended
        if late > 0:
            text = ngettext(
                "%(count)d sync session had ended already.", "%(count)d sync sessions had ended already.", late
            )
            self.message_user(request, text % {"count": late}, messages.WARNING)
        elif not ended:
            self.message_user(request, _("No sync session was selected."), messages.WARNING)

    def _ask(self, request: HttpRequest, sessions: list[SyncSession]) -> HttpResponseBase:
        named, with_code = labels(), self.has_see_code_permission(request)
        lines = [
            f"{overview.shown_code(session, with_code=with_code)}: {named['status'][session.status]}"
            for session in sessions[:LISTED]
        ]
        title = ngettext("End %(count)d sync session?", "End %(count)d sync sessions?", len(sessions))
        plan = Plan(title % {"count": len(sessions)}, texts()["warning"], lines, len(sessions), _("Yes, end"))
        here = request.get_full_path()
        return self.ask(request, plan, "end", [session.life for session in sessions], here, here)


def _page(request: HttpRequest) -> int:
    return page_number(request.GET.get("p"))


def _in_words(row: dict[str, Any], named: dict[str, dict[str, Any]]) -> dict[str, Any]:
    words = {name: named[name][row[name]] for name in ("direction", "status")}
    return {**row, **words, "state": row["status"], "age": clock(row["age"]), "left": clock(row["left"])}
