"""What is to be told arrives: once, in order, whoever delivers, dies, hangs or refuses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, router, transaction

from syncsessions.connections import clock, delivery, outbox, peer, soon, tokens
from syncsessions.connections.calls import Answer
from syncsessions.connections.delivery import Delivered, Delivery, adeliver, deliver
from syncsessions.connections.models import TOKEN
from syncsessions.exceptions import SiteUnavailable
from syncsessions.models import Connection, ConnectionNotice
from syncsessions.secrets_at_rest import encrypted
from syncsessions.uuid7 import uuid7
from tests import workers
from tests.connections import a_connection, notices
from tests.fake_peer import Heard, Peer, breaks_off, hangs, playing, says
from tests.misbehaving import free_port

pytestmark = pytest.mark.usefixtures("links")

DEADLINE = 30.0  # seconds


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is delivered unless the test does."""
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)


def linked(fake: Peer, **fields: Any) -> Connection:
    return a_connection(site_url=f"{fake.url}/{fields.pop('path', '')}".rstrip("/"), **fields)


def seqs(heard: list[Heard], row: Connection) -> list[int]:
    return [each.fields["seq"] for each in heard if each.token == row.peer_token and each.method == "PATCH"]


def deliver_until_nothing_waits() -> None:
    deadline = time.monotonic() + DEADLINE
    while deliver().waiting:
        assert time.monotonic() < deadline, "it does not arrive"


@pytest.mark.usefixtures("by_hand")
def test_each_change_arrives_once_and_in_order(fake_peer: Peer) -> None:
    row = linked(fake_peer)
    token = row.peer_token
    row.suspend(reason="moving house")
    row.reactivate()
    row.revoke()
    row.delete()
    assert deliver() == Delivered(4, 0, 0)
    assert deliver() == Delivered(0, 0, 0)
    path = "api/connection"
    assert fake_peer.heard == [
        Heard("PATCH", path, token, {"status": "suspended", "reason": "moving house", "seq": 1}),
        Heard("PATCH", path, token, {"status": "active", "reason": "", "seq": 2}),
        Heard("PATCH", path, token, {"status": "revoked", "reason": "", "seq": 3}),
        Heard("DELETE", path, token, {}),
    ]


@pytest.mark.usefixtures("by_hand")
def test_what_is_rolled_back_is_never_told(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=links):
        row.suspend()
        row.delete()
        1 / 0  # noqa: B018
    assert deliver() == Delivered(0, 0, 0)
    assert fake_peer.heard == []
    kept = Connection.objects.get(pk=row.pk or Connection.objects.get().pk)
    assert (kept.status, kept.told_seq) == ("active", 0)


@pytest.mark.usefixtures("by_hand")
def test_what_the_peer_said_is_not_echoed(fake_peer: Peer) -> None:
    row = linked(fake_peer)
    peer.said(row, "suspended", seq=1)
    peer.said(row, "revoked", seq=2)
    peer.removed(row)
    assert deliver() == Delivered(0, 0, 0)
    assert fake_peer.heard == []


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_a_final_refusal_is_recorded_until_something_later_arrives(fake_peer: Peer, status: int) -> None:
    row = linked(fake_peer)
    row.suspend()
    fake_peer.next = [says(status, code="invalid_transition", message=f"It is\n{row.peer_token} revoked. " + "x" * 900)]
    assert deliver() == Delivered(0, 0, 1)
    row.refresh_from_db()
    assert "The other site refuses this." in row.delivery_error
    assert "\n" not in row.delivery_error
    assert len(row.delivery_error) < 300
    assert notices(row) == []
    row.reactivate()
    assert deliver() == Delivered(1, 0, 0)
    row.refresh_from_db()
    assert row.delivery_error == ""


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_after_a_final_refusal_the_queue_goes_on(fake_peer: Peer, status: int) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()
    row.revoke()
    fake_peer.next = [says(status), says(200), says(status)]
    assert deliver() == Delivered(1, 0, 2)
    assert seqs(fake_peer.heard, row) == [1, 2, 3]
    row.refresh_from_db()
    assert row.delivery_error != ""


@pytest.mark.usefixtures("by_hand")
def test_a_peer_that_has_this_status_already_refuses_nothing(fake_peer: Peer) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()
    fake_peer.next = [
        says(409, code="invalid_transition", message="It is.", status="suspended"),
        says(409, code="invalid_transition", message="It is not.", status="revoked"),
    ]
    assert deliver() == Delivered(1, 0, 1)


def played(monkeypatch: pytest.MonkeyPatch, answers: Callable[[str, float], Answer]) -> Delivery:
    """Sites that answer as they are told, by address and the seconds that the call may take."""
    monkeypatch.setattr(delivery, "call", lambda method, site, path, **given: answers(site, given["within"]))
    return Delivery(retries=True)


def many(number: int, site: str, **fields: Any) -> None:
    """Notices, each of a connection of its own."""
    alias = router.db_for_write(ConnectionNotice)
    now = clock.micros(alias)
    given = {"site_url": site, "token_at_rest": encrypted(TOKEN, tokens.draw()), "status": "active", "seq": 1}
    given |= {"created": now, "due": now} | fields
    ConnectionNotice.objects.bulk_create(ConnectionNotice(connection_pk=uuid7(), **given) for _ in range(number))


@pytest.mark.usefixtures("by_hand")
def test_a_thousand_sites_that_hang_do_not_delay_another(links: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As slow as they are, another one that is back is told within 20 seconds."""
    many(1000, "https://hangs.example")
    many(1, "https://back.example")
    began, told, tries = time.monotonic(), [], []

    def answers(site: str, within: float) -> Answer:
        if site == "https://hangs.example" or time.monotonic() < began + 3:
            tries.append(site)
            time.sleep(within)
            raise SiteUnavailable(offline=True)
        told.append(time.monotonic())
        return Answer(200, {})

    running = played(monkeypatch, answers)
    while not told:
        assert time.monotonic() < began + 4 * DEADLINE
        running.begin()
        running.settle(0.2)
    running.let_go()
    took = told[0] - began
    assert took < 3 + 20, (took, len(tries))


@pytest.mark.usefixtures("by_hand")
def test_of_those_that_are_slow_a_few_at_a_time_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENT_AT_ONCE", 2)
    many(5, "https://slow.example")
    let_go, given = threading.Event(), []

    def answers(site: str, within: float) -> Answer:
        given.append(within)
        let_go.wait(DEADLINE)
        return Answer(200, {})

    running = played(monkeypatch, answers)
    running.begin()
    let_go.set()
    while running.busy:
        running.settle(0.1)
    assert sorted(given) == [delivery.HASTY] * 3 + [delivery.WITHIN] * 2
    assert running.done == 5


@pytest.mark.usefixtures("by_hand")
def test_the_oldest_of_each_connection_is_found_however_many_wait(links: str) -> None:
    many(3000, "https://b.example", due=clock.micros(links) + 3600 * 1_000_000)
    row, other = a_connection(), a_connection()
    for each in (row, other):
        each.suspend()
        each.reactivate()
    ConnectionNotice.objects.filter(connection_pk=other.pk, seq=1).update(leased_until=clock.micros(links) + 60_000_000)
    queries = []

    def count(execute: Any, sql: str, *rest: Any) -> Any:
        queries.append(sql)
        return execute(sql, *rest)

    with connections[links].execute_wrapper(count):
        found = outbox.due(links, 10)
    assert [(each.connection_pk, each.seq) for each in found] == [(row.pk, 1)]
    assert len(queries) == 2, queries  # the clock and this


@pytest.mark.usefixtures("by_hand")
def test_nobody_is_tried_twice_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where its pause is over before the run is; what is new then goes along."""
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.0)
    dead, slow, late = a_connection(), a_connection(), a_connection()
    for row in (dead, slow):
        row.suspend()
    heard: list[str] = []

    def answers(method: str, site: str, path: str, **given: Any) -> Answer:
        heard.append(site)
        if site == dead.site_url:
            raise SiteUnavailable(offline=True)
        if site == slow.site_url:
            time.sleep(1.5)  # several rounds
        return Answer(200, {})

    def wait() -> None:
        if late.status == "active" and len(heard) == 2:
            late.suspend()

    monkeypatch.setattr(delivery, "call", answers)
    assert deliver(wait=wait) == Delivered(2, 1, 0)
    assert sorted(heard) == sorted(str(row.site_url) for row in (dead, slow, late))


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("answer", [500, 503, 502, 403, 429, 302, 408, breaks_off])
def test_whatever_else_comes_is_tried_again(fake_peer: Peer, answer: Any) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()
    fake_peer.next = [answer]
    assert deliver() == Delivered(0, 2, 0)
    assert seqs(fake_peer.heard, row) == [1]
    deliver_until_nothing_waits()
    assert seqs(fake_peer.heard, row) == [1, 1, 2]
    row.refresh_from_db()
    assert row.delivery_error == ""


@pytest.mark.usefixtures("by_hand")
def test_pauses_stay_short_however_long_a_peer_is_away(fake_peer: Peer, links: str) -> None:
    row = a_connection(site_url=f"http://127.0.0.1:{free_port()}")
    row.suspend()
    rows = ConnectionNotice.objects.using(links)
    rows.update(attempts=1000)
    before = clock.micros(links)
    deliver()
    notice = rows.get()
    assert notice.due - before < 8_000_000
    assert notice.leased_until == 0
    assert (notice.attempts, notice.last_error) == (1001, "no answer")


@pytest.mark.usefixtures("by_hand")
def test_who_hangs_delays_nobody_else(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "WITHIN", 4.0)
    for number in range(5):
        row = a_connection(site_url=fake_peer.url.replace("/sync", f"/hang/{number}"))
        row.suspend()
        row.reactivate()
    with playing() as other:
        swift = [linked(other, path=str(number)) for number in range(3)]
        for row in swift:
            row.suspend()
            row.reactivate()
            row.revoke()
        began = time.monotonic()
        delivered = deliver()
        took = time.monotonic() - began
        assert [seqs(other.heard, row) for row in swift] == [[1, 2, 3]] * 3
    assert delivered == Delivered(9, 10, 0)
    assert 4.0 <= took < 4.0 + 8.0  # all that hang did so at once


@pytest.mark.usefixtures("by_hand")
def test_of_several_who_deliver_one_does(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "LEASE", 2 * DEADLINE)  # however slow the machine is
    for name in ("WITHIN", "HASTY"):
        monkeypatch.setattr(delivery, name, 2 * DEADLINE)
    rows = [linked(fake_peer, path=str(number)) for number in range(4)]
    for row in rows:
        for _ in range(3):
            row.suspend()
            row.reactivate()
    together = threading.Barrier(5)
    found: list[Delivered] = []

    def drain() -> None:
        try:
            together.wait(DEADLINE)
            found.append(deliver())
        finally:
            connections.close_all()

    drainers = [threading.Thread(target=drain) for _ in range(5)]
    for drainer in drainers:
        drainer.start()
    for drainer in drainers:
        drainer.join(DEADLINE * 2)
    assert len(found) == 5
    deliver_until_nothing_waits()
    assert any(each.done for each in found)
    assert [seqs(fake_peer.heard, row) for row in rows] == [[1, 2, 3, 4, 5, 6]] * 4


@pytest.mark.usefixtures("by_hand")
def test_what_somebody_was_killed_over_is_delivered_by_the_next(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()
    fake_peer.next = [hangs]
    process = workers.start("deliverer", links, "3.0")
    try:
        deadline = time.monotonic() + DEADLINE
        while not fake_peer.heard:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    deliver_until_nothing_waits()
    assert seqs(fake_peer.heard, row) == [1, 1, 2]  # the peer knows the first by its number


@pytest.mark.usefixtures("by_hand")
def test_under_a_lease_nobody_else_delivers(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()
    ConnectionNotice.objects.filter(seq=1).update(leased_until=clock.micros(links) + 60_000_000)
    assert deliver() == Delivered(0, 2, 0, elsewhere=2)
    assert fake_peer.heard == []


@pytest.mark.usefixtures("by_hand")
def test_the_next_one_is_not_taken_from_who_has_it(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()

    def another_takes_the_next(talk: Any) -> None:
        ConnectionNotice.objects.filter(seq=2).update(leased_until=clock.micros(links) + 60_000_000)
        connections.close_all()
        talk.answer(200, {})

    fake_peer.next = [another_takes_the_next]
    assert deliver() == Delivered(1, 1, 0, elsewhere=1)
    assert seqs(fake_peer.heard, row) == [1]


@pytest.mark.usefixtures("by_hand")
def test_the_token_that_counts_is_the_present_one(fake_peer: Peer) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.peer_token = young = tokens.draw()
    row.save()
    row.reactivate()
    deliver()
    row.revoke()
    row.delete()
    deliver()
    assert [each.token for each in fake_peer.heard] == [young] * 4


@pytest.mark.usefixtures("by_hand")
def test_a_token_that_was_rotated_under_way_is_no_refusal(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    old, young = row.peer_token, tokens.draw()
    row.suspend()

    def rotated(talk: Any) -> None:
        row.peer_token = young
        Connection.objects.using(links).filter(pk=row.pk).update(peer_token_at_rest=row.peer_token_at_rest)
        connections.close_all()
        talk.answer(401, {"code": "invalid_token", "message": ""})

    fake_peer.next = [rotated]
    assert deliver() == Delivered(1, 0, 0)
    assert [each.token for each in fake_peer.heard] == [old, young]
    row.refresh_from_db()
    assert row.delivery_error == ""


@pytest.mark.usefixtures("by_hand")
def test_a_token_that_cannot_be_read_is_not_presented(fake_peer: Peer) -> None:
    row = linked(fake_peer)
    row.suspend()
    Connection.objects.update(peer_token_at_rest="gAAAA of another key")
    assert deliver() == Delivered(0, 1, 0)
    assert fake_peer.heard == []


@pytest.mark.usefixtures("by_hand")
def test_who_cannot_be_called_is_told_nothing(fake_peer: Peer) -> None:
    row = a_connection(site_url=None, has_callback=False)
    row.suspend()
    row.delete()
    assert deliver() == Delivered(0, 0, 0)


def test_a_change_is_told_soon_after_its_commit(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    with transaction.atomic(using=links):
        row.suspend()
        assert fake_peer.heard == []
    deadline = time.monotonic() + DEADLINE
    while seqs(fake_peer.heard, row) != [1] or ConnectionNotice.objects.exists():
        assert time.monotonic() < deadline, fake_peer.heard
        time.sleep(0.01)
    assert len([each for each in threading.enumerate() if each.name == "syncsessions-outbox"]) <= 1


@pytest.mark.usefixtures("by_hand")
def test_in_a_transaction_it_says_so(fake_peer: Peer, links: str) -> None:
    with transaction.atomic(using=links), pytest.raises(RuntimeError):
        deliver()


@pytest.mark.usefixtures("by_hand")
async def test_async_code_may_wait_for_it(fake_peer: Peer) -> None:
    assert await adeliver() == Delivered(0, 0, 0)


@pytest.mark.usefixtures("by_hand")
def test_nothing_secret_is_logged(fake_peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    row = linked(fake_peer)
    token = str(row.peer_token)
    row.suspend()
    row.reactivate()
    fake_peer.next = [500, 401]
    deliver_until_nothing_waits()
    assert caplog.records
    assert token not in caplog.text
    assert row.peer_token_at_rest not in caplog.text


@pytest.mark.usefixtures("by_hand")
def test_what_nobody_took_for_thirty_days_goes(fake_peer: Peer, links: str) -> None:
    row = linked(fake_peer)
    row.suspend()
    row.reactivate()
    day = 24 * 3600 * 1_000_000
    ConnectionNotice.objects.filter(seq=1).update(created=clock.micros(links) - 31 * day)
    assert outbox.prune(dry_run=True) == 1
    assert len(notices(row)) == 2
    assert outbox.prune() == 1
    assert [seq for _, _, seq in notices(row)] == [2]
    assert deliver() == Delivered(1, 0, 0)
