"""Model admins whose rows are only read, and removed through `StashSession` alone, so that open pages hear of it.

A removal asks first. The asking page posts back to the list, as Django's own does, and the list's action does it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import Max, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from syncsessions.exceptions import SyncSessionsError
from syncsessions.stash.models import StashSlice

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin

LISTED = 50


class Plan(NamedTuple):
    """What a removal is about to do, in words; `lines` are the first of `total` things that go."""

    title: str
    warning: str
    lines: list[str]
    total: int
    button: str


class RemovalAdmin(Base):
    """Subclasses name their action in `removal` and say what it removes."""

    removal: str
    show_full_result_count = False
    list_per_page = 50
    confirmation_template = "admin/syncsessions/confirm_removal.html"

    class Media:
        css = {"all": ["syncsessions/admin.css"]}

    def plan(self, rows: QuerySet[Any]) -> Plan:
        raise NotImplementedError

    def targets(self, rows: QuerySet[Any]) -> Iterable[StashSlice]:
        """A row for each thing that `remove_one` removes."""
        raise NotImplementedError

    def remove_one(self, row: StashSlice) -> tuple[int, str]:
        """How many slices went, and what the log is to say."""
        raise NotImplementedError

    def told(self, things: int, slices: int) -> str:
        """What was removed, for people."""
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never in Django's own way, which would ring nobody."""
        return False

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return super().has_delete_permission(request)

    def get_urls(self) -> list[URLPattern]:
        asking = path(
            f"<path:object_id>/{self.removal}/",
            self.admin_site.admin_view(self.ask_for_one),
            name=f"{self.opts.app_label}_{self.opts.model_name}_{self.removal}",
        )
        return [asking, *super().get_urls()]

    def url(self, page: str, *args: object) -> str:
        """The address of one of this admin's own pages."""
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)

    def removal_link(self, row: StashSlice, text: str) -> SafeString:
        url = self.url(self.removal, row.pk)
        return format_html('<a role="button" class="button syncsessions-remove" href="{}">{}</a>', url, text)

    def ask_for_one(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The asking page for one row, where the row's own page links to."""
        if not (self.has_view_permission(request) and self.has_remove_permission(request)):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        rows = self.get_queryset(request).filter(pk=row.pk)
        return self._ask(request, rows, [str(row.pk)], self.url("changelist"), self.url("change", row.pk))

    def ask_or_remove(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponseBase | None:
        """The body of the action: asks, and removes once the asking page has posted back."""
        if "confirmed" not in request.POST:
            here = request.get_full_path()
            return self._ask(request, rows, request.POST.getlist(ACTION_CHECKBOX_NAME), here, here)
        newest = request.POST.get("newest", "")
        if newest.isdecimal():  # what came after the question was not agreed to
            rows = rows.filter(pk__lte=int(newest))
        things = slices = 0
        try:
            for row in self.targets(rows):
                gone, text = self.remove_one(row)
                if gone:
                    LogEntry.objects.log_actions(request.user.pk, [row], DELETION, text)  # type: ignore[arg-type]
                    things, slices = things + 1, slices + gone
        except SyncSessionsError:
            text = _("The database did not answer, and not everything was removed. Try again.")
            self.message_user(request, text, messages.ERROR)
        level = messages.SUCCESS if things else messages.WARNING
        self.message_user(request, self.told(things, slices), level)
        return None

    def _ask(
        self, request: HttpRequest, rows: QuerySet[Any], selected: list[str], action_url: str, back_url: str
    ) -> HttpResponseBase:
        plan = self.plan(rows)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": plan.title,
            "plan": plan,
            "more": plan.total - len(plan.lines),
            "action": self.removal,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "selected": selected,
            "select_across": request.POST.get("select_across", "0"),
            "newest": rows.order_by().aggregate(newest=Max("pk"))["newest"] or 0,
            "action_url": action_url,
            "back_url": back_url,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.confirmation_template, context)
