"""Stash slices in the admin: each view's state by owner, tab and version, to read and to reset."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from syncsessions.admin.changelists import SliceChangeList
from syncsessions.admin.filters import LastSeenFilter, OwnerKindFilter
from syncsessions.admin.owners import (
    JSONBytes,
    label,
    owned_by,
    owner_of,
    user_names,
)
from syncsessions.admin.removal import LISTED, Plan, RemovalAdmin
from syncsessions.admin.values import TAB_SHOWN, pretty, slices_of
from syncsessions.json_values import encode, size
from syncsessions.stash.models import StashOwner, StashSlice
from syncsessions.stash.session import StashSession


@admin.register(StashSlice)
class StashSliceAdmin(RemovalAdmin):
    """Each view's state, by owner, tab and version."""

    removal = "reset"
    actions = ["reset"]
    list_display = ["view", "owned", "last_seen_at", "vsn", "short_tab", "revision", "bytes"]
    list_filter = [OwnerKindFilter, LastSeenFilter, "vsn"]
    search_fields = ["view"]
    search_help_text = gettext_lazy("A view's name, a user's name, or four or more first digits of a session.")
    ordering = ["-last_seen_at"]
    fields = [
        ("view", "owned"),
        ("vsn", "tab", "revision", "bytes"),
        ("created_at", "written_at", "last_seen_at"),
        "resetting",
        "contents",
    ]
    readonly_fields = flatten(fields)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SliceChangeList]:
        return SliceChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if term := search_term.strip():
            queryset = queryset.filter(Q(view__icontains=term) | owned_by(term))
        return queryset, False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.owner_label = label(row, user_names([row.user_pk]))
            row.bytes = size(encode(row.data))
            row.may_reset = self.has_remove_permission(request)
            owners = self.admin_site.get_model_admin(StashOwner) if self.admin_site.is_registered(StashOwner) else None
            row.may_open = owners is not None and owners.has_view_permission(request)
        return row

    @admin.display(description=gettext_lazy("tab"), ordering="tab")
    def short_tab(self, row: StashSlice) -> str:
        return row.tab[:TAB_SHOWN]

    @admin.display(description=gettext_lazy("session"), ordering="owner")
    def owned(self, row: Any) -> str:
        if not getattr(row, "may_open", False):
            return str(row.owner_label)
        url = reverse(f"{self.admin_site.name}:{self.opts.app_label}_stashowner_change", args=[row.pk])
        return format_html('<a href="{}">{}</a>', url, row.owner_label)

    @admin.display(description=gettext_lazy("size"), ordering=JSONBytes("data"))
    def bytes(self, row: Any) -> str | None:
        return None if row.bytes is None else filesizeformat(row.bytes)

    @admin.display(description=gettext_lazy("actions"))
    def resetting(self, row: Any) -> SafeString | None:
        return self.removal_link(row, _("Reset this view…")) if row.may_reset else None

    @admin.display(description=gettext_lazy("values"))
    def contents(self, row: StashSlice) -> SafeString:
        return pretty(row.data)

    @admin.action(description=gettext_lazy("Reset the views of selected stash slices"), permissions=["remove"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        return self.ask_or_remove(request, queryset)

    def plan(self, rows: QuerySet[Any]) -> Plan:
        chosen = rows.order_by().values("owner", "view_hash").distinct()
        total = chosen.count()
        first = self.targets(rows)[:LISTED]
        names = user_names(row.user_pk for row in first)
        counts = {
            (owner, view_hash): count
            for owner, view_hash, count in StashSlice.objects.filter(
                owner__in={row.owner for row in first}, view_hash__in={row.view_hash for row in first}
            )
            .order_by()
            .values_list("owner", "view_hash")
            .annotate(count=Count("pk"))
        }
        return Plan(
            title=ngettext("Reset %(count)d view?", "Reset %(count)d views?", total) % {"count": total},
            warning=_(
                "A reset removes all that its session has stashed for a view: every tab's slice and every version's, "
                "not only those selected. Open pages are told at once and start afresh. This cannot be undone."
            ),
            lines=[
                _("%(view)s, of %(owner)s: %(slices)s")
                % {
                    "view": row.view,
                    "owner": label(row, names),
                    "slices": slices_of(counts.get((row.owner, row.view_hash), 0)),
                }
                for row in first
            ],
            total=total,
            button=_("Yes, reset"),
        )

    def targets(self, rows: QuerySet[Any]) -> list[StashSlice]:
        by_view: dict[tuple[str, str], StashSlice] = {}
        for row in rows.order_by("pk"):
            by_view.setdefault((row.owner, row.view_hash), row)
        return list(by_view.values())

    def remove_one(self, row: StashSlice) -> tuple[int, str]:
        gone = len(StashSession.for_owner(owner_of(row)).remove(view=row.view))
        names = {"view": row.view, "owner": label(row, {}), "slices": slices_of(gone)}
        return gone, _("Reset %(view)s of %(owner)s: %(slices)s.") % names

    def told(self, things: int, slices: int) -> str:
        if not things:
            return _("Nothing was reset: what was selected had gone by itself.")
        views = ngettext("%(count)d view", "%(count)d views", things) % {"count": things}
        return _("Reset %(views)s (%(slices)s).") % {"views": views, "slices": slices_of(slices)}
