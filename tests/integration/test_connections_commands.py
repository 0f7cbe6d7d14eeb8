"""The commands of connections, as somebody reads them who has never seen one."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from syncsessions.connections import asking, clock, soon, tokens
from syncsessions.management import secret
from syncsessions.models import Connection, ConnectionInvitation, ConnectionNotice, ConnectionToken
from tests.connections import a_connection
from tests.fake_peer import Peer, says
from tests.misbehaving import free_port
from tests.workers import PATIENCE

pytestmark = pytest.mark.usefixtures("links")


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soon, "deliver_soon", lambda: None)
    monkeypatch.setattr(asking, "PAUSES", (0.0, 0.0, 0.0))


def told(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(f"syncsessions_{command}", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def refused(command: str, *arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        told(command, *arguments)
    return str(caught.value)


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """What is typed where a command asks for it; the questions."""
    asked: list[str] = []
    monkeypatch.setattr(secret, "getpass", lambda prompt: asked.append(prompt) or text)
    monkeypatch.setattr(secret.sys, "stdin", _Terminal())
    return asked


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answered(status: str = "pending") -> Any:
    return says(201, status=status, token=tokens.draw())


def test_connect_says_what_comes_next(fake_peer: Peer) -> None:
    fake_peer.answer = answered()
    text = told("connect", fake_peer.url, "--name", "Archive")
    assert text == (
        f"Linked with {fake_peer.url} as “Archive”.\n"
        "It is pending until somebody approves it at the other site.\n"
        "Keep “manage.py syncsessions_deliver --forever” running, so that each side hears of changes.\n"
    )


def test_connect_with_a_password_that_is_typed(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, "open sesame")
    fake_peer.answer = answered("active")
    assert "It is active: this site will send." in told("connect", fake_peer.url, "--password")
    assert asked == ["The other site's password: "]
    assert fake_peer.heard[0].fields["password"] == "open sesame"


def test_connect_with_a_password_that_is_piped_in(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret.sys, "stdin", io.StringIO("open sesame\nmore"))
    fake_peer.answer = answered("active")
    told("connect", fake_peer.url, "--password")
    told("connect", fake_peer.url + "/2", "--password", "another")
    assert [each.fields["password"] for each in fake_peer.heard] == ["open sesame", "another"]


def test_connect_with_a_code(fake_peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_peer.answer = answered("active")
    text = told("connect", fake_peer.url, "--code", "a7x9-k2m4", "--no-callback")
    assert "It is active: this site will receive." in text
    assert "The other site cannot call here: to hear of changes, run" in text
    asked = typed(monkeypatch, "A7X9-K2M4")
    fake_peer.answer = answered("active")
    text = told("connect", fake_peer.url + "/2", "--code")
    assert asked == ["Code of the invitation: "]
    assert "cannot call here" not in text
    assert [sorted(each.fields) for each in fake_peer.heard] == [
        ["code", "name"],
        ["code", "name", "receiver_url", "token"],
    ]


def test_connect_says_what_is_wrong(fake_peer: Peer, settings: Any) -> None:
    assert "Give --code or --password" in refused("connect", fake_peer.url, "--code", "x", "--password", "y")
    assert "--no-callback goes with --code" in refused("connect", fake_peer.url, "--no-callback")
    assert "(invalid_value)" in refused("connect", "b.example")
    assert "(invalid_code)" in refused("connect", fake_peer.url, "--code", "no code")
    fake_peer.answer = says(401, code="invalid_password")
    assert "wants a password" in refused("connect", fake_peer.url)
    assert "did not answer" in refused("connect", f"http://127.0.0.1:{free_port()}")
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "SITE_URL": None}
    assert "SITE_URL" in refused("connect", fake_peer.url)


def test_deliver_counts(fake_peer: Peer) -> None:
    assert told("deliver") == "Told of 0 changes.\n"
    row = a_connection(site_url=fake_peer.url)
    row.suspend()
    row.reactivate()
    away = a_connection(site_url=f"http://127.0.0.1:{free_port()}")
    away.suspend()
    fake_peer.next = [says(409, code="invalid_transition", message="No.")]
    assert told("deliver") == (
        "Told of 1 change. 1 was refused by the other site: the connection in the admin says why. "
        "1 waits for a site that does not answer: run this again, or with --forever.\n"
    )
    assert told("deliver", "-v", "0") == ""


def test_deliver_says_what_another_process_delivers(fake_peer: Peer, links: str) -> None:
    row, away = a_connection(site_url=fake_peer.url), a_connection(site_url=f"http://127.0.0.1:{free_port()}")
    row.suspend()
    row.reactivate()
    away.suspend()
    ConnectionNotice.objects.filter(connection_pk=row.pk, seq=1).update(leased_until=clock.micros(links) + 60_000_000)
    assert told("deliver") == (
        "Told of 0 changes. 2 are left to other processes, which are delivering them. "
        "1 waits for a site that does not answer: run this again, or with --forever.\n"
    )


@pytest.mark.parametrize("arguments", [["verify"], ["deliver"], ["deliver", "--rotate"]], ids=" ".join)
def test_without_its_tables_a_command_says_so(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        for model in (Connection, ConnectionNotice):
            patched.setattr(model._meta, "db_table", "no_such_table")
        text = refused(*arguments)
    assert text.startswith("The connections cannot be read: The store does not answer")
    assert "no_such_table" in text


def test_deliver_rotates_those_over_which_nobody_can_call(fake_peer: Peer) -> None:
    row = a_connection("receiver", site_url=fake_peer.url, has_callback=False)
    a_connection("receiver", site_url=f"{fake_peer.url}/other")
    fake_peer.next = [says(200, token=(young := tokens.draw()))]
    text = told("deliver", "--rotate")
    assert text == f"“B” ({fake_peer.url}) has new tokens.\nTold of 0 changes.\n"
    assert Connection.objects.get(pk=row.pk).peer_token == young
    assert [each.path for each in fake_peer.heard] == ["api/connection/rotate", "api/status", "api/status"]
    fake_peer.next = [says(401, code="invalid_token")]
    assert "“B”: The other site does not know this connection any more." in refused("deliver", "--rotate")
    assert "without --forever" in refused("deliver", "--rotate", "--forever")


def test_forever_wakes_for_what_is_new_and_ends_when_told(fake_peer: Peer, links: str) -> None:
    row = a_connection(site_url=fake_peer.url)
    late: list[float] = []

    def change_and_end() -> None:
        try:
            for step in (row.suspend, row.reactivate):
                step()
                began = time.monotonic()
                while ConnectionNotice.objects.exists() and time.monotonic() < began + PATIENCE:
                    time.sleep(0.02)
                late.append(time.monotonic() - began)
        finally:
            connections.close_all()
            os.kill(os.getpid(), signal.SIGTERM)
            late.append(-time.monotonic())

    thread = threading.Thread(target=change_and_end)
    before = signal.getsignal(signal.SIGTERM)
    out = io.StringIO()
    starter = threading.Timer(0.5, thread.start)
    starter.start()
    call_command("syncsessions_deliver", "--forever", stdout=out)
    ended = time.monotonic()
    starter.join()
    thread.join()
    assert max(late[:2]) < 10  # a second, and what a loaded machine takes
    assert ended + late[2] < 5
    assert out.getvalue() == "Told of 1 change.\n" * 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_forever_leaves_what_is_under_way_to_others(fake_peer: Peer, links: str) -> None:
    row = a_connection(site_url=fake_peer.url.replace("/sync", "/hang"))
    row.suspend()

    def end_when_it_hangs() -> None:
        try:
            deadline = time.monotonic() + PATIENCE
            while not ConnectionNotice.objects.filter(leased_until__gt=0).exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            connections.close_all()
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end_when_it_hangs)
    thread.start()
    call_command("syncsessions_deliver", "--forever", stdout=io.StringIO())
    thread.join()
    assert ConnectionNotice.objects.get().leased_until == 0


def test_verify(fake_peer: Peer) -> None:
    assert told("verify") == "Asked about 0 connections; 0 were suspended.\n"
    row = a_connection(site_url=fake_peer.url, handed_over_at=timezone.now())
    a_connection(handed_over_at=None)
    fake_peer.answer = 503
    assert told("verify") == "Asked about 1 connection; 0 were suspended.\n"
    fake_peer.answer = says(404, exists=False)
    assert told("verify") == (
        f"“B” ({fake_peer.url}) is suspended: that site knows of no such connection.\n"
        "Asked about 1 connection; 1 was suspended.\n"
    )
    assert Connection.objects.get(pk=row.pk).status == "suspended"


@pytest.fixture
def prunable(links: str) -> Iterator[None]:
    now = timezone.now()
    a_connection(expires_at=now - timedelta(seconds=1))
    a_connection(expires_at=now + timedelta(days=1))
    row = a_connection()
    row.suspend()
    ConnectionNotice.objects.update(created=clock.micros(links) - 31 * 24 * 3600 * 1_000_000)
    row.reactivate()
    for number, (days, used) in enumerate([(31, False), (29, False), (31, True), (1, True)]):
        then = now - timedelta(days=days)
        ConnectionInvitation.objects.create(
            name="", code_hash=str(number), created_at=then, expires_at=then, used_at=then if used else None
        )
    for used, hours in ((None, 2), (now, 1), (None, 0)):
        digest = tokens.digest(tokens.draw())
        ConnectionToken.objects.create(
            connection=row, token_hash=digest, used_at=used, offered=not used, created_at=now - timedelta(hours=hours)
        )
    yield


@pytest.mark.usefixtures("prunable")
def test_prune() -> None:
    what = "1 undelivered notice and 2 old invitations"
    assert f"Would mark 1 connection as expired, and remove {what}." in told("prune", "--dry-run")
    assert (ConnectionInvitation.objects.count(), ConnectionNotice.objects.count()) == (4, 2)
    assert not Connection.objects.filter(status="expired").exists()
    assert f"Marked 1 connection as expired, and removed {what}." in told("prune")
    assert ConnectionInvitation.objects.count() == 2
    assert Connection.objects.filter(status="expired").count() == 1
    assert ConnectionNotice.objects.count() == 2  # the young one, and that of the expiry
    assert ConnectionToken.objects.count() == 2  # of the lost offers that which may still be taken up
    assert "connection" not in told("prune")


def status(*arguments: str) -> Any:
    found = json.loads(told("status", "--json", *arguments))
    return found["connections"], [problem["message"] for problem in found["problems"]]


def test_status_of_a_site_without_any(settings: Any) -> None:
    found, _ = status()
    assert found["counts"]["sender"] == dict.fromkeys(["pending", "active", "suspended", "revoked", "expired"], 0)
    assert (found["waiting"], found["remote"]) == (0, None)
    assert "Connections\n  closed to other sites: SITE_URL is not set\n  none\n" in told("status")


def test_status_counts_and_asks(fake_peer: Peer, links: str) -> None:
    a_connection("receiver", "pending", site_url=fake_peer.url, name="One")
    row = a_connection("sender", site_url=f"http://127.0.0.1:{free_port()}", name="Two")
    a_connection("sender", site_url=None, has_callback=False, name="Three")
    row.suspend()
    ConnectionNotice.objects.update(created=clock.micros(links) - 200_000_000)
    ConnectionInvitation.objects.create(
        name="", code_hash="x", created_at=timezone.now(), expires_at=timezone.now() + timedelta(days=1)
    )
    fake_peer.answer = says(200, connection={"exists": True, "status": "active"})
    found, problems = status("--remote")
    assert found["counts"]["receiver"]["pending"] == found["counts"]["sender"]["suspended"] == 1
    assert (found["waiting"], found["invitations"], found["refused"]) == (1, 1, 0)
    assert 200 <= found["waiting_since"] < 300
    assert [(each["name"], each["status"], each["remote"]) for each in found["remote"]] == [
        ("One", "pending", "active"),
        ("Three", "active", "not_reachable"),
        ("Two", "suspended", "offline"),
    ]
    assert any("waiting to be told to other sites for 3 minutes" in problem for problem in problems)
    text = told("status", "--remote")
    assert "  other sites reach this one at https://here.example/sync, incoming mode require_approval\n" in text
    assert "  sending to 1 active, 1 suspended\n  receiving from 1 pending\n  1 open invitation\n" in text
    assert "  1 change waits to be told, for 2" in text
    assert "here suspended  over there OFFLINE" in text
    assert "here active     cannot be asked from here" in text
    assert fake_peer.heard[0].token is not None
    assert fake_peer.heard[0].token not in text


def test_status_names_requests_that_were_never_answered() -> None:
    a_connection("sender", "pending", asked_here=True, offered_token="kept")
    found, problems = status()
    assert found["unanswered"] == 1
    assert any("1 request for a connection was never answered." in problem for problem in problems)


def test_status_says_what_is_missing(settings: Any) -> None:
    a_connection("sender")
    _, problems = status()
    assert any("SITE_URL'] is not set" in problem for problem in problems)
    settings.SYNCSESSIONS = {
        **settings.SYNCSESSIONS,
        "SITE_URL": "http://here.example",
        "INCOMING_MODE": "require_password",
    }
    settings.ROOT_URLCONF = "tests.integration.test_checks"
    _, problems = status()
    for number in (11, 12, 13):
        assert any(f"syncsessions.W0{number}" in problem for problem in problems), problems
