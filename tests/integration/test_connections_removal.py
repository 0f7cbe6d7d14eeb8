"""A row that goes, by whatever way, is told to its peer once; one that is rolled back is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.sites import site as admin_site
from django.db import transaction
from django.test import RequestFactory

from syncsessions.connections import soon, tokens
from syncsessions.models import Connection, ConnectionChange, ConnectionNotice, ConnectionToken
from tests.connections import a_connection, issued, notices

pytestmark = pytest.mark.usefixtures("links", "delivered")


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    calls: list[None] = []
    monkeypatch.setattr(soon, "deliver_soon", lambda: calls.append(None))
    return calls


def by_the_admin(row: Connection) -> None:
    request = RequestFactory().post("/")
    admin_site.get_model_admin(Connection).delete_queryset(request, Connection.objects.filter(pk=row.pk))


WAYS: dict[str, Callable[[Connection], Any]] = {
    "the object": lambda row: row.delete(),
    "an object of old": lambda row: Connection(pk=row.pk).delete(),
    "a query": lambda row: Connection.objects.filter(pk=row.pk).delete(),
    "the admin": by_the_admin,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_told_once(links: str, way: str, delivered: list[None]) -> None:
    row = a_connection()
    pk, token = row.pk, row.peer_token
    issued(row)
    with transaction.atomic(using=links):
        WAYS[way](row)
        assert delivered == []
    assert len(delivered) == 1
    notice = ConnectionNotice.objects.get(connection_pk=pk)
    assert (notice.status, notice.seq, notice.site_url, notice.token) == ("", 1, row.site_url, token)
    assert not ConnectionToken.objects.exists() and not ConnectionChange.objects.exists()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_rolled_back_is_not(links: str, way: str, delivered: list[None]) -> None:
    row = a_connection()
    pk = row.pk
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=links):
        WAYS[way](row)
        1 / 0  # noqa: B018
    assert Connection.objects.filter(pk=pk).exists()
    assert not ConnectionNotice.objects.exists()
    assert delivered == []


def test_several_at_once_are_told_each(links: str) -> None:
    pks = {a_connection().pk for _ in range(3)}
    Connection.objects.filter(pk__in=pks).delete()
    assert set(ConnectionNotice.objects.values_list("connection_pk", flat=True)) == pks


def test_what_waits_goes_with_the_present_token(links: str) -> None:
    row = a_connection()
    row.suspend()
    row.peer_token = young = tokens.draw()
    row.save()
    pk = row.pk
    row.delete()
    told = ConnectionNotice.objects.filter(connection_pk=pk).order_by("pk")
    assert [(each.status, each.seq, each.token) for each in told] == [("suspended", 1, young), ("", 2, young)]


@pytest.mark.parametrize("fields", [{"site_url": None, "has_callback": False}, {"peer_token": None}], ids=str)
def test_who_cannot_be_called_is_not_told(links: str, fields: dict[str, Any], delivered: list[None]) -> None:
    a_connection(**fields).delete()
    assert not ConnectionNotice.objects.exists()
    assert delivered == []


def test_one_that_is_gone_already_is_told_no_more(links: str) -> None:
    row = a_connection()
    other = Connection.objects.get(pk=row.pk)
    row.delete()
    other.delete()
    assert [status for status, _, _ in notices(other)] == []
    assert ConnectionNotice.objects.count() == 1
