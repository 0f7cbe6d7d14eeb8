"""What the other site says of a link is asked for and applied where that one cannot call here."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from syncsessions.connections import delivery, peer, soon
from syncsessions.connections import standing as applying
from syncsessions.connections.calls import Answer
from syncsessions.connections.delivery import Delivery, deliver
from syncsessions.exceptions import SiteUnavailable
from syncsessions.models import Connection
from tests.connections import a_connection, notices
from tests.fake_peer import Peer, breaks_off, says

pytestmark = pytest.mark.usefixtures("links", "by_hand")

DEADLINE = 60.0  # seconds


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)


def silent(fake: Peer, status: str = "active", **fields: Any) -> Connection:
    return a_connection("receiver", status, site_url=fake.url, has_callback=False, asked_here=True, **fields)


def standing(status: Any) -> Any:
    return says(200, enabled=True, connection={"exists": True, "status": status, "name": "", "direction": "sender"})


def looked_at(row: Connection) -> tuple[str, bool]:
    deliver()
    kept = Connection.objects.get(pk=row.pk)
    return kept.status, kept.set_by_peer


@pytest.mark.parametrize(
    ("here", "there", "becomes"),
    [
        ("active", "active", "active"),
        ("active", "suspended", "suspended"),
        ("active", "revoked", "revoked"),
        ("active", "expired", "expired"),
        ("pending", "active", "active"),
        ("pending", "expired", "expired"),
    ],
)
def test_a_look_applies_what_the_other_site_says(fake_peer: Peer, here: str, there: str, becomes: str) -> None:
    row = silent(fake_peer, here)
    fake_peer.answer = standing(there)
    assert looked_at(row)[0] == becomes
    assert (fake_peer.heard[0].path, fake_peer.heard[0].token) == ("api/status", row.peer_token)
    assert notices(row) == []


def test_a_look_lifts_what_the_other_site_has_set_and_nothing_else(fake_peer: Peer) -> None:
    row = silent(fake_peer)
    fake_peer.answer = standing("suspended")
    looked_at(row)
    fake_peer.answer = standing("active")
    assert looked_at(row) == ("active", True)
    row.suspend()
    assert looked_at(row) == ("suspended", False)


def test_a_site_that_does_not_know_the_link_severs_it(fake_peer: Peer, told: list[Any]) -> None:
    row = silent(fake_peer)
    fake_peer.answer = says(404, exists=False)
    assert looked_at(row) == ("suspended", False)
    assert any(each["severed"] for each in told)
    assert notices(row) == []
    fake_peer.answer = standing("active")
    assert looked_at(row)[0] == "suspended"


@pytest.mark.parametrize(
    "answer",
    [500, 503, 401, 404, says(404, exists=None), standing("sleeping"), standing(None), says(200), breaks_off],
)
def test_whatever_else_is_said_changes_nothing(fake_peer: Peer, answer: Any) -> None:
    row = silent(fake_peer)
    fake_peer.answer = answer
    assert looked_at(row) == ("active", False)


def test_to_deliver_looks_as_well(fake_peer: Peer) -> None:
    rows = [silent(fake_peer), a_connection("receiver", site_url=f"{fake_peer.url}/other")]
    fake_peer.answer = standing("suspended")
    deliver()
    assert [each.path for each in fake_peer.heard] == ["api/status"]
    assert [Connection.objects.get(pk=row.pk).status for row in rows] == ["suspended", "active"]


@pytest.mark.parametrize("status", ["revoked", "expired"])
def test_what_is_over_is_not_asked_about(fake_peer: Peer, status: str) -> None:
    silent(fake_peer, status)
    deliver()
    assert fake_peer.heard == []


def said(status: str) -> Answer:
    return Answer(200, {"connection": {"exists": True, "status": status}})


def test_a_late_answer_does_not_win_over_what_was_heard_meanwhile(fake_peer: Peer) -> None:
    row = silent(fake_peer)
    before, token = Connection.objects.get(pk=row.pk), str(row.peer_token)
    applying.apply(row, token, said("suspended"))
    applying.apply(before, token, said("active"))
    assert Connection.objects.get(pk=row.pk).status == "suspended"


def test_nor_over_what_the_peer_said_itself(fake_peer: Peer) -> None:
    row = silent(fake_peer)
    before, token = Connection.objects.get(pk=row.pk), str(row.peer_token)
    peer.said(row, "suspended", seq=1)
    peer.said(row, "active", seq=2)
    applying.apply(before, token, said("suspended"))
    applying.apply(before, token, Answer(404, {"exists": False}))
    assert Connection.objects.get(pk=row.pk).status == "active"


def test_however_many_there_are_each_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "LOOKS_AT_ONCE", 4)
    rows = [a_connection("receiver", has_callback=False) for _ in range(11)]
    asked: list[str] = []

    def call(method: str, site: str, path: str, **options: Any) -> Answer:
        asked.append(site)
        return said("suspended")

    monkeypatch.setattr(delivery, "call", call)
    deliver()
    assert sorted(asked) == sorted(str(row.site_url) for row in rows)
    assert set(Connection.objects.values_list("status", flat=True)) == {"suspended"}


def test_looks_that_hang_leave_room_for_what_is_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "AT_ONCE", 4)
    monkeypatch.setattr(delivery, "LOOKS_AT_ONCE", 2)
    silent_ones = {a_connection("receiver", has_callback=False).site_url for _ in range(6)}
    let_go, asked, told = threading.Event(), [], []

    def call(method: str, site: str, path: str, **options: Any) -> Answer:
        if site in silent_ones:
            asked.append(site)
            let_go.wait(DEADLINE)
            raise SiteUnavailable(offline=True)
        told.append(site)
        return Answer(200, {})

    monkeypatch.setattr(delivery, "call", call)
    running = Delivery(retries=True)
    running.look()
    running.begin()
    late = a_connection()
    late.suspend()
    deadline = time.monotonic() + DEADLINE
    while not told:
        assert time.monotonic() < deadline
        running.begin()
        running.settle(0.1)
    assert len(asked) == 2
    let_go.set()
    while len(asked) < 6 or running.busy:
        assert time.monotonic() < deadline
        running.begin()
        running.settle(0.1)
    assert set(asked) == silent_ones and len(asked) == 6
