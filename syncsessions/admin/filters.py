"""The filters that the lists of sessions and slices share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class OwnerKindFilter(admin.SimpleListFilter):
    title = _("owner")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [("session", _("Browser session")), ("user", _("User"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "session":
                return queryset.filter(user_pk="")
            case "user":
                return queryset.exclude(user_pk="")
        return queryset


class LastSeenFilter(admin.SimpleListFilter):
    title = _("last seen")
    parameter_name = "seen"
    field = "last_seen_at"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[tuple[str, Any]]:
        return [
            ("today", _("Today")),
            ("week", _("Past 7 days")),
            ("month", _("Past 30 days")),
            ("older", _("Longer ago")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = timezone.now()
        local = timezone.localtime(now) if settings.USE_TZ else now
        match self.value():
            case "today":
                return queryset.filter(
                    **{f"{self.field}__gte": local.replace(hour=0, minute=0, second=0, microsecond=0)}
                )
            case "week":
                return queryset.filter(**{f"{self.field}__gte": now - timedelta(days=7)})
            case "month":
                return queryset.filter(**{f"{self.field}__gte": now - timedelta(days=30)})
            case "older":
                return queryset.filter(**{f"{self.field}__lt": now - timedelta(days=30)})
        return queryset


class OwnerLastSeenFilter(LastSeenFilter):
    """The same for whole sessions, by what their slices have at the latest."""

    field = "seen"
