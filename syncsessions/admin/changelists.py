"""The lists: what a page of them shows beside its rows is looked up once for the whole page."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from syncsessions.admin.owners import AGGREGATES, JSONBytes, label, summaries, user_names
from syncsessions.stash.models import StashSlice


class StashChangeList(ChangeList):
    """Rows without their JSON, with their owner's name."""

    result_list: Any

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        return super().get_queryset(request, *args, **kwargs).defer("data")

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        names = user_names(row.user_pk for row in self.result_list)
        for row in self.result_list:
            row.owner_label = label(row, names)


class SliceChangeList(StashChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = self.root_queryset.filter(pk__in=[row.pk for row in self.result_list]).order_by()
        sizes = dict(rows.values_list("pk", JSONBytes("data")))
        for row in self.result_list:
            row.bytes = sizes.get(row.pk)


class OwnerChangeList(StashChangeList):
    """One row for each owner: the oldest slice stands for it, and goes on to while its owner writes."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> QuerySet[Any]:
        older = StashSlice.objects.filter(owner=OuterRef("owner"), pk__lt=OuterRef("pk"))
        return super().get_queryset(request, *args, **kwargs).filter(~Exists(older))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        of_owners = summaries(row.owner for row in self.result_list)
        for row in self.result_list:
            row.summary = of_owners.get(row.owner)


def of_owner(aggregate: str) -> Subquery:
    """One of AGGREGATES over all slices of a row's owner: what a list is sorted or filtered by."""
    slices = StashSlice.objects.filter(owner=OuterRef("owner")).order_by().values("owner")
    return Subquery(slices.annotate(found=AGGREGATES[aggregate]).values("found"))
