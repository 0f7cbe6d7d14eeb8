"""The stash in the admin: sessions (one row an owner) and their slices, to read, purge and reset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_value, flatten
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from syncsessions.admin.changelists import OwnerChangeList, SliceChangeList, of_owner
from syncsessions.admin.filters import LastSeenFilter, OwnerKindFilter, OwnerLastSeenFilter
from syncsessions.admin.owners import (
    JSONBytes,
    Summary,
    label,
    owned_by,
    owner_of,
    summaries,
    user_names,
)
from syncsessions.admin.removal import LISTED, Plan, RemovalAdmin
from syncsessions.admin.values import pretty
from syncsessions.json_values import encode, size
from syncsessions.stash.models import StashOwner, StashSlice
from syncsessions.stash.session import StashSession

SLICES_SHOWN = 100
CHARACTERS_SHOWN = 4000
TAB_SHOWN = 8


@admin.register(StashOwner)
class StashOwnerAdmin(RemovalAdmin):
    """Who has a stash: a row for each browser session and each user."""

    removal = "purge"
    actions = ["purge"]
    list_display = ["who", "seen", "views", "slices", "bytes", "created"]
    list_filter = [OwnerKindFilter, OwnerLastSeenFilter]
    search_fields = ["view"]
    search_help_text = gettext_lazy("A view's name, a user's name, or the first digits of a session.")
    fieldsets = [
        (None, {"fields": [("who", "kind"), ("views", "slices", "bytes"), ("created", "seen"), "purging"]}),
        (gettext_lazy("Slices"), {"fields": ["contents"], "classes": ["syncsessions-wide"]}),
    ]
    readonly_fields = ["who", "kind", "views", "slices", "bytes", "created", "seen", "purging", "contents"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Not `super()`'s, which sorts before there is anything to sort by.
        return StashOwner.objects.annotate(seen=of_owner("seen")).order_by(*self.get_ordering(request))

    def get_ordering(self, request: HttpRequest) -> list[Any]:
        return ["-seen"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[OwnerChangeList]:
        return OwnerChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if term := search_term.strip():
            with_view = StashSlice.objects.filter(owner=OuterRef("owner"), view__icontains=term)
            queryset = queryset.filter(Exists(with_view) | owned_by(term))
        return queryset, False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row: Any = super().get_object(request, object_id, from_field)
        if row is not None:
            row.owner_label = label(row, user_names([row.user_pk]))
            row.summary = summaries([row.owner]).get(row.owner)
            row.may_purge = self.has_remove_permission(request)
            slices = self.admin_site.get_model_admin(StashSlice) if self.admin_site.is_registered(StashSlice) else None
            row.may_open = slices is not None and slices.has_view_permission(request)
        return row

    @admin.display(description=gettext_lazy("session"))
    def who(self, row: Any) -> str:
        return str(row.owner_label)

    @admin.display(description=gettext_lazy("owner"))
    def kind(self, row: Any) -> str:
        return _("User") if row.user_pk else _("Browser session")

    @admin.display(description=gettext_lazy("views"), ordering=of_owner("views"))
    def views(self, row: Any) -> Any:
        return _of(row.summary, "views")

    @admin.display(description=gettext_lazy("slices"), ordering=of_owner("slices"))
    def slices(self, row: Any) -> Any:
        return _of(row.summary, "slices")

    @admin.display(description=gettext_lazy("size"), ordering=of_owner("bytes"))
    def bytes(self, row: Any) -> str | None:
        return None if row.summary is None else filesizeformat(row.summary.bytes)

    @admin.display(description=gettext_lazy("created"), ordering=of_owner("created"))
    def created(self, row: Any) -> str:
        return display_for_value(_of(row.summary, "created"), "-")

    @admin.display(description=gettext_lazy("last seen"), ordering="seen")
    def seen(self, row: Any) -> str:
        return display_for_value(row.seen, "-")

    @admin.display(description=gettext_lazy("actions"))
    def purging(self, row: Any) -> SafeString | None:
        return self.removal_link(row, _("Purge…")) if row.may_purge else None

    @admin.display(description=gettext_lazy("slices"))
    def contents(self, row: Any) -> str:
        found = StashSlice.objects.filter(owner=row.owner).order_by("view", "tab", "vsn")[: SLICES_SHOWN + 1]
        slices: list[Any] = list(found)
        for each in slices:
            each.pretty = pretty(each.data, CHARACTERS_SHOWN)
            each.bytes = size(encode(each.data))
            each.short_tab = each.tab[:TAB_SHOWN]
            if row.may_open:
                each.url = reverse(f"{self.admin_site.name}:{self.opts.app_label}_stashslice_change", args=[each.pk])
        context = {"slices": slices[:SLICES_SHOWN], "more": row.summary.slices - SLICES_SHOWN if row.summary else 0}
        return render_to_string("admin/syncsessions/slices.html", context)

    @admin.action(description=gettext_lazy("Purge selected stash sessions"), permissions=["remove"])
    def purge(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        return self.ask_or_remove(request, queryset)

    def plan(self, rows: QuerySet[Any]) -> Plan:
        total = rows.count()
        first = list(rows[:LISTED])
        names = user_names(row.user_pk for row in first)
        of_owners = summaries(row.owner for row in first)
        slices = StashSlice.objects.filter(owner__in=rows.order_by().values("owner")).count()
        return Plan(
            title=_("Purge %(sessions)s?") % {"sessions": _sessions(total)},
            warning=_(
                "A purge removes all that is stashed here: %(slices)s of %(sessions)s. Open pages are told at once and "
                "start afresh. This cannot be undone."
            )
            % {"slices": _slices(slices), "sessions": _sessions(total)},
            lines=[
                f"{label(row, names)}: {_slices(found.slices)}"
                for row in first
                if (found := of_owners.get(row.owner)) is not None
            ],
            total=total,
            button=_("Yes, purge"),
        )

    def targets(self, rows: QuerySet[Any]) -> Iterable[StashOwner]:
        return list(rows)

    def remove_one(self, row: StashSlice) -> tuple[int, str]:
        gone = len(StashSession.for_owner(owner_of(row)).remove())
        return gone, _("Purged: %(slices)s.") % {"slices": _slices(gone)}

    def told(self, things: int, slices: int) -> str:
        if not things:
            return _("Nothing was purged: what was selected had gone by itself.")
        return _("Purged %(sessions)s (%(slices)s).") % {"sessions": _sessions(things), "slices": _slices(slices)}


@admin.register(StashSlice)
class StashSliceAdmin(RemovalAdmin):
    """Each view's state, by owner, tab and version."""

    removal = "reset"
    actions = ["reset"]
    list_display = ["view", "owned", "last_seen_at", "vsn", "short_tab", "revision", "bytes"]
    list_filter = [OwnerKindFilter, LastSeenFilter, "vsn"]
    search_fields = ["view"]
    search_help_text = gettext_lazy("A view's name, a user's name, or the first digits of a session.")
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
                    "slices": _slices(counts.get((row.owner, row.view_hash), 0)),
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
        names = {"view": row.view, "owner": label(row, {}), "slices": _slices(gone)}
        return gone, _("Reset %(view)s of %(owner)s: %(slices)s.") % names

    def told(self, things: int, slices: int) -> str:
        if not things:
            return _("Nothing was reset: what was selected had gone by itself.")
        views = ngettext("%(count)d view", "%(count)d views", things) % {"count": things}
        return _("Reset %(views)s (%(slices)s).") % {"views": views, "slices": _slices(slices)}


def _slices(count: int) -> str:
    return ngettext("%(count)d slice", "%(count)d slices", count) % {"count": count}


def _sessions(count: int) -> str:
    return ngettext("%(count)d stash session", "%(count)d stash sessions", count) % {"count": count}


def _of(summary: Summary | None, name: str) -> Any:
    """A part of the summary; None where the session went while its row was on the way."""
    return None if summary is None else getattr(summary, name)
