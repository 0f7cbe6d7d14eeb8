"""Sender connections whose receiver says that there is no such link are suspended here, and no others."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from syncsessions.connections import calls, steps, tokens
from syncsessions.connections.status import averify_receiver_connections, verify_receiver_connections
from syncsessions.models import Connection
from tests.connections import a_connection, history, notices
from tests.misbehaving import NEVER_FINISHED, Site, Talk, free_port, misbehaving

Verify = Callable[[Iterable[Connection]], list[Any]]
REASON = "Remote site reports connection not found"


@pytest.fixture(params=["sync", "async"])
def verify(request: Any) -> Verify:
    """The ids that were severed, by either form."""

    async def collected(rows: Iterable[Connection]) -> list[Any]:
        return [pk async for pk in averify_receiver_connections(rows)]

    def both(rows: Iterable[Connection]) -> list[Any]:
        return list(verify_receiver_connections(rows)) if request.param == "sync" else asyncio.run(collected(rows))

    return both


def handed_over(site_url: str, status: str = "active", **fields: Any) -> Connection:
    return a_connection("sender", status, site_url=site_url, **{"handed_over_at": timezone.now(), **fields})


def as_it_is(row: Connection) -> Connection:
    return Connection.objects.get(pk=row.pk)


@pytest.mark.parametrize("status", ["active", "pending"])
def test_a_link_that_the_receiver_does_not_know_is_suspended(
    links: str, bad_site: Site, verify: Verify, told: list[dict[str, Any]], status: str
) -> None:
    row = handed_over(bad_site.url("gone"), status)
    assert verify(Connection.objects.all()) == [row.id]
    now = as_it_is(row)
    assert (now.status, now.suspended_reason, now.suspended_by_id) == ("suspended", REASON, None)
    assert now.suspended_at is not None
    assert history(row) == [(status, "suspended", False)]
    assert notices(row) == []
    assert [one["severed"] for one in told].count(True) == 1
    assert not LogEntry.objects.filter(object_id=str(row.pk)).exists()
    assert verify(Connection.objects.all()) == [], "it is asked no more"


@pytest.mark.django_db(transaction=True)
class TestOnOneDatabase:
    """What does not differ between databases."""

    @pytest.mark.parametrize(
        "behaviour", ["active", "revoked", "503", "404_html", "404_json", "410", "cut", "redirect"]
    )
    def test_no_other_answer_changes_anything(self, bad_site: Site, verify: Verify, behaviour: str) -> None:
        row = handed_over(bad_site.url(behaviour))
        assert verify([row]) == []
        assert as_it_is(row).status == "active"
        assert len(bad_site.talks) == 1

    def test_a_site_that_does_not_answer_is_logged_and_left(
        self, bad_site: Site, verify: Verify, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(calls, "WITHIN", 0.5)
        rows = [handed_over(bad_site.url(name)) for name in NEVER_FINISHED]
        rows.append(handed_over(f"http://127.0.0.1:{free_port()}"))
        with caplog.at_level(logging.INFO, "syncsessions.connections"):
            assert verify(rows) == []
        assert {as_it_is(row).status for row in rows} == {"active"}
        assert all(str(row.pk) in caplog.text for row in rows)
        assert not any(str(row.peer_token) in caplog.text for row in rows)

    def test_only_those_handed_over_and_reachable_senders_in_use_are_asked(
        self, bad_site: Site, verify: Verify
    ) -> None:
        url = bad_site.url
        rows = [
            *(handed_over(url("gone", status), status) for status in ("suspended", "revoked", "expired")),
            handed_over(url("gone", "never"), handed_over_at=None),
            handed_over(url("gone", "behind"), has_callback=False),
            a_connection("receiver", site_url=url("gone", "receiver"), handed_over_at=timezone.now()),
        ]
        before = [row.status for row in rows]
        assert verify(rows) == []
        assert bad_site.connected == 0
        assert [as_it_is(row).status for row in rows] == before

    @pytest.mark.parametrize("meanwhile", ["deleted", "suspended", "revoked", "expired", "rotated"])
    def test_what_happened_while_the_site_was_asked_stands(
        self, sites_here: None, verify: Verify, told: list[dict[str, Any]], meanwhile: str
    ) -> None:
        row: Connection

        def behave(talk: Talk) -> None:
            asked.set()
            assert changed.wait(30)
            talk.answer(404, {"exists": False})

        asked, changed, found = threading.Event(), threading.Event(), []
        with misbehaving(behave=behave) as site:
            row = handed_over(site.url("linked"))

            def change() -> None:
                assert asked.wait(30)
                if meanwhile == "deleted":
                    Connection.objects.filter(pk=row.pk).delete()
                elif meanwhile == "rotated":
                    other = as_it_is(row)
                    other.peer_token = tokens.draw()
                    other.save()
                else:
                    Connection.objects.filter(pk=row.pk).update(status=meanwhile)
                changed.set()

            changer = threading.Thread(target=_then_close(change))
            changer.start()
            found = verify([row])
            changer.join()
        assert found == [] and told == []
        left = Connection.objects.filter(pk=row.pk).values_list("status", flat=True)
        assert list(left) == {"deleted": [], "rotated": ["active"]}.get(meanwhile, [meanwhile])

    def test_a_row_that_cannot_be_suspended_stops_no_other(
        self, bad_site: Site, verify: Verify, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = [handed_over(bad_site.url("gone", number)) for number in range(3)]
        real = steps.sever

        def sever(connection: Connection, asked_with: str) -> bool:
            if connection.pk == rows[1].pk:
                raise RuntimeError("no such luck")
            return real(connection, asked_with)

        monkeypatch.setattr(steps, "sever", sever)
        assert set(verify(rows)) == {rows[0].pk, rows[2].pk}
        assert str(rows[1].pk) in caplog.text

    def test_each_is_suspended_when_it_is_taken_and_none_after_closing(self, bad_site: Site) -> None:
        rows = [handed_over(bad_site.url("gone", number)) for number in range(5)]
        asked = verify_receiver_connections(rows)
        first = next(asked)
        bad_site.wait_for(lambda site: len(site.talks) == 5)
        asked.close()
        assert list(asked) == []
        suspended = Connection.objects.filter(status="suspended").values_list("pk", flat=True)
        assert list(suspended) == [first]


def _then_close(work: Callable[[], None]) -> Callable[[], None]:
    from django.db import connections

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    return run
