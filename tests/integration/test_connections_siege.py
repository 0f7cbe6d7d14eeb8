"""Sites, staff and strangers who go further than the rules: lent tokens, other spellings, calls that hang, words that
come back."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import threading
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password
from django.db import connections as databases
from django.test import Client
from django.utils import timezone

from syncsessions.connections import calls, flow, incoming, invitations, proof, tokens
from syncsessions.connections.calls import call
from syncsessions.connections.site_url import canonical
from syncsessions.exceptions import AccessRefused, InvalidValue, SiteUnavailable
from syncsessions.models import Connection, ConnectionInvitation
from tests.connection_api import OWN, Api, Caller, refused
from tests.connection_staff import INVITE, VIEW, text_of, url
from tests.connections import a_connection, issued
from tests.misbehaving import Site, Talk, misbehaving
from tests.staff import client_of, member, put
from tests.two_sites import LinkedSite

pytestmark = [pytest.mark.usefixtures("links"), pytest.mark.parametrize("database", ["default"], indirect=True)]


CODE = {"code": "A7X9-K2M4", "name": ""}


class TestLentTokens:
    """A token that one site was given proves nothing to another one, in whose hands it may be as well."""

    @pytest.mark.parametrize("direction", ["sender", "receiver"])
    def test_a_link_is_confirmed_to_its_own_peer_alone(self, api: Api, direction: str) -> None:
        row = a_connection(direction, site_url="https://m.example/sync")
        token = issued(row)
        for site in ("https://m.example/sync", "HTTPS://M.example:443/sync/"):
            answer = api.get("status", token=token, headers={calls.ASKING_SITE: site})
            assert answer.said["connection"]["exists"] is True
        for site in ("https://victim.example/sync", "https://m.example/other", "junk", "", "https://m.example/sync?"):
            answer = api.get("status", token=token, headers={calls.ASKING_SITE: site})
            assert (answer.status_code, answer.said) == (404, {"exists": False})
        assert api.get("status", token=token).said["connection"]["exists"] is True

    def test_a_site_may_be_known_by_another_name_of_its_own(self, api: Api, caller: Caller) -> None:
        """localhost, say; Django has judged the Host header by ALLOWED_HOSTS."""
        row = a_connection(site_url="https://m.example/sync")
        asking = {calls.ASKING_SITE: "https://www.m.example/sync https://m.example/sync"}
        assert api.get("status", token=issued(row), headers=asking).said["connection"]["exists"] is True
        asking = {calls.ASKING_SITE: "https://a.example/x https://b.example/x https://m.example/sync"}
        assert api.get("status", token=issued(row), headers=asking).status_code == 404
        body = {"sender_url": caller.url(), "name": "S", "token": caller.offer()}
        assert api.post("connections", body, HTTP_HOST="localhost").status_code == 201
        assert caller.asking.split() == [OWN, "http://localhost/sync"]

    def test_a_peer_that_nobody_can_reach_is_no_proof_for_anybody(self, api: Api) -> None:
        row = a_connection(site_url=None, has_callback=False, peer_token=None)
        answer = api.get("status", token=issued(row), headers={calls.ASKING_SITE: "https://victim.example/sync"})
        assert (answer.status_code, answer.said) == (404, {"exists": False})

    def test_who_proves_an_address_says_who_asks(self, open_site: None) -> None:
        with misbehaving() as site:
            proof.prove(site.url("active"), tokens.draw(), key="sender_url", own=[OWN])
            assert site.talks[0].header(calls.ASKING_SITE) == OWN

    def test_what_is_over_at_the_sender_is_registered_no_more(self, api: Api, caller: Caller) -> None:
        """A request that somebody has kept, sent again after both sides have ended the link."""
        for status in ("revoked", "expired"):
            link = {"exists": True, "status": status, "name": "R", "direction": "sender"}
            caller.answer = 200, json.dumps({"connection": link}).encode()
            body = {"sender_url": caller.url(), "name": "S", "token": tokens.draw()}
            assert refused(api.post("connections", body)) == (400, "invalid_value")
        assert not Connection.objects.exists()

    def test_a_site_that_is_asked_does_not_pass_for_the_one_that_asks(self, sites_here: None) -> None:
        asked: dict[str, Any] = {}

        def pass_on(talk: Talk) -> None:
            asked.update(json.loads(talk.body))
            answer = call("POST", b.address, "api/connections", json={**asked, "name": "A"})
            asked["answer"] = answer.status, answer.fields.get("code")
            talk.answer(201, {"status": "pending", "token": tokens.draw()})

        with LinkedSite("a") as a, LinkedSite("b") as b, misbehaving(behave=pass_on) as mallory:
            a.do("connect", url=mallory.url("sync"))
            assert asked["sender_url"] == a.address
            assert asked["answer"] == (400, "invalid_value")
            assert b.told["rows"] == []
            a.do("connect", url=b.address)
            assert b.row["status"] == "pending"


class TestSpellings:
    """A site that is suspended does not come back as another one."""

    @pytest.mark.parametrize(
        "other",
        [
            "https://b.example./sync",
            "https://B.EXAMPLE.:443/sync",
            "https://b.example/%73ync",
            "https://b。example/sync",
            "https://\uff42.example/sync",
            "https://b.example:0443/sync",
            "https://b.example:/sync",
        ],
    )
    def test_lead_to_one_site(self, other: str) -> None:
        assert canonical(other) == "https://b.example/sync"

    def test_of_a_path_are_one(self) -> None:
        assert canonical("https://b.example/a%2fb%7Ec") == canonical("https://b.example/a%2Fb~c")
        assert canonical("https://b.example/%252e%252e/x") == "https://b.example/%252e%252e/x"

    def test_of_an_address_are_one(self) -> None:
        for other in ("[2606:4700:0:0:0:0:0:1111]", "[2606:4700::0:1111]", "[2606:4700:0000::1111]"):
            assert canonical(f"https://{other}/sync") == "https://[2606:4700::1111]/sync"

    @pytest.mark.parametrize(
        "path",
        ["%2e%2e/x", "a/%2E%2e/x", ".%2e", "%2e", "..;/x", "..;a=b/x", ".;/x", "%2e%2e;/x", "a/..%3b/../x", "a/..;"],
    )
    def test_that_lead_out_of_a_path_are_none(self, path: str) -> None:
        with pytest.raises(InvalidValue):
            canonical(f"https://b.example/{path}")

    @pytest.mark.parametrize("host", ["[2606:4700::1111%25eth0]", "[::ffff:1.2.3.4%1]", "b.example..", "[1.2.3.4]"])
    def test_that_are_none(self, host: str) -> None:
        with pytest.raises(InvalidValue):
            canonical(f"https://{host}/sync")

    def test_a_suspended_peer_is_known_by_each(self, api: Api, caller: Caller, settings: Any) -> None:
        put(settings, INCOMING_MODE="auto_accept")
        site = caller.url("sync")
        row = a_connection("receiver", "active", site_url=site)
        row.suspend()
        host = site.removeprefix("http://").split("/")[0].partition(":")
        for other in (f"http://{host[0]}.:{host[2]}/sync", f"{site[:-4]}%73ync", f"{site[:-4]}s%79nc"):
            body = {"sender_url": other, "name": "S", "token": caller.offer()}
            assert refused(api.post("connections", body)) == (409, "already_exists"), other
        assert list(Connection.objects.values_list("pk", "status")) == [(row.pk, "suspended")]


@pytest.mark.parametrize(("asked_here", "approved"), [*itertools.product([True, False], repeat=2)])
def test_no_word_of_a_peer_leads_from_a_suspension_of_this_side_to_anything_that_passes(
    api: Api, asked_here: bool, approved: bool
) -> None:
    """Whatever it says, in whatever order, by whatever way: told, asked, rotated, removed and asked for once more."""
    words: list[tuple[str, str, Any]] = [("PATCH", "connection", {"status": status}) for status in flow.STATUSES]
    words += [("POST", "connection/rotate", {"token": "t" * 43}), ("GET", "status", None)]
    approved_at = timezone.now() if approved else None
    for first, second in itertools.product(words, repeat=2):
        row = a_connection(asked_here=asked_here, approved_at=approved_at, rate_limit="")
        token = issued(row)
        row.suspend()
        for method, path, body in (first, second, words[1], ("DELETE", "connection", None), words[1]):
            api(method, path, body, token=token)
            row.refresh_from_db()
            assert row.status in ("suspended", "revoked"), (first, second)
            with pytest.raises(AccessRefused, match="not active"):
                Connection.objects.authenticate(token, direction="sender", address=None)


class TestCallsThatHang:
    """A stranger who has this site call one that never answers holds no more of its threads than a few."""

    @pytest.fixture
    def hanging(self, monkeypatch: pytest.MonkeyPatch, open_site: None) -> Any:
        monkeypatch.setattr(calls, "WITHIN", 0.3)
        monkeypatch.setattr(proof, "SLOW", 0.2)
        monkeypatch.setattr(proof, "SLOW_RATE", "3/h")
        with misbehaving() as site:
            yield site

    @staticmethod
    def body(site: Site, number: int) -> dict[str, str]:
        return {"sender_url": site.url("hang", number), "name": "S", "token": tokens.draw()}

    def test_one_address_makes_it_wait_a_few_times(self, api: Api, hanging: Site, caller: Caller) -> None:
        found = [refused(api.post("connections", self.body(hanging, number))) for number in range(5)]
        assert found == [(400, "invalid_value")] * 3 + [(429, "rate_limited")] * 2
        assert len(hanging.talks) == 3
        right = {"sender_url": caller.url(), "name": "S", "token": caller.offer()}
        assert api.post("connections", right).status_code == 429
        assert Api("203.0.113.9").post("connections", right).status_code == 201

    def test_nor_by_a_code(self, api: Api, hanging: Site) -> None:
        _invitation, code = invitations.make("Laptop")
        found = [
            api.post(
                "connections/redeem",
                {"code": code, "name": "", "receiver_url": hanging.url("hang", number), "token": tokens.draw()},
            ).status_code
            for number in range(5)
        ]
        assert found == [400, 400, 400, 429, 429]

    def test_at_once_no_more_either(self, api: Api, hanging: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calls, "WITHIN", 2.0)
        found: list[int] = []

        def ask(number: int) -> None:
            found.append(Api().post("connections", self.body(hanging, number)).status_code)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(found) == [400] * 3 + [429] * 5
        assert len(hanging.talks) == 3

    def test_from_many_addresses_it_calls_so_many_at_once(
        self, api: Api, hanging: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "WITHIN", 2.0)
        monkeypatch.setattr(proof, "_turns", threading.BoundedSemaphore(2))
        found: list[int] = []

        def ask(number: int) -> None:
            found.append(Api(f"203.0.113.{number}").post("connections", self.body(hanging, number)).status_code)

        threads = [threading.Thread(target=ask, args=[number]) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(found) == [400] * 2 + [429] * 4
        assert refused(api.post("connections", self.body(hanging, 7))) == (400, "invalid_value")

    def test_a_site_that_is_right_and_slow_is_slow(
        self, api: Api, hanging: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proof, "SLOW", 0.0)
        found = [
            api.post("connections", {**self.body(hanging, number), "sender_url": hanging.url("active", number)})
            for number in range(5)
        ]
        assert [each.status_code for each in found] == [201, 201, 201, 429, 429]

    def test_what_is_answered_at_once_costs_nothing(self, api: Api, hanging: Site, caller: Caller) -> None:
        for number in range(5):
            body = {"sender_url": hanging.url("gone", number), "name": "S", "token": tokens.draw()}
            assert refused(api.post("connections", body)) == (400, "invalid_value")
            right = {"sender_url": caller.url(), "name": "S", "token": caller.offer()}
            assert api.post("connections", right).status_code == 201


def test_what_comes_back_in_a_broken_head_is_not_logged(sites_here: None, caplog: pytest.LogCaptureFixture) -> None:
    token = tokens.draw()

    def echo(talk: Talk) -> None:
        head = talk.head.replace("Authorization: ", "Authorization ").split("\r\n", 1)[1]
        talk.send(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{head}\r\n\r\n{{}}".encode())

    with misbehaving(behave=echo) as site, caplog.at_level(logging.DEBUG):
        with contextlib.suppress(SiteUnavailable):
            call("GET", site.url("x"), "api/status", token=token, within=5)
        assert token in site.talks[0].head
    assert not [each for each in caplog.records if token in each.getMessage() + str(each.exc_text or "")]


def test_one_stranger_leaves_few_rows(api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a name server has as many sites as it likes."""
    monkeypatch.setattr(incoming, "PROVEN_RATE", "3/h")

    def ask(token: str) -> int:
        body = {"sender_url": caller.url(), "name": "S", "token": token}
        return int(api.post("connections", body).status_code)

    assert [ask(tokens.draw()) for _each in range(5)] == [400] * 5
    assert [ask(caller.offer()) for _each in range(5)] == [201, 201, 201, 429, 429]
    assert Connection.objects.count() == 3


class TestGuesses:
    @pytest.mark.parametrize("way", ["password", "code"])
    def test_all_at_once_and_from_all_over_a_network_are_a_few(self, open_site: None, settings: Any, way: str) -> None:
        put(settings, PAIRING_GUESS_RATE="3/h")
        if way == "password":
            put(settings, INCOMING_MODE="require_password", INCOMING_PASSWORD=make_password("right"))
        body = {"sender_url": "https://s.example/sync", "name": "S", "token": "t" * 43, "password": "wrong"}
        path, asked = ("connections", body) if way == "password" else ("connections/redeem", CODE)
        together, found = threading.Barrier(8), []

        def guess(number: int) -> None:
            together.wait(30)
            found.append(Api(f"2001:db8:0:1:{number:x}::{number:x}").post(path, asked).status_code)
            databases.close_all()

        threads = [threading.Thread(target=guess, args=[number]) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(found) == sorted([401 if way == "password" else 400] * 3 + [429] * 5)


class TestStaff:
    """Who may see connections does not find out what they keep, one letter after the other."""

    @pytest.mark.parametrize(
        "field", ["download_password", "peer_token_at_rest", "offered_token", "tokens__token_hash", "site_hash"]
    )
    def test_what_is_not_shown_is_not_asked_for(self, field: str) -> None:
        row = a_connection(download_password=make_password("x"), offered_token="gAAAA")
        issued(row)
        kept = row.tokens.get().token_hash if "__" in field else getattr(row, field)
        client = client_of(member(VIEW))
        for lookup, value in (("startswith", kept[:3]), ("regex", "."), ("exact", kept), ("gt", "A"), ("in", kept)):
            answer = client.get(url(), {f"{field}__{lookup}": value})
            assert answer.status_code == 400, lookup
        assert client.get(url(), {field: kept}).status_code == 400
        assert client.get(url(), {"approved_by__password__startswith": "p"}).status_code == 400

    def test_the_lists_own_filters_work(self) -> None:
        row = a_connection()
        client = client_of(member(VIEW))
        for filters, shown in (({"status__exact": "active"}, True), ({"direction__exact": "receiver"}, False)):
            assert (str(row.pk) in text_of(client.get(url(), filters))) is shown

    @pytest.mark.parametrize("way", ["invite", "connect", "redeem", "withdraw"])
    def test_a_foreign_page_adds_and_withdraws_nothing(self, open_site: None, way: str) -> None:
        invitations.make("Ann")
        client = Client(enforce_csrf_checks=True)
        client.force_login(member(is_superuser=True))
        fields = {"invite-name": "B", "connect-url": "https://s.example", "redeem-code": "A7X9-K2M4"}
        kept = ConnectionInvitation.objects.get()
        assert client.post(url("add"), {"way": way, "invitation": str(kept.pk), **fields}).status_code == 403
        assert client.get(url("add"), {"way": way, "invitation": str(kept.pk), **fields}).status_code == 200
        assert ConnectionInvitation.objects.get() == kept and not Connection.objects.exists()

    def test_a_code_is_on_its_page_alone(self, open_site: None) -> None:
        client = client_of(member(VIEW, INVITE))
        answer = client.post(url("add"), {"way": "invite", "invite-name": "Ann"})
        code = answer.context["made"]["code"]
        assert code in text_of(answer)
        assert {"no-store", "private"} <= {each.strip() for each in answer["Cache-Control"].split(",")}
        assert answer["Referrer-Policy"] == "same-origin" and answer["X-Frame-Options"] == "DENY"
        everything = repr([*LogEntry.objects.values(), dict(client.session), answer.headers, client.cookies])
        for page in (url("add"), url()):
            everything += text_of(client.get(page))
        assert code not in everything and code.replace("-", "") not in everything
