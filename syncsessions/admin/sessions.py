"""Stash sessions in the admin: one row for each owner, with all of its slices, to read and to purge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from syncsessions.admin.changelists import OwnerChangeList, of_owner
from syncsessions.admin.filters import OwnerKindFilter, OwnerLastSeenFilter
from syncsessions.admin.owners import (
    Summary,
    label,
    owned_by,
    owner_of,
    summaries,
    user_names,
)
from syncsessions.admin.removal import LISTED, Plan, RemovalAdmin
from syncsessions.admin.values import TAB_SHOWN, pretty, sessions_of, slices_of
from syncsessions.json_values import encode, size
from syncsessions.stash.models import StashOwner, StashSlice
from syncsessions.stash.session import StashSession

SLICES_SHOWN = 100
CHARACTERS_SHOWN = 4000


@admin.register(StashOwner)
class StashOwnerAdmin(RemovalAdmin):
    """Who has a stash: a row for each browser session and each user."""

    removal = "purge"
    actions = ["purge"]
    list_display = ["who", "seen", "views", "slices", "bytes", "created"]
    list_filter = [OwnerKindFilter, OwnerLastSeenFilter]
    search_fields = ["view"]
    search_help_text = gettext_lazy("A view's name, a user's name, or four or more first digits of a session.")
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
        return _part(row.summary, "views")

    @admin.display(description=gettext_lazy("slices"), ordering=of_owner("slices"))
    def slices(self, row: Any) -> Any:
        return _part(row.summary, "slices")

    @admin.display(description=gettext_lazy("size"), ordering=of_owner("bytes"))
    def bytes(self, row: Any) -> str | None:
        return None if row.summary is None else filesizeformat(row.summary.bytes)

    @admin.display(description=gettext_lazy("created"), ordering=of_owner("created"))
    def created(self, row: Any) -> str:
        return display_for_value(_part(row.summary, "created"), "-")

    @admin.display(description=gettext_lazy("last seen"), ordering="seen")
    def seen(self, row: Any) -> str:
        return display_for_value(row.seen, "-")

    @admin.display(description=gettext_lazy("actions"))
    def purging(self, row: Any) -> SafeString | None:
        return self.removal_link(row, _("Purge…")) if row.may_purge else None

    @admin.display(description=gettext_lazy("slices"))
    def contents(self, row: Any) -> str:
        found = StashSlice.objects.filter(owner=row.owner).order_by("view", "tab", "vsn")[:SLICES_SHOWN]
        slices: list[Any] = list(found)
        for each in slices:
            each.pretty = pretty(each.data, CHARACTERS_SHOWN)
            each.bytes = size(encode(each.data))
            each.short_tab = each.tab[:TAB_SHOWN]
            if row.may_open:
                each.url = reverse(f"{self.admin_site.name}:{self.opts.app_label}_stashslice_change", args=[each.pk])
        context = {"slices": slices, "more": row.summary.slices - SLICES_SHOWN if row.summary else 0}
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
            title=_("Purge %(sessions)s?") % {"sessions": sessions_of(total)},
            warning=_(
                "A purge removes all that is stashed here: %(slices)s of %(sessions)s. Open pages are told at once and "
                "start afresh. This cannot be undone."
            )
            % {"slices": slices_of(slices), "sessions": sessions_of(total)},
            lines=[
                f"{label(row, names)}: {slices_of(found.slices)}"
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
        return gone, _("Purged: %(slices)s.") % {"slices": slices_of(gone)}

    def told(self, things: int, slices: int) -> str:
        if not things:
            return _("Nothing was purged: what was selected had gone by itself.")
        return _("Purged %(sessions)s (%(slices)s).") % {"sessions": sessions_of(things), "slices": slices_of(slices)}


def _part(summary: Summary | None, name: str) -> Any:
    """A part of the summary; None where the session went while its row was on the way."""
    return None if summary is None else getattr(summary, name)
