"""Asking another site for a link: what is kept, what is taken back, and what is raised, however it answers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import override_settings

from syncsessions.connections import asking, asking_rows, peer, soon, steps, tokens
from syncsessions.connections.delivery import deliver
from syncsessions.exceptions import (
    AccessRefused,
    AlreadyExists,
    AlreadyUsed,
    FrameError,
    InvalidCode,
    InvalidValue,
    NotFound,
    RateLimited,
    SiteUnavailable,
    SyncSessionsError,
)
from syncsessions.models import Connection, ConnectionNotice, ConnectionToken
from tests.connections import history, notices
from tests.fake_peer import Peer, breaks_off, hangs, says

pytestmark = pytest.mark.usefixtures("links", "swift")

CODE = "A7X9-K2M4"


@pytest.fixture
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow at once, and nothing is delivered unless the test does."""
    monkeypatch.setattr(asking, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)


def made(status: str = "pending", **more: Any) -> Any:
    return says(201, status=status, token=tokens.draw(), **more)


def offered(row: Connection) -> bool:
    return bool(Connection.objects.get(pk=row.pk).offered_token)


def test_what_is_asked_and_what_is_kept(fake_peer: Peer) -> None:
    theirs = tokens.draw()
    fake_peer.answer = says(201, status="pending", token=theirs)
    row = asking.connect(fake_peer.url.upper().replace("/SYNC", "/sync/"), name="Archive", password="open sesame")
    (heard,) = fake_peer.heard
    token = heard.fields["token"]
    assert (heard.method, heard.path, heard.token) == ("POST", "api/connections", None)
    assert heard.fields == {
        "sender_url": "https://here.example/sync",
        "name": "Archive",
        "token": token,
        "password": "open sesame",
    }
    kept = Connection.objects.get()
    assert row.pk == kept.pk
    assert (kept.direction, kept.site_url, kept.status, kept.asked_here) == ("sender", fake_peer.url, "pending", True)
    assert kept.peer_token == row.peer_token == theirs
    assert kept.handed_over_at is not None and row.handed_over_at is not None
    assert kept.offered_token == ""
    assert Connection.objects.identify(token) == kept
    assert history(kept) == [("", "pending", False)]


@pytest.mark.parametrize("name", ["", "Archive"])
def test_a_name_is_what_both_sites_call_it(fake_peer: Peer, name: str) -> None:
    """Each goes by the other's host, where it was given no name."""
    fake_peer.answer = made()
    row = asking.connect(fake_peer.url, name=name)
    assert row.name == (name or fake_peer.url.split("/")[2])
    assert fake_peer.heard[0].fields["name"] == (name or "here.example")


def test_the_status_is_the_one_answered(fake_peer: Peer, told: list[Any]) -> None:
    fake_peer.answer = made("active")
    row = asking.connect(fake_peer.url)
    assert (row.status, row.set_by_peer) == ("active", True)
    assert row.approved_at is not None
    assert history(row) == [("", "pending", False), ("pending", "active", True)]
    assert [(each["status"], each["by_peer"]) for each in told] == [("active", True)]
    assert notices(row) == []


REFUSALS = [
    (400, "invalid_value", InvalidValue),
    (401, "invalid_password", AccessRefused),
    (403, "denied", AccessRefused),
    (409, "already_exists", AlreadyExists),
    (413, "too_large", FrameError),
    (503, "disabled", AccessRefused),
    (429, "rate_limited", RateLimited),
]


@pytest.mark.parametrize(("status", "code", "error"), REFUSALS)
def test_a_refusal_takes_back_what_was_made_for_it(
    fake_peer: Peer,
    status: int,
    code: str,
    error: type[SyncSessionsError],
) -> None:
    fake_peer.answer = says(status, code=code, message="<b>Their\nword</b>" + "x" * 5000, retry_after=7.5)
    with pytest.raises(error) as caught:
        asking.connect(fake_peer.url)
    assert caught.value.code == code
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert getattr(caught.value, "retry_after", 7.5) == 7.5
    assert len(fake_peer.heard) == 1
    assert not Connection.objects.exists() and not ConnectionToken.objects.exists()
    assert not ConnectionNotice.objects.exists()


@pytest.mark.parametrize("wait", [None, "soon", -1, True, 1e12, [5]], ids=str)
def test_how_long_to_wait_is_bounded(fake_peer: Peer, wait: Any) -> None:
    fake_peer.answer = says(429, code="rate_limited", retry_after=wait)
    with pytest.raises(RateLimited) as caught:
        asking.connect(fake_peer.url)
    assert 0 < caught.value.retry_after <= 3600


JUNK = [
    says(200, status="active", token="x" * 43),
    says(404),
    says(302),
    says(405, code=["denied"]),
    lambda talk: talk.answer(200, b"<html>"),
    lambda talk: talk.answer(404, b"<html>"),
]


@pytest.mark.parametrize("answer", JUNK, ids=range(len(JUNK)))
def test_a_site_that_is_none_of_ours_leaves_nothing(fake_peer: Peer, answer: Any) -> None:
    fake_peer.answer = answer
    with pytest.raises(SiteUnavailable):
        asking.connect(fake_peer.url)
    assert len(fake_peer.heard) == 1
    assert not Connection.objects.exists()


LOST = [500, 502, 503, 408, breaks_off]


@pytest.mark.parametrize("answer", LOST)
def test_a_lost_answer_is_asked_for_again_with_the_same_token(fake_peer: Peer, answer: Any) -> None:
    fake_peer.next, fake_peer.answer = [answer, answer], made()
    row = asking.connect(fake_peer.url, password="open sesame")
    assert len(fake_peer.heard) == 3
    assert len({str(each.fields) for each in fake_peer.heard}) == 1
    assert not offered(row)


@pytest.mark.parametrize("answer", [*LOST, says(201), says(201, status="sleeping", token="x" * 43)])
def test_what_stays_lost_is_gone_on_with_at_the_next_call(fake_peer: Peer, answer: Any) -> None:
    fake_peer.answer = answer
    with pytest.raises(SiteUnavailable):
        asking.connect(fake_peer.url)
    row = Connection.objects.get()
    assert row.status == "pending" and row.peer_token is None
    fake_peer.answer = made("active")
    again = asking.connect(fake_peer.url + "/", name="Archive")
    assert (again.pk, again.name) == (row.pk, "Archive")
    assert again.status == "active"
    assert len({each.fields["token"] for each in fake_peer.heard}) == 1
    with pytest.raises(AlreadyExists):
        asking.connect(fake_peer.url)


def test_a_peer_that_hangs_costs_a_bounded_time(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WITHIN", 0.5)
    fake_peer.next, fake_peer.answer = [hangs], made()
    asking.connect(fake_peer.url)
    assert len(fake_peer.heard) == 2


def test_a_refusal_after_a_lost_answer_leaves_the_row(fake_peer: Peer) -> None:
    """The first call may have made the other side's: only this token gets at it."""
    fake_peer.next = [500, says(429, code="rate_limited")]
    with pytest.raises(RateLimited):
        asking.connect(fake_peer.url)
    assert offered(Connection.objects.get())
    fake_peer.next = [500, says(409, code="already_exists")]
    with pytest.raises(AlreadyExists):
        asking.connect(fake_peer.url)
    assert Connection.objects.exists()  # this call did not make it


def test_a_token_under_another_key_is_replaced(fake_peer: Peer) -> None:
    fake_peer.answer = 500
    with override_settings(SECRET_KEY="another"), pytest.raises(SiteUnavailable):
        asking.connect(fake_peer.url)
    fake_peer.answer = made()
    row = asking.connect(fake_peer.url)
    assert Connection.objects.identify(fake_peer.heard[-1].fields["token"]) == row


def test_what_was_heard_meanwhile_is_newer_than_the_answer(fake_peer: Peer) -> None:
    def approve_and_suspend(talk: Any) -> None:
        row = Connection.objects.get()
        peer.said(row, "active", seq=1)
        peer.said(row, "suspended", seq=2)
        connections.close_all()
        talk.answer(201, {"status": "active", "token": tokens.draw()})

    fake_peer.answer = approve_and_suspend
    assert asking.connect(fake_peer.url).status == "suspended"


def test_what_changed_here_meanwhile_is_told(fake_peer: Peer) -> None:
    def revoke(talk: Any) -> None:
        Connection.objects.get().revoke(reason="changed our mind")
        connections.close_all()
        talk.answer(201, {"status": "active", "token": tokens.draw()})

    fake_peer.answer = revoke
    row = asking.connect(fake_peer.url)
    assert row.status == "revoked"
    assert notices(row) == [("revoked", "changed our mind", 1)]


def test_a_row_that_is_deleted_meanwhile_is_told_to_the_other_site(fake_peer: Peer) -> None:
    theirs = tokens.draw()

    def delete(talk: Any) -> None:
        Connection.objects.get().delete()
        connections.close_all()
        talk.answer(201, {"status": "active", "token": theirs})

    fake_peer.answer = delete
    with pytest.raises(NotFound):
        asking.connect(fake_peer.url)
    fake_peer.answer = 200
    assert deliver().done == 1
    assert (fake_peer.heard[-1].method, fake_peer.heard[-1].token) == ("DELETE", theirs)


def test_without_an_address_of_its_own_a_site_asks_nobody(fake_peer: Peer, settings: Any) -> None:
    for given in (None, "", "here"):
        settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "SITE_URL": given}
        with pytest.raises(AccessRefused, match="SITE_URL") as caught:
            asking.connect(fake_peer.url)
        assert caught.value.code == "disabled"
    assert fake_peer.heard == [] and not Connection.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        *("https://here.example/sync", "HTTPS://HERE.example:443/sync/", "ftp://b.example", "b.example", ""),
        *("https://b.example/?x=1", "https://user@b.example/", "https://b.example/#x"),
    ],
)
def test_an_address_that_cannot_be_another_sites_is_refused(fake_peer: Peer, url: str) -> None:
    with pytest.raises(InvalidValue):
        asking.connect(url)
    assert not Connection.objects.exists()


def test_http_is_for_debug_only(fake_peer: Peer, settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(InvalidValue, match="https"):
        asking.connect(fake_peer.url)
    assert fake_peer.heard == []


@pytest.mark.parametrize("name", ["x" * 101, "two\nlines", "a\x00b"])
def test_a_name_that_cannot_be_kept_is_refused(fake_peer: Peer, name: str) -> None:
    with pytest.raises(InvalidValue):
        asking.connect(fake_peer.url, name=name)
    assert not Connection.objects.exists()


def test_inside_a_transaction_nobody_is_asked(fake_peer: Peer, links: str) -> None:
    with transaction.atomic(using=links):
        row = asking.prepare(fake_peer.url)
        with pytest.raises(RuntimeError):
            asking.ask(row)
        with pytest.raises(RuntimeError):
            asking.redeem(fake_peer.url, CODE)
    assert fake_peer.heard == []
    fake_peer.answer = made()
    asking.ask(row)
    assert row.handed_over_at is not None


async def test_async_code_may_ask(fake_peer: Peer) -> None:
    fake_peer.answer = made("active")
    row = await asking.aconnect(fake_peer.url)
    assert row.status == "active"


def test_nothing_secret_is_logged_or_shown(fake_peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    errors = []
    for status in (401, 500):
        fake_peer.answer = says(status, code="invalid_password")
        with pytest.raises(SyncSessionsError) as caught:
            asking.connect(fake_peer.url, password="open sesame")
        errors.append(f"{caught.value!r} {caught.value} {caught.value.as_dict()}")
    text = caplog.text + "".join(errors)
    for secret in ("open sesame", *(each.fields["token"] for each in fake_peer.heard)):
        assert secret not in text


def test_redeemed_without_a_callback(fake_peer: Peer) -> None:
    theirs = tokens.draw()
    fake_peer.answer = says(201, status="active", token=theirs, name="S", site_url="https://elsewhere.example")
    row = asking.redeem(fake_peer.url, " a7x9 k2m4 ", name="laptop", callback=False)
    (heard,) = fake_peer.heard
    assert (heard.path, heard.fields) == ("api/connections/redeem", {"code": "A7X9K2M4", "name": "laptop"})
    kept = Connection.objects.get()
    assert kept.name == "laptop"
    assert (kept.direction, kept.status, kept.site_url, kept.has_callback) == (
        "receiver",
        "active",
        fake_peer.url,
        False,
    )
    assert kept.peer_token == theirs and kept.asked_here and kept.approved_at is not None
    assert row.has_callback is False and row.status == "active"


def test_redeemed_with_a_callback_the_row_is_there_before_the_call(fake_peer: Peer) -> None:
    found: list[Any] = []

    def call_back(talk: Any) -> None:
        found.append(Connection.objects.identify(fake_peer.heard[0].fields["token"]).direction)
        connections.close_all()
        talk.answer(201, {"status": "active", "token": tokens.draw(), "name": "", "site_url": None})

    fake_peer.answer = call_back
    row = asking.redeem(fake_peer.url, CODE)
    assert fake_peer.heard[0].fields["receiver_url"] == "https://here.example/sync"
    assert found == ["receiver"]
    assert Connection.objects.get(pk=row.pk).has_callback


@pytest.mark.parametrize("callback", [True, False])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (says(400, code="invalid_code"), InvalidCode),
        (says(409, code="already_used"), AlreadyUsed),
        (says(409, code="already_exists"), AlreadyExists),
        (says(403, code="denied"), AccessRefused),
        (says(429), RateLimited),
        (500, SiteUnavailable),
        (says(201), SiteUnavailable),
    ],
)
def test_a_code_that_is_not_taken_leaves_nothing(
    fake_peer: Peer,
    answer: Any,
    error: type[Exception],
    callback: bool,
) -> None:
    fake_peer.answer = answer
    with pytest.raises(error):
        asking.redeem(fake_peer.url, CODE, callback=callback)
    assert not Connection.objects.exists()


def test_a_code_whose_answer_was_lost_says_what_to_do(fake_peer: Peer) -> None:
    fake_peer.next, fake_peer.answer = [500], says(409, code="already_used")
    with pytest.raises(AlreadyUsed, match="answer was lost"):
        asking.redeem(fake_peer.url, CODE)


def test_what_is_no_code_is_not_sent(fake_peer: Peer) -> None:
    with pytest.raises(InvalidCode):
        asking.redeem(fake_peer.url, "not a code")
    assert fake_peer.heard == []


def test_a_site_without_an_address_is_called_what_the_other_side_likes(fake_peer: Peer, settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "SITE_URL": None}
    fake_peer.answer = made("active")
    asking.redeem(fake_peer.url, CODE)
    assert fake_peer.heard[0].fields["name"] == ""


@pytest.mark.parametrize("callback", [True, False])
def test_an_address_that_was_not_proven_names_the_way_without(fake_peer: Peer, callback: bool) -> None:
    fake_peer.answer = says(400, code="invalid_value", message="No.", key="receiver_url")
    with pytest.raises(InvalidValue) as caught:
        asking.redeem(fake_peer.url, CODE, callback=callback)
    assert ("--no-callback" in str(caught.value)) is callback


def test_of_two_redemptions_at_once_the_refused_one_leaves_the_others_row(fake_peer: Peer) -> None:
    """The one that made the row, or the one that came to it: each may be the refused one."""

    def two(refused_first: bool) -> None:
        theirs = tokens.draw()
        good = says(201, status="active", token=theirs)
        bad = says(400, code="invalid_code")

        def another_comes(talk: Any) -> None:
            fake_peer.next = [good if refused_first else bad]
            try:
                asking.redeem(fake_peer.url, CODE, callback=False)
            except InvalidCode:
                assert not refused_first
            finally:
                connections.close_all()
            (bad if refused_first else good)(talk)

        fake_peer.next = [another_comes]
        if refused_first:
            with pytest.raises(InvalidCode):
                asking.redeem(fake_peer.url, CODE, callback=False)
        else:
            asking.redeem(fake_peer.url, CODE, callback=False)
        kept = Connection.objects.get()
        assert (kept.status, kept.peer_token) == ("active", theirs)
        kept.delete()

    two(refused_first=True)
    two(refused_first=False)
    ConnectionNotice.objects.all().delete()


def test_a_row_that_is_taken_back_just_then_is_made_anew(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_peer.answer = 500
    with pytest.raises(SiteUnavailable):
        asking.connect(fake_peer.url)
    locked, first = steps.locked, Connection.objects.get()

    def gone(alias: str, pk: Any) -> Any:
        monkeypatch.setattr(steps, "locked", locked)
        Connection.objects.filter(pk=pk).delete()
        return locked(alias, pk)

    monkeypatch.setattr(steps, "locked", gone)
    assert asking_rows.make("sender", fake_peer.url, "", None).pk != first.pk
