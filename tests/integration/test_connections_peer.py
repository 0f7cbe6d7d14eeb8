"""The peer's word: it restricts, lifts what is its own, and comes but once."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from django.utils import timezone

from syncsessions.connections import peer, soon
from syncsessions.exceptions import InvalidTransition, NotFound
from syncsessions.models import Connection
from tests.connections import a_connection, history, links, notices, told  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("links")


@pytest.fixture(autouse=True)
def nobody_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)


def linked(**fields: Any) -> Connection:
    return a_connection(**{"approved_at": timezone.now(), **fields})


def status_of(row: Connection) -> str:
    return Connection.objects.get(pk=row.pk).status


def test_it_restricts_and_lifts_its_own(told: list[Any]) -> None:  # noqa: F811
    row = linked()
    peer.said(row, "suspended", reason="theirs", seq=1)
    kept = Connection.objects.get(pk=row.pk)
    assert (kept.status, kept.set_by_peer, kept.suspended_reason) == ("suspended", True, "theirs")
    peer.said(row, "active", seq=2)
    assert status_of(row) == "active"
    peer.said(row, "revoked", seq=3)
    assert status_of(row) == "revoked"
    assert notices(row) == []  # no echo
    assert [each["by_peer"] for each in told] == [True] * 3
    assert history(row) == [("active", "suspended", True), ("suspended", "active", True), ("active", "revoked", True)]


def test_it_does_not_lift_what_this_side_suspended() -> None:
    row = linked()
    row.suspend()
    with pytest.raises(InvalidTransition):
        peer.said(row, "active", seq=1)
    assert status_of(row) == "suspended"


def test_a_pending_link_is_approved_by_who_was_asked() -> None:
    asked_here = a_connection(status="pending", asked_here=True)
    peer.said(asked_here, "active", seq=1)
    kept = Connection.objects.get(pk=asked_here.pk)
    assert kept.status == "active" and kept.approved_at is not None and kept.approved_by_id is None
    asked_there = a_connection(status="pending")
    with pytest.raises(InvalidTransition):
        peer.said(asked_there, "active", seq=1)
    assert status_of(asked_there) == "pending"


def test_it_does_not_get_past_the_approval_by_suspending_first() -> None:
    row = a_connection(status="pending")
    peer.said(row, "suspended", seq=1)
    with pytest.raises(InvalidTransition):
        peer.said(row, "active", seq=2)
    assert status_of(row) == "suspended"


@pytest.mark.parametrize("status", ["pending", "active", "expired", "suspended", "revoked"])
def test_what_has_ended_stays_so(status: str) -> None:
    for ended in ("revoked", "expired"):
        row = linked(status=ended)
        with pytest.raises(InvalidTransition):
            peer.said(row, status)
        assert status_of(row) == ended


def test_a_seq_that_was_seen_does_nothing() -> None:
    row = linked()
    peer.said(row, "suspended", seq=5)
    peer.said(row, "active", seq=6)
    for seq in (1, 5, 6):
        peer.said(row, "suspended", seq=seq)
    assert status_of(row) == "active"
    assert len(history(row)) == 2


def test_a_refused_seq_was_seen_too() -> None:
    """Else whoever has recorded it could say it again when it has become legal."""
    row = linked()
    row.suspend()
    with pytest.raises(InvalidTransition):
        peer.said(row, "active", seq=7)
    row.reactivate()
    peer.said(row, "suspended", seq=8)
    peer.said(row, "active", seq=7)
    assert status_of(row) == "suspended"


def test_without_a_seq_it_counts_as_it_comes() -> None:
    row = linked()
    peer.said(row, "suspended")
    with pytest.raises(InvalidTransition, match="already"):
        peer.said(row, "suspended")
    peer.said(row, "active")
    assert status_of(row) == "active"


def test_a_row_removed_there_is_revoked_here_once() -> None:
    row = linked()
    peer.removed(row)
    peer.removed(row)
    kept = Connection.objects.get(pk=row.pk)
    assert (kept.status, kept.set_by_peer) == ("revoked", True)
    assert history(row) == [("active", "revoked", True)]
    expired = linked(status="expired")
    peer.removed(expired)
    assert status_of(expired) == "expired"


def test_a_row_that_is_gone() -> None:
    row = linked()
    Connection.objects.filter(pk=row.pk).delete()
    for word in (lambda: peer.said(row, "suspended"), lambda: peer.removed(row)):
        with pytest.raises(NotFound):
            word()


def tell(listener: Connection, teller: Connection) -> None:
    """Bring each of the teller's notices to the other row."""
    for status, reason, seq in notices(teller):
        with contextlib.suppress(InvalidTransition):
            peer.said(listener, status, reason=reason, seq=seq)


@pytest.mark.parametrize("crossing", [False, True])
def test_a_request_that_its_asker_suspends_is_not_stuck(crossing: bool) -> None:
    asking, asked = a_connection(status="pending", asked_here=True), a_connection("receiver", "pending")
    asking.suspend()
    if crossing:
        asked.approve()
    tell(asked, asking)
    assert status_of(asked) == "suspended"
    if not crossing:
        asked.reactivate()
    tell(asking, asked)
    assert status_of(asking) == "suspended"
    asking.reactivate()
    tell(asked, asking)
    assert (status_of(asking), status_of(asked)) == ("active", "active")


def test_a_first_seq_may_be_nought() -> None:
    row = linked()
    peer.said(row, "suspended", seq=0)
    peer.said(row, "active", seq=0)
    assert status_of(row) == "suspended"
