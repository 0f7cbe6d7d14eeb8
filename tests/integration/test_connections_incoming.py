"""A site asks for a link: what INCOMING_MODE makes of it, the proof of its address, and answers that got lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connections as databases

from syncsessions.connections import http_endpoint, incoming, issuing, proof, tokens
from syncsessions.exceptions import AlreadyExists, SyncSessionsError
from syncsessions.models import Connection, ConnectionToken
from tests.connection_api import OWN, Api, Caller, refused
from tests.connections import a_connection, history, issued, notices
from tests.staff import put

pytestmark = pytest.mark.usefixtures("links")
on_sqlite = pytest.mark.parametrize("database", ["default"], indirect=True)


def asking(caller: Caller, **more: Any) -> dict[str, Any]:
    """What a sender that knows its own token says."""
    return {"sender_url": caller.url(), "name": "S", "token": caller.offer(), **more}


def the_row() -> Connection:
    found: Connection = Connection.objects.get()
    return found


class TestModes:
    @pytest.mark.parametrize(("mode", "status"), [("auto_accept", "active"), ("require_approval", "pending")])
    def test_make_the_receivers_row(
        self, api: Api, caller: Caller, settings: Any, told: list[dict[str, Any]], mode: str, status: str
    ) -> None:
        put(settings, INCOMING_MODE=mode)
        asked = asking(caller)
        response = api.post("connections", asked)
        assert response.status_code == 201
        assert set(response.said) == {"status", "token"}
        assert response.said["status"] == status
        row = the_row()
        assert (row.name, row.direction, row.site_url, row.status) == ("S", "receiver", asked["sender_url"], status)
        assert (row.asked_here, row.set_by_peer, row.has_callback) == (False, False, True)
        assert row.peer_token == asked["token"]
        assert (row.approved_at is not None) is (status == "active")
        assert (history(row), notices(row)) == ([("", status, True)], [])
        assert [(each["previous"], each["status"], each["by_peer"]) for each in told] == [("", status, True)]
        assert api.get("status", token=response.said["token"]).said["connection"]["status"] == status
        assert ConnectionToken.objects.get(connection=row).token_hash == tokens.digest(response.said["token"])

    def test_approval_is_the_default_and_is_told(self, api: Api, caller: Caller) -> None:
        assert api.post("connections", asking(caller)).said["status"] == "pending"
        row = the_row()
        row.approve()
        assert (row.status, notices(row)) == ("active", [("active", "", 1)])

    def test_a_password_that_is_right_makes_it_active(self, api: Api, caller: Caller, settings: Any) -> None:
        put(settings, INCOMING_MODE="require_password", INCOMING_PASSWORD=make_password("open sesame"))
        response = api.post("connections", asking(caller, password="open sesame"))
        assert (response.status_code, response.said["status"]) == (201, "active")
        assert the_row().approved_at is not None

    @on_sqlite
    @pytest.mark.parametrize("password", ["wrong", "", None, "open sesame ", "OPEN SESAME"])
    def test_one_that_is_not_is_401_and_nobody_is_called(
        self, api: Api, caller: Caller, settings: Any, password: Any
    ) -> None:
        put(settings, INCOMING_MODE="require_password", INCOMING_PASSWORD=make_password("open sesame"))
        response = api.post("connections", asking(caller, password=password))
        assert refused(response) == (401, "invalid_password")
        assert response["WWW-Authenticate"] == "Bearer"
        assert (caller.asked, Connection.objects.count()) == ([], 0)

    @on_sqlite
    @pytest.mark.parametrize(
        "configured", [None, "", "open sesame", "!", pytest.param(make_password(None), id="unusable")]
    )
    def test_without_one_configured_none_is_right(
        self, api: Api, caller: Caller, settings: Any, configured: Any
    ) -> None:
        put(settings, INCOMING_MODE="require_password", INCOMING_PASSWORD=configured)
        for password in ("open sesame", "", "!", None):
            assert refused(api.post("connections", asking(caller, password=password))) == (401, "invalid_password")
        assert caller.asked == []

    @on_sqlite
    def test_elsewhere_a_password_is_not_looked_at(self, api: Api, caller: Caller, settings: Any) -> None:
        put(settings, INCOMING_PASSWORD=make_password("open sesame"))
        assert api.post("connections", asking(caller, password="wrong")).said["status"] == "pending"

    @on_sqlite
    def test_deny_all_denies_and_calls_nobody(self, api: Api, caller: Caller, settings: Any) -> None:
        put(settings, INCOMING_MODE="deny_all", INCOMING_PASSWORD=make_password("open sesame"))
        assert refused(api.post("connections", asking(caller, password="open sesame"))) == (403, "denied")
        assert (caller.asked, Connection.objects.count()) == ([], 0)

    @on_sqlite
    def test_wrong_passwords_are_limited_by_address_and_right_ones_are_not(
        self, api: Api, caller: Caller, settings: Any
    ) -> None:
        right = "open sesame"
        put(settings, INCOMING_MODE="require_password", INCOMING_PASSWORD=make_password(right))
        put(settings, PAIRING_GUESS_RATE="3/h")
        for _each in range(5):
            assert api.post("connections", asking(caller, password=right)).status_code == 201
        for _each in range(3):
            assert refused(api.post("connections", asking(caller, password="wrong"))) == (401, "invalid_password")
        before = len(caller.asked)
        for password in ("wrong", right):
            response = api.post("connections", asking(caller, password=password))
            assert refused(response) == (429, "rate_limited")
            assert int(response["Retry-After"]) > 60
        assert len(caller.asked) == before
        assert Api("198.51.100.8").post("connections", asking(caller, password=right)).status_code == 201


@on_sqlite
class TestRates:
    def test_asking_is_limited_by_address(self, api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_endpoint, "ASKING_RATE", "2/m")
        asked = asking(caller)
        assert refused(api.post("connections/redeem", {"code": "A7X9-K2M4", "name": ""})) == (400, "invalid_code")
        assert api.post("connections", asked).status_code == 201
        for path, body in (("connections", asking(caller)), ("connections/redeem", {"code": "A7X9-K2M4", "name": ""})):
            assert refused(api.post(path, body)) == (429, "rate_limited")
        assert len(caller.asked) == 1
        assert api.get("status").status_code == 200

    def test_junk_spends_none_of_it(self, api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_endpoint, "ASKING_RATE", "1/m")
        for _each in range(5):
            assert api.post("connections", asking(caller, token="x")).status_code == 400
        assert api.post("connections", asking(caller)).status_code == 201


@on_sqlite
class TestProof:
    def test_is_a_call_with_the_token_offered(self, api: Api, caller: Caller) -> None:
        asked = asking(caller, sender_url=caller.url("mounted/here"))
        assert api.post("connections", asked).status_code == 201
        assert caller.asked == [("/mounted/here/api/status", asked["token"])]

    @pytest.mark.parametrize(
        "answer",
        [
            (200, b"{}"),
            (200, b"[]"),
            (200, b"not json"),
            (200, b'{"exists": true}'),
            (200, b'{"connection": {"exists": "true"}}'),
            (200, b'{"connection": {"exists": 1}}'),
            (200, b'{"connection": {"exists": false}}'),
            (200, b'{"connection": [true]}'),
            (201, b'{"connection": {"exists": true}}'),
            (404, b'{"connection": {"exists": true}}'),
            (302, b'{"connection": {"exists": true}}'),
            (500, b'{"connection": {"exists": true}}'),
            (200, b'{"connection": {"exists": true}}' + b" " * 200_000),
        ],
    )
    def test_is_nothing_else_than_exists_true(self, api: Api, caller: Caller, answer: tuple[int, bytes]) -> None:
        caller.answer = answer
        response = api.post("connections", asking(caller))
        assert refused(response) == (400, "invalid_value")
        assert (response.said["key"], Connection.objects.count()) == ("sender_url", 0)

    def test_fails_alike_whatever_is_wrong(self, api: Api, caller: Caller) -> None:
        gone = caller.url().replace("127.0.0.1", "127.0.0.1.invalid")
        said = [
            api.post("connections", asking(caller, token=tokens.draw())).said,
            api.post("connections", asking(caller, sender_url=gone)).said,
            api.post("connections", asking(caller, sender_url="http://127.0.0.1:1/sync")).said,
        ]
        assert said[0]["code"] == "invalid_value"
        assert said[0] == said[1] == said[2]
        assert Connection.objects.count() == 0

    @pytest.mark.parametrize(
        "url", [OWN, "HTTPS://R.example:443/sync/", "https://r.EXAMPLE/sync", " https://r.example/sync"]
    )
    def test_this_site_is_not_its_own_peer(self, api: Api, caller: Caller, url: str) -> None:
        response = api.post("connections", asking(caller, sender_url=url))
        assert refused(response) == (400, "invalid_value")
        assert caller.asked == []

    def test_without_debug_wants_https(self, api: Api, caller: Caller, settings: Any) -> None:
        settings.DEBUG = False
        assert refused(api.post("connections", asking(caller))) == (400, "invalid_value")
        assert caller.asked == []

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254"]
    )
    def test_of_a_private_address_is_not_even_tried(self, api: Api, caller: Caller, settings: Any, host: str) -> None:
        put(settings, ALLOW_PRIVATE_SITE_URLS=False)
        url = caller.url().replace("127.0.0.1", host)
        assert refused(api.post("connections", asking(caller, sender_url=url))) == (400, "invalid_value")
        assert (caller.asked, Connection.objects.count()) == ([], 0)

    def test_one_spelling_for_each_site(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        scheme, _, rest = asked["sender_url"].partition("://")
        assert api.post("connections", {**asked, "sender_url": f" {scheme.upper()}://{rest}/ "}).status_code == 201
        assert the_row().site_url == asked["sender_url"]
        assert refused(api.post("connections", {**asked, "token": caller.offer()})) == (409, "already_exists")


class TestAgain:
    def test_a_site_that_has_a_link_is_409_and_the_row_stays(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        first = api.post("connections", asked).said["token"]
        row = the_row()
        assert refused(api.post("connections", {**asked, "token": caller.offer()})) == (409, "already_exists")
        row.refresh_from_db()
        assert (row.peer_token, row.tokens.count()) == (asked["token"], 1)
        assert api.get("status", token=first).status_code == 200

    def test_a_lost_answer_is_given_anew(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        lost = api.post("connections", asked).said["token"]
        the_row().approve()
        again = api.post("connections", {**asked, "name": "Another name"})
        assert (again.status_code, again.said["status"]) == (201, "active")
        assert again.said["token"] != lost
        row = the_row()
        assert (row.name, row.status, len(history(row))) == ("S", "active", 2)
        assert api.get("status", token=again.said["token"]).status_code == 200
        assert api.get("status", token=lost).status_code == 404
        assert refused(api.post("connections", asked)) == (409, "already_exists")

    def test_it_has_to_be_proven_again(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        api.post("connections", asked)
        caller.known.clear()
        assert refused(api.post("connections", asked)) == (400, "invalid_value")
        assert the_row().tokens.count() == 1

    def test_many_lost_answers_leave_few_tokens(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        for _each in range(20):
            last = api.post("connections", asked).said["token"]
        assert the_row().tokens.count() == issuing.MOST_UNUSED
        assert api.get("status", token=last).status_code == 200

    def test_a_link_that_was_asked_for_here_is_none_of_the_peers(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        row = a_connection("receiver", site_url=asked["sender_url"], peer_token=asked["token"], asked_here=True)
        issued(row)
        assert refused(api.post("connections", asked)) == (409, "already_exists")
        assert row.tokens.count() == 1

    def test_the_other_direction_is_another_link(self, api: Api, caller: Caller) -> None:
        asked = asking(caller)
        a_connection("sender", site_url=asked["sender_url"])
        assert api.post("connections", asked).status_code == 201


def rivals(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What each of so many threads found, or the error's class; all begin at once."""
    begin = threading.Barrier(count)

    def one(number: int) -> Any:
        begin.wait(30)
        try:
            return work(number)
        except SyncSessionsError as error:
            return type(error)
        finally:
            databases.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


class TestRivals:
    def test_of_one_site_make_one_link(
        self, open_site: None, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
    ) -> None:
        monkeypatch.setattr(proof, "prove", lambda *given, **named: None)

        def register(number: int) -> Any:
            asked = incoming.Registration("https://s.example/sync", f"S{number}", tokens.draw())
            return incoming.register(asked)

        found = rivals(8, register)
        assert sum(isinstance(each, incoming.Accepted) for each in found) == 1
        assert found.count(AlreadyExists) == 7
        row = the_row()
        (won,) = (each for each in found if isinstance(each, incoming.Accepted))
        assert row.tokens.get().token_hash == tokens.digest(won.token)
        assert len(history(row)) == 1

    def test_of_one_answer_that_got_lost_are_all_answered(
        self, open_site: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proof, "prove", lambda *given, **named: None)
        asked = incoming.Registration("https://s.example/sync", "S", tokens.draw())
        found = rivals(6, lambda _number: incoming.register(asked))
        assert all(isinstance(each, incoming.Accepted) for each in found)
        assert {each.status for each in found} == {"pending"}
        kept = set(the_row().tokens.values_list("token_hash", flat=True))
        assert {tokens.digest(each.token) for each in found} == kept


@on_sqlite
def test_names_are_one_line_and_never_empty(api: Api, caller: Caller) -> None:
    asked = asking(caller, name=" A\n\tsite\x1b[31m\u202e of  ours ")
    assert api.post("connections", asked).status_code == 201
    assert the_row().name == "A site [31m of ours"
    Connection.objects.all().delete()
    asked = asking(caller, name=" \n")
    assert api.post("connections", asked).status_code == 201
    assert the_row().name == asked["sender_url"].split("/")[2]


@on_sqlite
def test_what_carries_a_secret_does_not_show_it(api: Api, caller: Caller) -> None:
    offered, password = tokens.draw(), tokens.draw()
    for shown in (
        incoming.Registration("https://s.example", "S", offered, password),
        incoming.Redemption(password, "S", None, offered),
        incoming.Accepted("active", offered),
    ):
        assert offered not in repr(shown)
        assert password not in repr(shown)
    response = api.post("connections", asking(caller, token=offered + "!", password=password))
    assert offered not in json.dumps(response.said)
