"""Sites, staff and strangers who go further than the rules: lent tokens, other spellings, calls that hang, words that
come back."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password

from syncsessions.connections import calls, invitations, proof, tokens
from syncsessions.connections.calls import call
from syncsessions.connections.site_url import canonical
from syncsessions.exceptions import InvalidValue, SiteUnavailable
from syncsessions.models import Connection
from tests.connection_api import OWN, Api, Caller, refused
from tests.connection_staff import INVITE, VIEW, text_of, url
from tests.connections import a_connection, issued
from tests.misbehaving import Site, Talk, misbehaving
from tests.staff import client_of, member, put
from tests.two_sites import LinkedSite, Refused

pytestmark = [pytest.mark.usefixtures("links"), pytest.mark.parametrize("database", ["default"], indirect=True)]


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

    def test_a_peer_that_nobody_can_reach_is_no_proof_for_anybody(self, api: Api) -> None:
        row = a_connection(site_url=None, has_callback=False, peer_token=None)
        answer = api.get("status", token=issued(row), headers={calls.ASKING_SITE: "https://victim.example/sync"})
        assert (answer.status_code, answer.said) == (404, {"exists": False})

    def test_who_proves_an_address_says_who_asks(self, open_site: None) -> None:
        with misbehaving() as site:
            proof.prove(site.url("active"), tokens.draw(), key="sender_url", own=OWN)
            assert site.talks[0].header(calls.ASKING_SITE) == OWN

    def test_what_is_over_at_the_sender_is_registered_no_more(self, api: Api, caller: Caller) -> None:
        """A request that somebody has kept, sent again after both sides have ended the link."""
        for status in ("revoked", "expired"):
            link = {"exists": True, "status": status, "name": "R", "direction": "sender"}
            caller.answer = 200, json.dumps({"connection": link}).encode()
            body = {"sender_url": caller.url(), "name": "S", "token": tokens.draw()}
            assert refused(api.post("connections", body)) == (400, "invalid_value")
        assert not Connection.objects.exists()

    def test_a_site_that_is_asked_does_not_pass_for_the_one_that_asks(self) -> None:
        asked: dict[str, Any] = {}

        class Mallory(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                api = calls.call("POST", b.address, "api/connections", json={**asked, "name": "A"})
                asked["answer"] = api.status, api.fields.get("code")
                body = json.dumps({"status": "pending", "token": tokens.draw()}).encode()
                self.send_response(201)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_given: Any) -> None:
                pass

        with LinkedSite("a") as a, LinkedSite("b") as b, HTTPServer(("127.0.0.1", 0), Mallory) as server:
            threading.Thread(target=server.handle_request, daemon=True).start()
            a.do("connect", url=f"http://127.0.0.1:{server.server_address[1]}/sync")
            assert asked["sender_url"] == a.address
            assert asked["answer"] == (400, "invalid_value")
            assert b.told["rows"] == []
            a.do("connect", url=b.address)
            assert b.row["status"] == "pending"
            with pytest.raises(Refused):
                a.do("connect", url=b.address)


class TestSpellings:
    """A site that is suspended does not come back as another one."""

    @pytest.mark.parametrize(
        "other",
        [
            "https://b.example./sync",
            "https://B.EXAMPLE.:443/sync",
            "https://b.example/%73ync",
            "https://b。example/sync",
            "https://ｂ.example/sync",
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

    @pytest.mark.parametrize("host", ["[2606:4700::1111%25eth0]", "[::ffff:1.2.3.4%1]", "b.example..", ".", "[1.2.3.4]"])
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

    def test_what_is_answered_at_once_costs_nothing(self, api: Api, hanging: Site, caller: Caller) -> None:
        for number in range(5):
            body = {"sender_url": hanging.url("gone", number), "name": "S", "token": tokens.draw()}
            assert refused(api.post("connections", body)) == (400, "invalid_value")
            right = {"sender_url": caller.url(), "name": "S", "token": caller.offer()}
            assert api.post("connections", right).status_code == 201


def test_what_comes_back_in_a_broken_head_is_not_logged(
    sites_here: None, caplog: pytest.LogCaptureFixture
) -> None:
    token = tokens.draw()

    def echo(talk: Talk) -> None:
        head = talk.head.replace("Authorization: ", "Authorization ").split("\r\n", 1)[1]
        talk.send(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{head}\r\n\r\n{{}}".encode())

    with misbehaving(behave=echo) as site, caplog.at_level(logging.DEBUG):
        try:
            call("GET", site.url("x"), "api/status", token=token, within=5)
        except SiteUnavailable:
            pass
        assert token in site.talks[0].head
    assert not [each for each in caplog.records if token in each.getMessage() + str(each.exc_text or "")]


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
