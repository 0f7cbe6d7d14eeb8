"""Rivals for one connection, on every database: each step is judged by what the one before it has left."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from syncsessions.connections import flow, peer, soon
from syncsessions.exceptions import InvalidTransition, SyncSessionsError
from syncsessions.models import Connection, ConnectionNotice
from tests import workers
from tests.connections import a_connection, history, notices

pytestmark = pytest.mark.usefixtures("links", "by_hand")

DEADLINE = 60.0  # seconds
TARGETS = {"approve": "active", "reactivate": "active", "suspend": "suspended", "revoke": "revoked"}
BEGINNINGS = {
    "pending": {"status": "pending"},
    "active": {"status": "active", "approved_at": timezone.now()},
    "suspended": {"status": "suspended", "approved_at": timezone.now()},
    "suspended by the peer": {"status": "suspended", "approved_at": timezone.now(), "set_by_peer": True},
}

Step = tuple[str, str]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)


def raced(row: Connection, alias: str, *steps: Step) -> list[tuple[str, str, str | None]]:
    """What became of each step, all taken at once by processes of their own."""
    printed = workers.run("connection_rivals", alias, str(row.pk), json.dumps(steps))
    found = [tuple(json.loads(line)) for line in printed.splitlines()]
    assert len(found) == len(steps)
    return found


def judge(row: Connection, results: list[tuple[str, str, str | None]]) -> None:
    """Whatever the order was: the steps that were taken follow from one another, each is noted once, and this side's
    own are told once; the others were refused and left nothing."""
    taken = [(who, what) for who, what, code in results if code is None]
    assert {code for _, _, code in results} <= {None, "invalid_transition"}
    noted = history(row)
    assert Counter(_target(what) for _, what in taken) == Counter(status for _, status, _ in noted)
    for (before, became, _), (previous, status, _) in itertools.pairwise(noted):
        assert became == previous, noted
        assert status in flow.NEXT[previous]
        assert became in flow.NEXT[before]
    kept = Connection.objects.get(pk=row.pk)
    assert kept.status == noted[-1][1]
    own = [status for _, status, by_peer in noted if not by_peer]
    assert [(status, seq) for status, _, seq in notices(row)] == [
        (status, number) for number, status in enumerate(own, 1)
    ]


def _target(what: str) -> str:
    return "revoked" if what == "removed" else TARGETS.get(what, what.partition(" ")[0])


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("what", TARGETS)
def test_of_admins_who_do_the_same_one_wins(links: str, beginning: str, what: str) -> None:
    row = a_connection(**BEGINNINGS[beginning])
    results = raced(row, links, *[("here", what)] * 4)
    legal = (beginning, what) in {
        *(("pending", each) for each in ("approve", "suspend", "revoke")),
        *(("active", each) for each in ("suspend", "revoke")),
        *(("suspended", each) for each in ("reactivate", "revoke")),
        ("suspended by the peer", "revoke"),
    }
    assert Counter(code for _, _, code in results) == Counter(
        {None: 1, "invalid_transition": 3} if legal else {"invalid_transition": 4}
    )
    if legal:
        judge(row, results)
    else:
        assert history(row) == [] and notices(row) == []
        assert Connection.objects.get(pk=row.pk).status == row.status


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_admins_who_want_different_things_are_judged_one_after_the_other(links: str, beginning: str) -> None:
    row = a_connection(**BEGINNINGS[beginning])
    judge(row, raced(row, links, *[("here", what) for what in TARGETS for _ in range(2)]))


@pytest.mark.parametrize("status", ["suspended", "revoked", "active"])
def test_of_peers_who_say_the_same_one_is_heard(links: str, status: str) -> None:
    row = a_connection(status="pending", asked_here=True)
    results = raced(row, links, *[("peer", f"{status} 1")] * 4)
    assert all(code is None for _, _, code in results)  # a number that is known does nothing
    assert history(row) == [("pending", status, True)]
    assert notices(row) == []


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_admins_and_peers_at_once(links: str, beginning: str) -> None:
    row = a_connection(**BEGINNINGS[beginning])
    steps = [("here", what) for what in TARGETS] + [("peer", status) for status in ("active", "suspended", "revoked")]
    judge(row, raced(row, links, *steps))


def test_a_peer_whose_row_is_gone_and_an_admin(links: str) -> None:
    row = a_connection(**BEGINNINGS["active"])
    results = raced(row, links, ("peer", "removed"), ("here", "suspend"), ("here", "revoke"))
    assert Connection.objects.get(pk=row.pk).status == "revoked"
    assert [status for _, status, _ in history(row)].count("revoked") == 1
    assert {code for _, _, code in results} <= {None, "invalid_transition"}


def test_threads_of_one_process_are_rivals_too(links: str) -> None:
    row = a_connection(**BEGINNINGS["pending"])
    together = threading.Barrier(6)
    results: list[Any] = []

    def approve() -> None:
        try:
            mine = Connection.objects.get(pk=row.pk)
            together.wait(DEADLINE)
            mine.approve()
            results.append("active")
        except InvalidTransition as error:
            results.append(error.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=approve) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert Counter(results) == {"active": 1, "invalid_transition": 5}
    assert len(history(row)) == len(notices(row)) == 1


def test_notices_of_rivals_are_numbered_without_a_gap(links: str) -> None:
    """Many changes at once: each told once, by the order in which they happened."""
    row = a_connection(**BEGINNINGS["active"])
    together = threading.Barrier(4)

    def change() -> None:
        try:
            mine = Connection.objects.get(pk=row.pk)
            together.wait(DEADLINE)
            for _ in range(10):
                for step in (mine.suspend, mine.reactivate):
                    try:
                        step()
                    except SyncSessionsError as error:
                        assert error.code == "invalid_transition"
        finally:
            connections.close_all()

    threads = [threading.Thread(target=change) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    told = notices(row)
    assert [seq for _, _, seq in told] == list(range(1, len(told) + 1))
    assert [status for status, _, _ in told] == [status for _, status, _ in history(row)]
    assert all(one != other for one, other in itertools.pairwise(status for status, _, _ in told))


def test_who_deletes_and_who_steps(links: str) -> None:
    """The other side hears of the deletion once, last."""
    for _ in range(5):
        row = a_connection(**BEGINNINGS["active"])
        pk = row.pk
        together = threading.Barrier(3)

        def do(what: str, pk: Any = pk, together: threading.Barrier = together) -> None:
            try:
                mine = Connection.objects.get(pk=pk)
                together.wait(DEADLINE)
                getattr(mine, what)()
            except SyncSessionsError as error:
                assert error.code in ("not_found", "invalid_transition")
            finally:
                connections.close_all()

        threads = [threading.Thread(target=do, args=[what]) for what in ("delete", "delete", "suspend")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert not Connection.objects.filter(pk=pk).exists()
        told = list(ConnectionNotice.objects.filter(connection_pk=pk).order_by("pk").values_list("status", flat=True))
        assert told in ([""], ["suspended", ""])


def test_what_a_peer_says_out_of_order_is_heard_in_order(links: str) -> None:
    row = a_connection(**BEGINNINGS["active"])
    results = raced(row, links, ("peer", "suspended 1"), ("peer", "revoked 2"))
    assert Connection.objects.get(pk=row.pk).status == "revoked"
    assert all(code is None for _, _, code in results)
    with pytest.raises(InvalidTransition):
        peer.said(row, "active", seq=3)
