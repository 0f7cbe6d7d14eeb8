"""A connection's own page in the admin: its access rules, its password, and how it stands."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from syncsessions.admin.connections import ConnectionAdmin
from syncsessions.models import Connection
from tests.connection_staff import boss, said, text_of, url
from tests.connections import a_connection, history

pytestmark = pytest.mark.django_db(transaction=True)


def form_of(row: Connection, **changed: Any) -> dict[str, Any]:
    """What the row's page would post."""
    return {
        "name": row.name,
        "approval_mode": row.approval_mode,
        "default_conflict_strategy": row.default_conflict_strategy,
        "max_records_per_request": row.max_records_per_request,
        "rate_limit": row.rate_limit,
        **changed,
    }


def test_access_rules_are_edited_and_nothing_else() -> None:
    _user, client = boss()
    row = a_connection()
    fields = form_of(
        row,
        name="Renamed",
        approval_mode="per_table",
        allowed_tables="shop.Order\r\n\r\n shop.Customer\nshop.Order",
        excluded_tables="shop.Secret",
        ip_allowlist="192.0.2.0/24\n2001:db8::/32",
        allowed_hours_start="22",
        allowed_hours_end="6",
        expires_at_0="2030-01-31",
        expires_at_1="12:00",
        max_downloads="10",
        rate_limit="5/s",
        default_conflict_strategy="merge",
    )
    forged = {"status": "revoked", "site_url": "https://evil.example", "direction": "receiver", "downloads_used": "0"}
    answer = client.post(url("change", row.pk), {**fields, **forged, "peer_token_at_rest": "x"}, follow=True)
    assert "changed successfully" in said(answer)[0]
    kept = Connection.objects.get(pk=row.pk)
    assert (kept.name, kept.approval_mode, kept.rate_limit) == ("Renamed", "per_table", "5/s")
    assert (kept.allowed_tables, kept.excluded_tables) == (["shop.Order", "shop.Customer"], ["shop.Secret"])
    assert kept.ip_allowlist == ["192.0.2.0/24", "2001:db8::/32"]
    assert (kept.allowed_hours_start, kept.allowed_hours_end, kept.max_downloads) == (22, 6, 10)
    assert kept.expires_at is not None and kept.expires_at.year == 2030
    assert (kept.status, kept.site_url, kept.direction) == (row.status, row.site_url, row.direction)
    assert kept.peer_token == row.peer_token
    assert history(kept) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("allowed_tables", "not a model"),
        ("ip_allowlist", "300.1.1.1"),
        ("rate_limit", "often"),
        ("allowed_hours_start", "9"),
        ("allowed_hours_end", "24"),
        ("max_downloads", "-1"),
        ("name", ""),
    ],
)
def test_what_is_no_rule_is_refused(field: str, value: str) -> None:
    _user, client = boss()
    row = a_connection()
    answer = client.post(url("change", row.pk), form_of(row, **{field: value}))
    assert answer.context["adminform"].form.errors
    kept = Connection.objects.get(pk=row.pk)
    assert (kept.updated_at, kept.name) == (row.updated_at, row.name)


def test_a_row_with_an_impossible_site_can_be_edited() -> None:
    _user, client = boss()
    row = a_connection()
    Connection.objects.filter(pk=row.pk).update(site_url="ftp://nowhere")
    client.post(url("change", row.pk), form_of(row, name="Renamed"))
    assert Connection.objects.get(pk=row.pk).name == "Renamed"


def test_a_save_undoes_no_step_that_came_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    _user, client = boss()
    row = a_connection(max_downloads=5)
    save = ConnectionAdmin.save_model

    def late(self: Any, request: Any, obj: Any, form: Any, change: bool) -> None:
        found = Connection.objects.get(pk=row.pk)
        found.revoke(reason="meanwhile")
        found.count_download(7)
        save(self, request, obj, form, change)

    monkeypatch.setattr(ConnectionAdmin, "save_model", late)
    client.post(url("change", row.pk), form_of(row, name="Renamed", max_downloads="5"))
    kept = Connection.objects.get(pk=row.pk)
    assert (kept.name, kept.status, kept.downloads_used, kept.told_seq) == ("Renamed", "revoked", 1, 1)


def test_a_download_password_is_set_and_cleared_and_never_shown() -> None:
    _user, client = boss()
    row = a_connection()
    page = url("change", row.pk)
    assert "None is set." in text_of(client.get(page))
    client.post(page, form_of(row, new_password=" open sesame "))
    row.refresh_from_db()
    assert row.check_download_password(" open sesame ") and not row.check_download_password("open sesame")
    shown = text_of(client.get(page)) + text_of(client.get(url("history", row.pk)))
    assert "One is set." in shown
    assert "open sesame" not in shown and row.download_password not in shown
    assert all("sesame" not in entry.change_message for entry in LogEntry.objects.all())
    client.post(page, form_of(row))
    kept = Connection.objects.get(pk=row.pk)
    assert kept.download_password == row.download_password
    both = client.post(page, form_of(row, new_password="x", no_password="on"))
    assert "not both" in text_of(both) and 'value="x"' not in text_of(both)
    client.post(page, form_of(row, no_password="on"))
    row.refresh_from_db()
    assert row.download_password == ""


def test_a_page_tells_how_it_stands() -> None:
    user, client = boss()
    row = a_connection(
        status="pending", max_downloads=10, downloads_used=3, records_downloaded=1234, delivery_error="Refused there"
    )
    row.approve(by=user, reason="Checked by phone")
    row.suspend(reason="Maintenance")
    page = text_of(client.get(url("change", row.pk)))
    assert "3 of 10 downloads" in page and '<progress class="syncsessions-used" value="3" max="10"' in page
    assert "1,234 records, no limit" in page
    assert "2 changes wait to be delivered" in page and "Refused there" in page
    assert f"by {user.get_username()}" in page and "Checked by phone" in page and "Maintenance" in page
    assert "This site sends, the other one receives." in page
