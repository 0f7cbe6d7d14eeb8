"""Who comes with a token: found, judged, and the tokens before it forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import IntegrityError, transaction
from django.utils import timezone

from syncsessions.connections import tokens
from syncsessions.exceptions import AccessRefused
from syncsessions.models import Connection, ConnectionToken
from tests.connections import a_connection, issued, links  # noqa: F401 - a fixture

pytestmark = pytest.mark.usefixtures("links")


def code_of(token: object, **named: Any) -> str | None:
    try:
        Connection.objects.authenticate(token, **{"direction": "sender", "address": "192.0.2.1", **named})
    except AccessRefused as refused:
        return refused.code
    return None


def test_the_row_whose_token_it_is() -> None:
    row, other = a_connection(), a_connection()
    token = issued(row)
    issued(other)
    found = Connection.objects.authenticate(token, direction="sender", address=None)
    assert found.pk == row.pk


@pytest.mark.parametrize("token", [None, "", 7, "x" * 43, "ü" * 43, "x" * 10_000, ["x"]])
def test_no_token(token: object) -> None:
    a_connection()
    assert code_of(token) == "invalid_token"


def test_a_token_of_the_other_direction_is_none() -> None:
    token = issued(a_connection("receiver"))
    assert code_of(token, direction="sender") == "invalid_token"
    assert code_of(token, direction="receiver") is None
    assert code_of(token, direction=None) is None


def test_stolen_rows_open_nothing() -> None:
    row = a_connection()
    token = issued(row)
    for stolen in (
        tokens.digest(token),
        tokens.digest(token)[:43],
        row.peer_token_at_rest,
        row.peer_token_at_rest[:43],
    ):
        assert code_of(stolen) == "invalid_token"


def test_the_codes_and_their_order() -> None:
    over = timezone.now() - timedelta(seconds=1)
    row = a_connection(
        status="suspended",
        expires_at=over,
        max_downloads=1,
        downloads_used=1,
        max_records_total=1,
        records_downloaded=1,
        ip_allowlist=["198.51.100.0/24"],
        allowed_hours_start=3,
        allowed_hours_end=3,
    )
    token, at = issued(row), datetime(2026, 1, 1, 12, tzinfo=UTC)
    lifted: list[dict[str, Any]] = [
        {"status": "active"},
        {"expires_at": None},
        {"max_downloads": 2},
        {"max_records_total": 2},
        {"ip_allowlist": []},
        {"allowed_hours_end": 12},
    ]
    codes = []
    for fields in lifted:
        codes.append(code_of(token, at=at if "expires_at" not in fields else None))
        Connection.objects.filter(pk=row.pk).update(**fields)
    assert codes == [
        "not_active",
        "expired",
        "download_limit",
        "record_limit",
        "ip_not_allowed",
        "outside_hours",
    ]
    assert code_of(token, at=at) is None


@pytest.mark.parametrize("use_tz", [True, False])
def test_hours_are_utc_and_expiry_is_the_databases_clock(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Asia/Kathmandu"
    now = datetime.now(UTC)
    kept = [now + timedelta(minutes=minutes) for minutes in (-1, 1)]
    past, future = kept if use_tz else [timezone.make_naive(moment) for moment in kept]
    gone, alive = a_connection(expires_at=past), a_connection(expires_at=future)
    assert code_of(issued(gone)) == "expired"
    assert code_of(issued(alive)) is None
    hourly = a_connection(allowed_hours_start=23, allowed_hours_end=1)
    token = issued(hourly)
    assert [code_of(token, at=datetime(2026, 6, 1, hour, 30, tzinfo=UTC)) for hour in (22, 23, 0, 1, 2)] == [
        "outside_hours",
        None,
        None,
        None,
        "outside_hours",
    ]


def test_an_old_token_is_good_until_the_new_one_is_used() -> None:
    row = a_connection()
    old = issued(row)
    assert code_of(old) is None
    new = issued(row)
    assert code_of(old) is None
    assert code_of(new) is None
    assert code_of(old) == "invalid_token"
    assert row.tokens.count() == 1


def test_no_networks_are_no_limit() -> None:
    for networks in (None, []):
        assert code_of(issued(a_connection(ip_allowlist=networks)), address=None) is None


def test_counters_move_in_the_database() -> None:
    row = a_connection(max_downloads=2)
    token, other = issued(row), Connection.objects.get(pk=row.pk)
    row.count_download(10)
    other.count_download(5)
    assert (other.downloads_used, other.records_downloaded) == (2, 15)
    assert code_of(token) == "download_limit"


def test_one_row_per_site_and_direction() -> None:
    site = a_connection().site_url or ""
    a_connection("receiver", site_url=site)
    again = site.replace("https", "HTTPS").replace(".example", ".EXAMPLE") + "/"
    with pytest.raises(IntegrityError), transaction.atomic(using=Connection.objects.db):
        a_connection(site_url=again)
    a_connection(site_url=site + "/Other")
    for _ in range(2):
        a_connection(site_url=None)


def test_nothing_secret_is_shown() -> None:
    row = a_connection()
    token = issued(row)
    shown = repr(row) + str(row) + repr(ConnectionToken.objects.get(connection=row)) + repr(row.tokens.all())
    for secret in (token, tokens.digest(token), row.peer_token or "", row.peer_token_at_rest):
        assert secret not in shown


async def test_the_async_form() -> None:
    row = await sync_to_async(a_connection)()
    token = await sync_to_async(issued)(row)
    found = await Connection.objects.aauthenticate(token, direction="sender", address=None)
    assert found.pk == row.pk
    with pytest.raises(AccessRefused):
        await Connection.objects.aauthenticate("x", direction="sender", address=None)
