"""Invitations: a code that is good once, for a day, and the link that it makes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections as databases
from django.test.utils import CaptureQueriesContext

from syncsessions import codes
from syncsessions.connections import clock, incoming, invitations, tokens
from syncsessions.exceptions import AccessRefused, AlreadyUsed, InvalidCode
from syncsessions.models import Connection, ConnectionInvitation
from tests.connection_api import OWN, Api, Caller, refused
from tests.connections import a_connection, history, notices
from tests.integration.test_connections_incoming import rivals
from tests.staff import put

pytestmark = pytest.mark.usefixtures("links")
on_sqlite = pytest.mark.parametrize("database", ["default"], indirect=True)


def the_row() -> Connection:
    found: Connection = Connection.objects.get()
    return found


def past(invitation: ConnectionInvitation, **by: int) -> None:
    """Let it have been made so long ago."""
    rows = ConnectionInvitation.objects.filter(pk=invitation.pk)
    rows.update(expires_at=invitation.expires_at - timedelta(**by))


class TestMaking:
    def test_shows_the_code_once_and_keeps_a_keyed_hash(self, links: str) -> None:
        with CaptureQueriesContext(databases[links]) as queries:
            invitation, code = invitations.make("Laptop")
        assert codes.normalise(code) == code
        assert code not in str(queries.captured_queries)
        kept = ConnectionInvitation.objects.get()
        assert kept == invitation
        assert (kept.name, kept.used_at, kept.connection) == ("Laptop", None, None)
        assert kept.expires_at - kept.created_at == timedelta(hours=24)
        assert abs(clock.now(links) - kept.created_at) < timedelta(minutes=1)
        assert len(kept.code_hash) == 64
        assert kept.code_hash not in (tokens.digest(code), tokens.digest(codes.grouped(code)))
        assert code not in f"{invitation!r} {invitation} {vars(invitation)}"

    @on_sqlite
    def test_notes_who_made_it(self) -> None:
        user = User(pk=7)
        assert invitations.make("Laptop", user)[0].created_by_id == 7

    @on_sqlite
    async def test_has_an_async_form(self) -> None:
        invitation, code = await invitations.amake("Laptop")
        assert codes.normalise(code)
        assert await invitations.awithdraw(invitation) is True
        assert await invitations.awithdraw(invitation) is False

    @on_sqlite
    def test_draws_again_where_the_code_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = iter(["AAAAAAAA", "AAAAAAAA", "BBBBBBBB"])
        monkeypatch.setattr(codes, "draw", lambda: next(drawn))
        assert invitations.make("One")[1] == "AAAAAAAA"
        assert invitations.make("Two")[1] == "BBBBBBBB"

    def test_withdrawn_it_is_no_longer_good(self, api: Api) -> None:
        invitation, code = invitations.make("Laptop")
        assert invitations.withdraw(invitation) is True
        assert refused(api.post("connections/redeem", {"code": code, "name": ""})) == (400, "invalid_code")

    def test_redeemed_it_is_not_withdrawn(self, api: Api) -> None:
        invitation, code = invitations.make("Laptop")
        assert api.post("connections/redeem", {"code": code, "name": ""}).status_code == 201
        assert invitations.withdraw(invitation) is False
        assert ConnectionInvitation.objects.count() == 1


class TestRedeeming:
    def test_makes_an_active_link_without_callback(self, api: Api, settings: Any) -> None:
        put(settings, SITE_URL=f"{OWN}/")
        invitation, code = invitations.make("Laptop of Grace")
        response = api.post("connections/redeem", {"code": code, "name": "Laptop"})
        assert response.status_code == 201
        fields = response.said
        assert set(fields) == {"status", "token", "name", "site_url"}
        assert (fields["status"], fields["site_url"], fields["name"]) == ("active", OWN, "r.example")
        row = the_row()
        assert (row.name, row.direction, row.status, row.site_url) == ("Laptop of Grace", "sender", "active", None)
        assert (row.asked_here, row.has_callback, row.is_reachable, row.peer_token) == (False, False, False, None)
        assert row.approved_at is not None
        assert history(row) == [("", "active", True)]
        assert api.get("status", token=fields["token"]).said["connection"]["direction"] == "sender"
        invitation.refresh_from_db()
        assert invitation.used_at is not None
        assert invitation.connection == row
        row.suspend()
        assert notices(row) == []

    @on_sqlite
    def test_a_row_goes_by_what_this_side_calls_it(self, api: Api) -> None:
        for number, (here, there) in enumerate([("Laptop of Grace", ""), ("Laptop of Grace", "vm"), ("", "vm")]):
            _invitation, code = invitations.make(here)
            api.post("connections/redeem", {"code": code, "name": there})
            assert Connection.objects.order_by("-pk")[0].name == (here or there), number

    @on_sqlite
    @pytest.mark.parametrize("spell", [codes.grouped, str.lower, lambda code: f" {code[:4]} \u2013 {code[4:]} "])
    def test_takes_a_code_in_any_spelling(self, api: Api, spell: Any) -> None:
        _invitation, code = invitations.make("Laptop")
        assert api.post("connections/redeem", {"code": spell(code), "name": ""}).status_code == 201

    def test_an_address_is_proven_with_the_token_that_comes_with_it(self, api: Api, caller: Caller) -> None:
        _invitation, code = invitations.make("Laptop")
        url, offered = caller.url("laptop"), caller.offer()
        body = {"code": code, "name": "Laptop", "receiver_url": f"{url}/", "token": offered}
        response = api.post("connections/redeem", body)
        assert response.status_code == 201
        assert caller.asked == [("/laptop/api/status", offered)]
        row = the_row()
        assert (row.site_url, row.has_callback, row.is_reachable, row.peer_token) == (url, True, True, offered)
        assert row.handed_over_at is not None
        row.suspend()
        assert notices(row) == [("suspended", "", 1)]

    def test_without_a_token_the_code_itself_is_presented(self, api: Api, caller: Caller) -> None:
        _invitation, code = invitations.make("Laptop")
        caller.known.add(code)
        body = {"code": codes.grouped(code), "name": "Laptop", "receiver_url": caller.url("laptop")}
        fresh = api.post("connections/redeem", body).said["token"]
        assert caller.asked == [("/laptop/api/status", code)]
        row = the_row()
        assert (row.site_url, row.has_callback, row.is_reachable) == (body["receiver_url"], False, False)
        offered = tokens.draw()
        assert api.post("connection/rotate", {"token": offered}, token=fresh).status_code == 200
        row.refresh_from_db()
        assert (row.peer_token, row.has_callback, row.is_reachable) == (offered, True, True)
        assert row.handed_over_at is not None

    def test_a_token_without_an_address_makes_nobody_reachable(self, api: Api) -> None:
        _invitation, code = invitations.make("Laptop")
        body = {"code": code, "name": "Laptop", "token": tokens.draw()}
        fresh = api.post("connections/redeem", body).said["token"]
        assert the_row().is_reachable is False
        assert api.post("connection/rotate", {"token": tokens.draw()}, token=fresh).status_code == 200
        assert the_row().is_reachable is False

    def test_an_address_that_is_not_proven_leaves_the_code_good(self, api: Api, caller: Caller) -> None:
        invitation, code = invitations.make("Laptop")
        body = {"code": code, "name": "Laptop", "receiver_url": caller.url(), "token": tokens.draw()}
        response = api.post("connections/redeem", body)
        assert (*refused(response), response.said["key"]) == (400, "invalid_value", "receiver_url")
        invitation.refresh_from_db()
        assert (invitation.used_at, Connection.objects.count()) == (None, 0)
        assert api.post("connections/redeem", {"code": code, "name": ""}).status_code == 201

    def test_an_address_with_a_link_leaves_the_code_good(self, api: Api, caller: Caller) -> None:
        invitation, code = invitations.make("Laptop")
        body = {"code": code, "name": "", "receiver_url": caller.url(), "token": caller.offer()}
        a_connection("sender", site_url=body["receiver_url"])
        assert refused(api.post("connections/redeem", body)) == (409, "already_exists")
        invitation.refresh_from_db()
        assert invitation.used_at is None

    @on_sqlite
    def test_this_site_does_not_redeem_its_own(self, api: Api) -> None:
        _invitation, code = invitations.make("Laptop")
        body = {"code": code, "name": "", "receiver_url": f"{OWN}/", "token": tokens.draw()}
        assert refused(api.post("connections/redeem", body)) == (400, "invalid_value")


class TestRefusals:
    def test_of_a_code_that_was_used(self, api: Api, caller: Caller) -> None:
        _invitation, code = invitations.make("Laptop")
        assert api.post("connections/redeem", {"code": code, "name": ""}).status_code == 201
        again = {"code": code, "name": "", "receiver_url": caller.url(), "token": caller.offer()}
        assert refused(api.post("connections/redeem", again)) == (409, "already_used")
        assert (caller.asked, Connection.objects.count()) == ([], 1)

    def test_of_a_code_that_is_a_day_old(self, api: Api) -> None:
        invitation, code = invitations.make("Laptop")
        past(invitation, hours=24)
        assert refused(api.post("connections/redeem", {"code": code, "name": ""})) == (400, "invalid_code")
        past(invitation, hours=23, minutes=59)
        assert api.post("connections/redeem", {"code": code, "name": ""}).status_code == 201

    @on_sqlite
    def test_under_deny_all(self, api: Api, settings: Any, caller: Caller) -> None:
        _invitation, code = invitations.make("Laptop")
        put(settings, INCOMING_MODE="deny_all")
        body = {"code": code, "name": "", "receiver_url": caller.url(), "token": caller.offer()}
        assert refused(api.post("connections/redeem", body)) == (403, "denied")
        assert caller.asked == []

    @on_sqlite
    def test_of_wrong_codes_are_counted_and_then_a_right_one_is_refused_too(
        self, api: Api, settings: Any, caller: Caller
    ) -> None:
        put(settings, PAIRING_GUESS_RATE="3/h")
        for _each in range(5):
            _invitation, code = invitations.make("Laptop")
            assert api.post("connections/redeem", {"code": code, "name": ""}).status_code == 201
            assert refused(api.post("connections/redeem", {"code": code, "name": ""})) == (409, "already_used")
        invitation, code = invitations.make("Laptop")
        for wrong in ("A7X9-K2M4", "no code at all", ""):
            body = {"code": wrong, "name": "", "receiver_url": caller.url(), "token": caller.offer()}
            assert refused(api.post("connections/redeem", body)) == (400, "invalid_code")
        assert refused(api.post("connections/redeem", {"code": code, "name": ""})) == (429, "rate_limited")
        assert caller.asked == []
        assert Api("198.51.100.8").post("connections/redeem", {"code": code, "name": ""}).status_code == 201
        invitation.refresh_from_db()
        assert invitation.used_at is not None

    @on_sqlite
    def test_of_an_address_count_it_by_its_64(self, api: Api, settings: Any) -> None:
        put(settings, PAIRING_GUESS_RATE="2/h")
        body = {"code": "A7X9-K2M4", "name": ""}
        for last in ("1", "2"):
            assert Api(f"2001:db8:7::{last}").post("connections/redeem", body).status_code == 400
        assert Api("2001:db8:7::3").post("connections/redeem", body).status_code == 429
        assert Api("2001:db8:8::3").post("connections/redeem", body).status_code == 400

    def test_a_code_is_found_under_an_older_key(self, api: Api, settings: Any) -> None:
        _invitation, code = invitations.make("Laptop")
        old = settings.SECRET_KEY
        settings.SECRET_KEY = "another"
        assert refused(api.post("connections/redeem", {"code": code, "name": ""})) == (400, "invalid_code")
        settings.SECRET_KEY_FALLBACKS = [old]
        assert api.post("connections/redeem", {"code": code, "name": ""}).status_code == 201


def redeem(code: str) -> Any:
    return incoming.redeem(incoming.Redemption(code, "Laptop"))


class TestRivals:
    def test_of_a_thousand_one_wins(self, open_site: None) -> None:
        _invitation, code = invitations.make("Laptop")

        def some(_number: int) -> list[Any]:
            found: list[Any] = []
            for _each in range(125):
                try:
                    found.append(redeem(code))
                except AlreadyUsed:
                    found.append(AlreadyUsed)
            return found

        found = [each for part in rivals(8, some) for each in part]
        assert len(found) == 1000
        assert found.count(AlreadyUsed) == 999
        assert Connection.objects.count() == 1
        assert the_row().tokens.count() == 1

    def test_one_withdraws_and_one_redeems(self, open_site: None) -> None:
        for _each in range(10):
            invitation, code = invitations.make("Laptop")
            before = Connection.objects.count()
            works = [lambda code=code: redeem(code), lambda it=invitation: invitations.withdraw(it)]
            made, gone = rivals(2, lambda number, works=works: works[number]())
            assert (gone, made) == (True, InvalidCode) or (gone is False and made.status == "active")
            assert Connection.objects.count() == before + (not gone)


@on_sqlite
def test_without_an_address_to_count_by_guesses_are_not_limited(open_site: None, settings: Any) -> None:
    put(settings, PAIRING_GUESS_RATE="1/h")
    for _each in range(3):
        with pytest.raises(InvalidCode):
            redeem("A7X9-K2M4")
    put(settings, INCOMING_MODE="deny_all")
    with pytest.raises(AccessRefused, match="denied"):
        redeem("A7X9-K2M4")
