"""The running session processes in the admin: a list and a page for each, which keep themselves up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions.admin.live_admin import LiveAdmin
from syncsessions.admin.live_page import clock, process_texts
from syncsessions.admin.removal import LISTED, Plan
from syncsessions.exceptions import SessionNotFound, StoreUnavailable
from syncsessions.frames import Frame, error_frame
from syncsessions.paging import page_number
from syncsessions.processes import overview, staff
from syncsessions.processes.models import ActiveProcess
from syncsessions.processes.overview import Place
from syncsessions.processes.process import ALIAS
from syncsessions.processes.running import run
from syncsessions.stores import stores

TOUCH, TERMINATE = "touch", "terminate"


@admin.register(ActiveProcess)
class ActiveProcessAdmin(LiveAdmin):
    """Three permissions: to view the list, states and histories; to touch; to terminate."""

    list_template = "admin/syncsessions/processes.html"
    detail_template = "admin/syncsessions/process.html"

    def has_touch_permission(self, request: HttpRequest) -> bool:
        return self.has_right(TOUCH, request)

    def has_terminate_permission(self, request: HttpRequest) -> bool:
        return self.has_right(TERMINATE, request)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("live/", view(self.live_view), name=f"{name}_live"),
            path("<slug:key>/", view(self.detail_view), name=f"{name}_detail"),
            path("<slug:key>/live/", view(self.live_detail_view), name=f"{name}_live_detail"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        self._look_at_rights(request)
        if request.method == "POST":
            return self._act(request, self._list_url(request))
        unavailable = False
        try:
            frame = _list(request)
        except StoreUnavailable:
            unavailable = True
            frame = overview.nothing(_page(request)).as_frame(_class(request))
        context = {
            **self.page_context(request, str(capfirst(self.opts.verbose_name_plural)), "admin-processes.js"),
            **self._rights(request),
            "list": frame,
            "rows": [{**_in_words(row), "url": self.url("detail", row["key"])} for row in frame["processes"]],
            "unavailable": unavailable,
            "config": {
                **self.line_config(self.url("live")),
                "list": frame,
                "base": self.url("changelist"),
                "unavailable": unavailable,
                "texts": process_texts(),
            },
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.list_template, context)

    def live_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the socket sends, for pages without one."""
        self._look_at_rights(request)
        try:
            return JsonResponse(_list(request))
        except StoreUnavailable as error:
            return JsonResponse(error_frame(error), status=503)

    def detail_view(self, request: HttpRequest, key: str) -> HttpResponseBase:
        self._look_at_rights(request)
        place = _place(key)
        if request.method == "POST":
            return self._act(request, self.url("detail", key), only=key)
        frame: Frame | None = None
        try:
            frame = _detail(place)
        except SessionNotFound:
            self.message_user(request, _("This process has ended."), messages.WARNING)
            return HttpResponseRedirect(self.url("changelist"))
        except StoreUnavailable:
            pass
        context = {
            **self.page_context(request, str(capfirst(str(overview.model_of(place)))), "admin-process.js"),
            **self._rights(request),
            "list_url": self.url("changelist"),
            "shown": frame and _in_words(frame),
            "unavailable": frame is None,
            "config": {
                **self.line_config(self.url("live_detail", key)),
                "key": key,
                "label": overview.model_of(place).name,
                "shown": frame,
                "unavailable": frame is None,
                "texts": process_texts(),
            },
        }
        return TemplateResponse(request, self.detail_template, context)

    def live_detail_view(self, request: HttpRequest, key: str) -> HttpResponseBase:
        self._look_at_rights(request)
        try:
            return JsonResponse(_detail(_place(key)))
        except SessionNotFound:
            return JsonResponse({"type": "process.gone", "key": key})
        except StoreUnavailable as error:
            return JsonResponse(error_frame(error), status=503)

    def _act(self, request: HttpRequest, here: str, only: str | None = None) -> HttpResponseBase:
        """Do what was asked for the chosen processes; before any is terminated, ask."""
        action, chosen = _chosen(request, only)
        if action not in (TOUCH, TERMINATE):
            self.message_user(request, _("No action was selected."), messages.WARNING)
            return HttpResponseRedirect(here)
        if not self.has_right(action, request):
            raise PermissionDenied
        places = [place for key in chosen if (place := overview.place_of(key)) is not None]
        if not places:
            self.message_user(request, _("No process was selected."), messages.WARNING)
        elif action == TERMINATE and "confirmed" not in request.POST:
            return self._ask(request, places, here)
        else:
            self._do(request, action, places)
        return HttpResponseRedirect(here)

    def _do(self, request: HttpRequest, action: str, places: Sequence[Place]) -> None:
        work = staff.touch if action == TOUCH else staff.terminate
        done = late = 0
        try:
            for place in places:
                if work(place, request.user.pk):
                    done += 1
                else:
                    late += 1
        except StoreUnavailable as error:
            self.message_user(request, str(error), messages.ERROR)
        if done and action == TOUCH:
            text = ngettext("%(count)d process was touched.", "%(count)d processes were touched.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)
        elif done:
            text = ngettext("%(count)d process was terminated.", "%(count)d processes were terminated.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)
        if late:
            text = ngettext("%(count)d process had ended already.", "%(count)d processes had ended already.", late)
            self.message_user(request, text % {"count": late}, messages.WARNING)

    def _ask(self, request: HttpRequest, places: Sequence[Place], back: str) -> HttpResponseBase:
        title = ngettext("Terminate %(count)d process?", "Terminate %(count)d processes?", len(places))
        lines = [overview.model_of(place).name for place in places[:LISTED]]
        plan = Plan(title % {"count": len(places)}, process_texts()["warning"], lines, len(places), _("Yes, terminate"))
        return self.ask(request, plan, TERMINATE, [place.key for place in places], self._list_url(request), back)

    def _look_at_rights(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name

    def _rights(self, request: HttpRequest) -> dict[str, bool]:
        may_touch, may_terminate = self.has_touch_permission(request), self.has_terminate_permission(request)
        return {"may_touch": may_touch, "may_terminate": may_terminate, "may_act": may_touch or may_terminate}

    def _list_url(self, request: HttpRequest) -> str:
        page, path = _page(request), _class(request)
        query = {**({"class": path} if path else {}), **({"p": page} if page > 1 else {})}
        return self.url("changelist") + (f"?{urlencode(query)}" if query else "")


def _list(request: HttpRequest) -> Frame:
    return run(stores[ALIAS], overview.look(_page(request))).as_frame(_class(request))


def _detail(place: Place) -> Frame:
    return run(stores[ALIAS], overview.look_at(place)).as_frame()


def _place(key: str) -> Place:
    place = overview.place_of(key)
    if place is None:
        raise Http404
    return place


def _chosen(request: HttpRequest, only: str | None) -> tuple[str, Iterable[str]]:
    """The action and the keys: of a row's own button, or of the checked rows."""
    for action in (TOUCH, TERMINATE):
        if key := request.POST.get(f"only_{action}"):
            return action, [only or key]
    return request.POST.get("action", ""), dict.fromkeys(request.POST.getlist(ACTION_CHECKBOX_NAME))


def _page(request: HttpRequest) -> int:
    return page_number(request.GET.get("p"))


def _class(request: HttpRequest) -> str:
    return request.GET.get("class", "")


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    history = [{**each, "at": localtime(datetime.fromtimestamp(each["at"], UTC))} for each in row.get("history", ())]
    return {**row, "age": clock(row["age"]), "left": clock(row["left"]), "history": history}
