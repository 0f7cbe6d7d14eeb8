"""Steps from status to status, on each database: what they write, what they tell, and what a refused one leaves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from syncsessions.connections import soon, steps
from syncsessions.exceptions import InvalidTransition, InvalidValue, NotFound
from syncsessions.models import Connection
from tests.connections import a_connection, history, links, notices, told  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("links")

METHODS = {
    "approve": ("pending", "active"),
    "suspend": ("active", "suspended"),
    "reactivate": ("suspended", "active"),
    "revoke": ("active", "revoked"),
}
LEGAL = {
    ("pending", "approve"),
    ("pending", "suspend"),
    ("pending", "revoke"),
    ("active", "suspend"),
    ("active", "revoke"),
    ("suspended", "reactivate"),
    ("suspended", "revoke"),
}


@pytest.fixture(autouse=True)
def nobody_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)


def somebody() -> User:
    return User.objects.get_or_create(username="connections-admin", defaults={"is_staff": True})[0]


def step(row: Connection, method: str, by: Any = None, **more: Any) -> None:
    getattr(row, method)(by, **more)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", ["pending", "active", "suspended", "revoked", "expired"])
def test_every_step_from_every_status(status: str, method: str, told: list[Any]) -> None:  # noqa: F811
    row = a_connection(status=status)
    if (status, method) in LEGAL:
        step(row, method)
        assert row.status == Connection.objects.get(pk=row.pk).status == METHODS[method][1]
        return
    before = Connection.objects.values().get(pk=row.pk)
    with pytest.raises(InvalidTransition) as refused:
        step(row, method)
    assert refused.value.code == "invalid_transition"
    assert Connection.objects.values().get(pk=row.pk) == before
    assert (told, notices(row), history(row)) == ([], [], [])


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_audited_logged_told_and_kept(method: str, told: list[Any]) -> None:  # noqa: F811
    previous, status = METHODS[method]
    row, user = a_connection(status=previous), somebody()
    LogEntry.objects.filter(object_id=str(row.pk)).delete()
    step(row, method, user, reason="a reason")
    kept = Connection.objects.get(pk=row.pk)
    audited = {"active": "approved"}.get(status, status)
    assert getattr(kept, f"{audited}_by_id") == user.pk
    assert abs(getattr(kept, f"{audited}_at") - timezone.now()) < timedelta(minutes=1)
    assert getattr(kept, f"{audited}_reason") == "a reason"
    assert not kept.set_by_peer
    assert notices(row) == [(status, "a reason", 1)]
    assert history(row) == [(previous, status, False)]
    (said,) = told
    named = {name: said[name] for name in ("previous", "status", "by", "by_peer", "reason", "severed")}
    assert named == {
        "previous": previous,
        "status": status,
        "by": user,
        "by_peer": False,
        "reason": "a reason",
        "severed": False,
    }
    assert said["connection"].pk == row.pk
    (entry,) = LogEntry.objects.filter(object_id=str(row.pk))
    assert entry.user_id == user.pk
    assert "a reason" in entry.change_message


def test_lifting_a_suspension_clears_what_was_said_of_it() -> None:
    row = a_connection()
    row.suspend(somebody(), "late")
    row.reactivate(somebody())
    assert (row.suspended_at, row.suspended_by_id, row.suspended_reason) == (None, None, "")
    assert [each[2] for each in notices(row)] == [1, 2]


def test_it_is_judged_by_the_database_not_by_the_object() -> None:
    row = a_connection()
    old = Connection.objects.get(pk=row.pk)
    row.revoke()
    with pytest.raises(InvalidTransition):
        old.suspend()
    assert Connection.objects.get(pk=row.pk).status == "revoked"
    fresh = a_connection(status="suspended")
    mistaken = Connection.objects.get(pk=fresh.pk)
    mistaken.status = "revoked"
    mistaken.reactivate()
    assert mistaken.status == "active"


def test_who_did_not_suspend_cannot_reactivate_and_hears_why() -> None:
    row = a_connection(status="suspended", set_by_peer=True, approved_at=timezone.now())
    with pytest.raises(InvalidTransition, match="side that suspended"):
        row.reactivate()


def test_who_asked_cannot_approve() -> None:
    row = a_connection(status="pending", asked_here=True)
    with pytest.raises(InvalidTransition, match="other site"):
        row.approve()


def test_a_deleted_row_is_not_found() -> None:
    row = a_connection()
    Connection.objects.get(pk=row.pk).delete()
    with pytest.raises(NotFound):
        row.suspend()


def test_a_step_rolled_back_is_never_told(links: str, told: list[Any]) -> None:  # noqa: F811
    row = a_connection()
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=links):
        row.suspend()
        assert told == []
        raise ZeroDivisionError
    assert (told, notices(row), history(row)) == ([], [], [])
    assert Connection.objects.get(pk=row.pk).status == "active"


def test_a_step_in_a_transaction_is_told_after_the_commit(links: str, told: list[Any]) -> None:  # noqa: F811
    row = a_connection()
    with transaction.atomic(using=links):
        row.suspend()
        assert told == []
    assert [each["status"] for each in told] == ["suspended"]


def test_past_its_time_a_row_expires_with_the_next_step(told: list[Any]) -> None:  # noqa: F811
    row = a_connection(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(InvalidTransition, match="expired"):
        row.suspend()
    assert row.status == Connection.objects.get(pk=row.pk).status == "expired"
    assert [each["status"] for each in told] == ["expired"]
    assert [each[0] for each in notices(row)] == ["expired"]


def test_pruning_expires_what_is_over_and_nothing_else() -> None:
    over = timezone.now() - timedelta(seconds=1)
    gone = a_connection(expires_at=over)
    kept = [
        a_connection(expires_at=timezone.now() + timedelta(hours=1)),
        a_connection(),
        a_connection(status="suspended", expires_at=over),
        a_connection(status="pending", expires_at=over),
    ]
    assert steps.expire(dry_run=True) == 1
    assert steps.expire() == 1
    assert steps.expire() == 0
    assert Connection.objects.get(pk=gone.pk).status == "expired"
    statuses = [Connection.objects.get(pk=row.pk).status for row in kept]
    assert statuses == ["active", "active", "suspended", "pending"]


def test_a_link_without_a_way_back_leaves_no_notice() -> None:
    row = a_connection(site_url=None, has_callback=False)
    row.suspend()
    assert notices(row) == []


def test_a_severed_row_is_suspended_and_its_peer_not_told(told: list[Any]) -> None:  # noqa: F811
    for status in ("active", "pending"):
        told.clear()
        row = a_connection(status=status)
        assert steps.sever(row, row.peer_token or "")
        kept = Connection.objects.get(pk=row.pk)
        assert (kept.status, kept.suspended_by_id, kept.set_by_peer) == ("suspended", None, False)
        assert kept.suspended_reason == "Remote site reports connection not found"
        assert notices(row) == []
        assert sorted(each["severed"] for each in told) == [False, True]


@pytest.mark.parametrize("status", ["suspended", "revoked", "expired"])
def test_what_is_no_longer_active_is_not_severed(status: str, told: list[Any]) -> None:  # noqa: F811
    row = a_connection(status=status)
    assert not steps.sever(row, row.peer_token or "")
    assert Connection.objects.get(pk=row.pk).status == status
    assert told == []


def test_an_answer_to_an_old_token_severs_nothing() -> None:
    row = a_connection()
    assert not steps.sever(row, "x" * 43)
    gone = a_connection()
    token = gone.peer_token or ""
    Connection.objects.filter(pk=gone.pk).delete()
    assert not steps.sever(gone, token)


async def test_the_async_forms_do_the_same() -> None:
    row = await sync_to_async(a_connection)(status="pending")
    for method in ("aapprove", "asuspend", "areactivate", "arevoke"):
        await getattr(row, method)()
    assert row.status == "revoked"
    with pytest.raises(InvalidTransition):
        await row.asuspend()


@pytest.mark.parametrize("reason", ["a\x00b", "\ud800"])
def test_a_reason_that_cannot_be_stored_is_refused(reason: str) -> None:
    row = a_connection()
    with pytest.raises(InvalidValue):
        row.suspend(reason=reason)
    assert Connection.objects.get(pk=row.pk).status == "active"


def test_a_reason_is_cut() -> None:
    row = a_connection()
    row.suspend(reason="x" * 600)
    assert row.suspended_reason == "x" * 500


def test_what_is_over_is_not_severed_but_expires() -> None:
    row = a_connection(expires_at=timezone.now() - timedelta(seconds=1))
    assert not steps.sever(row, row.peer_token or "")
    assert Connection.objects.get(pk=row.pk).status == "expired"


def test_a_step_is_written_where_writes_go(links: str) -> None:  # noqa: F811
    """However a row was read: a replica must not be written to."""
    row = a_connection()
    row._state.db = "replica"
    row.suspend()
    row.count_download(3)
    assert Connection.objects.using(links).get(pk=row.pk).status == "suspended"
    assert notices(row) == [("suspended", "", 1)]
