"""The API under attack: stolen rows, borrowed addresses, replays, junk, and peers that lift what is not theirs."""

from __future__ import annotations

import itertools
import json
import secrets
import socket
import threading
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory
from django.utils import timezone

from syncsessions.connections import http_endpoint, invitations, tokens
from syncsessions.exceptions import AccessRefused, InvalidTransition
from syncsessions.models import Connection, ConnectionInvitation, ConnectionToken
from syncsessions.secrets_at_rest import encrypted
from tests import secrecy
from tests.connection_api import Api, Caller, refused
from tests.connections import a_connection, issued
from tests.live import LiveServer, free_port
from tests.staff import put

pytestmark = [pytest.mark.usefixtures("links"), pytest.mark.parametrize("database", ["default"], indirect=True)]
AUTHENTICATED = [
    ("PATCH", "connection", {"status": "active"}),
    ("DELETE", "connection", None),
    ("POST", "connection/rotate", {"token": "t" * 43}),
]


def is_shut(api: Api, bearer: str) -> None:
    """Nobody gets in by this."""
    response = api.get("status", headers={"Authorization": f"Bearer {bearer}"})
    assert response.status_code in (401, 404)
    for method, path, body in AUTHENTICATED:
        response = api(method, path, body, headers={"Authorization": f"Bearer {bearer}"})
        assert refused(response) == (401, "invalid_token")


class TestStolen:
    def test_rows_are_no_credentials(self, api: Api) -> None:
        row = a_connection(offered_token=encrypted("connections.token", tokens.draw()))
        token = issued(row)
        kept = ConnectionToken.objects.get()
        peers = row.peer_token
        assert peers is not None
        for stolen in (kept.token_hash, row.peer_token_at_rest, row.offered_token, row.site_hash, peers, str(row.pk)):
            is_shut(api, str(stolen))
            is_shut(api, str(stolen)[:43])
        is_shut(api, tokens.digest(kept.token_hash))
        row.refresh_from_db()
        assert row.status == "active"
        assert api.get("status", token=token).status_code == 200

    def test_a_code_and_its_hash_are_no_tokens_and_the_hash_is_no_code(self, api: Api) -> None:
        _invitation, code = invitations.make("Laptop")
        kept = ConnectionInvitation.objects.get().code_hash
        for stolen in (code, kept, kept[:43], code.ljust(43, "A")):
            is_shut(api, stolen)
        for wrong in (kept, kept[:8], kept[:80]):
            assert refused(api.post("connections/redeem", {"code": wrong, "name": ""})) == (400, "invalid_code")

    @pytest.mark.parametrize(("own", "other"), [("sender", "receiver"), ("receiver", "sender")])
    def test_a_token_opens_one_direction_only(self, api: Api, own: str, other: str) -> None:
        url = "https://b.example/sync"
        row, mirror = a_connection(own, site_url=url), a_connection(other, site_url=url)
        token, mirrors = issued(row), issued(mirror)
        assert Connection.objects.authenticate(token, direction=own, address=None) == row
        with pytest.raises(AccessRefused, match="token is not valid"):
            Connection.objects.authenticate(token, direction=other, address=None)
        assert api("DELETE", "connection", token=token).status_code == 200
        mirror.refresh_from_db()
        assert mirror.status == "active"
        assert api.get("status", token=mirrors).said["connection"]["direction"] == other

    def test_a_row_that_is_gone_takes_its_tokens_along(self, api: Api) -> None:
        row = a_connection()
        token = issued(row)
        row.delete()
        is_shut(api, token)


LOCAL = {"suspend": "suspended", "activate": "active"}
SAID = ("active", "suspended")


class TestLifting:
    @pytest.mark.parametrize("asked_here", [True, False])
    @pytest.mark.parametrize("first", [*LOCAL, *SAID])
    def test_a_peer_lifts_its_own_alone_in_every_order(self, api: Api, asked_here: bool, first: str) -> None:
        for rest in itertools.product([*LOCAL, *SAID], repeat=2):
            row = a_connection(status="pending", asked_here=asked_here, rate_limit="")
            token = issued(row)
            setter, was_active = "here", False
            for each in (first, *rest, "active"):
                before = row.status
                if each in LOCAL:
                    try:
                        if each == "suspend":
                            row.suspend()
                        elif before == "pending":
                            row.approve()
                        else:
                            row.reactivate()
                        passed = True
                    except InvalidTransition:
                        passed = False
                else:
                    passed = api.tell(token, each).status_code == 200
                row.refresh_from_db()
                if each == "active" and before in ("pending", "suspended"):
                    approved = was_active or asked_here
                    own = before == "pending" or setter == "peer"
                    assert passed is (approved and own), (first, rest)
                if passed:
                    setter = "here" if each in LOCAL else "peer"
                was_active = was_active or row.status == "active"

    @pytest.mark.parametrize("end", ["revoked", "expired"])
    def test_what_is_final_stays_so(self, api: Api, end: str) -> None:
        row = a_connection(status=end, approved_at=timezone.now(), set_by_peer=True, asked_here=True)
        token = issued(row)
        for status in ("pending", "active", "suspended", "revoked", "expired"):
            assert refused(api.tell(token, status)) == (409, "invalid_transition")
        row.refresh_from_db()
        assert row.status == end

    def test_a_status_query_activates_nothing(self, api: Api) -> None:
        for asked_here in (True, False):
            row = a_connection(status="pending", asked_here=asked_here)
            api.get("status", token=issued(row))
            row.refresh_from_db()
            assert row.status == "pending"

    def test_expired_it_is_not_lifted_by_a_peer_that_is_late(self, api: Api) -> None:
        row = a_connection(expires_at=timezone.now(), approved_at=timezone.now())
        token = issued(row)
        assert refused(api.tell(token, "suspended")) == (409, "invalid_transition")
        row.refresh_from_db()
        assert row.status == "expired"


class TestSquatting:
    def test_an_address_that_is_anothers_is_not_taken(self, api: Api, caller: Caller) -> None:
        body = {"sender_url": caller.url("victim"), "name": "Mallory", "token": tokens.draw()}
        assert refused(api.post("connections", body)) == (400, "invalid_value")
        owners = {**body, "name": "Victim", "token": caller.offer()}
        assert api.post("connections", owners).status_code == 201
        assert refused(api.post("connections", body)) == (400, "invalid_value")
        assert Connection.objects.get().name == "Victim"

    def test_nor_by_a_site_that_leads_on_to_it(self, api: Api, caller: Caller) -> None:
        from http.server import BaseHTTPRequestHandler, HTTPServer

        victim = caller.url("victim")

        class Redirect(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(307)
                self.send_header("Location", f"{victim}/api/status")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_given: Any) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Redirect) as server:
            thread = threading.Thread(target=server.handle_request, daemon=True)
            thread.start()
            url = f"http://127.0.0.1:{server.server_address[1]}/sync"
            body = {"sender_url": url, "name": "Mallory", "token": caller.offer()}
            assert refused(api.post("connections", body)) == (400, "invalid_value")
            thread.join(10)
        assert caller.asked == []

    def test_a_code_does_not_prove_anothers_address(self, api: Api, caller: Caller) -> None:
        _invitation, code = invitations.make("Laptop")
        body = {"code": code, "name": "Mallory", "receiver_url": caller.url("victim")}
        assert refused(api.post("connections/redeem", body)) == (400, "invalid_value")
        assert Connection.objects.count() == 0


class TestReplays:
    def test_of_a_registration(self, api: Api, caller: Caller) -> None:
        body = {"sender_url": caller.url(), "name": "S", "token": caller.offer()}
        token = api.post("connections", body).said["token"]
        assert api.get("status", token=token).status_code == 200
        for _each in range(3):
            assert refused(api.post("connections", body)) == (409, "already_exists")
        assert ConnectionToken.objects.count() == 1

    def test_of_what_a_peer_said_and_took_back(self, api: Api) -> None:
        row = a_connection(approved_at=timezone.now())
        token = issued(row)
        for seq, status in enumerate(("suspended", "active"), start=1):
            assert api.tell(token, status, seq=seq).said == {"status": status}
        assert api.tell(token, "suspended", seq=1).said == {"status": "active"}

    def test_of_a_rotation(self, api: Api) -> None:
        row = a_connection()
        old, offered = issued(row), tokens.draw()
        fresh = api.post("connection/rotate", {"token": offered}, token=old).said["token"]
        assert api.get("status", token=fresh).status_code == 200
        assert refused(api.post("connection/rotate", {"token": tokens.draw()}, token=old)) == (401, "invalid_token")
        row.refresh_from_db()
        assert row.peer_token == offered


class TestBorrowedAddresses:
    def test_a_forwarded_header_opens_no_network(self, api: Api) -> None:
        row = a_connection(ip_allowlist=["192.0.2.0/24"])
        token = issued(row)
        for value in ("192.0.2.1", "192.0.2.1, 198.51.100.7", "198.51.100.7, 192.0.2.1", "[192.0.2.1]:80"):
            headers = {"X-Forwarded-For": value, "X-Real-IP": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
            for method, path, body in AUTHENTICATED:
                assert refused(api(method, path, body, token=token, headers=headers)) == (403, "ip_not_allowed")
        assert row.status == "active"

    def test_behind_a_trusted_proxy_the_last_word_counts(self, api: Api, settings: Any) -> None:
        put(settings, TRUSTED_PROXIES=["198.51.100.0/24"])
        row = a_connection(ip_allowlist=["192.0.2.0/24"])
        token = issued(row)
        body = {"token": tokens.draw()}
        for value, status in (("192.0.2.1, 203.0.113.5", 403), ("junk", 403), ("203.0.113.5, 192.0.2.1", 200)):
            response = api.post("connection/rotate", body, token=token, headers={"X-Forwarded-For": value})
            assert response.status_code == status, value

    def test_none_buys_more_guesses(self, api: Api, caller: Caller, settings: Any) -> None:
        put(settings, INCOMING_MODE="require_password", PAIRING_GUESS_RATE="3/h")
        password = secrecy.keep(f"right {secrets.token_hex(8)}")
        put(settings, INCOMING_PASSWORD=make_password(password))
        body = {"sender_url": caller.url(), "name": "S", "token": caller.offer(), "password": "wrong"}
        found = [
            api.post("connections", body, headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code
            for number in range(5)
        ]
        assert found == [401, 401, 401, 429, 429]
        assert api.post("connections", {**body, "password": password}).status_code == 429
        code = {"code": "A7X9-K2M4", "name": ""}
        assert api.post("connections/redeem", code, headers={"X-Forwarded-For": "203.0.113.77"}).status_code == 429

    def test_none_buys_more_calls(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_endpoint, "ALL_RATE", "3/h")
        found = [
            api.get("status", headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(5)
        ]
        assert found == [200, 200, 200, 429, 429]


class TestHeaders:
    def test_a_token_is_taken_from_the_one_place_only(self, api: Api) -> None:
        token = issued(a_connection())
        for path in (f"status?token={token}", f"status?access_token={token}", f"status?Authorization=Bearer%20{token}"):
            assert "connection" not in api.get(path).said
        api.client.cookies["token"] = token
        headers = {"X-Authorization": f"Bearer {token}", "Proxy-Authorization": f"Bearer {token}", "X-Token": token}
        assert "connection" not in api.get("status", headers=headers).said
        body = {"status": "suspended", "token": token, "access_token": token}
        assert refused(api("PATCH", "connection", body, headers=headers)) == (401, "invalid_token")

    @pytest.mark.parametrize(
        "form",
        [
            "{0}",
            "Bearer{0}",
            "Bearer:{0}",
            "Bearer  \t{0}",
            "Bearer {0}, Bearer {0}",
            "Bearer {0},{0}",
            "Bearer {0} {0}",
            "Bearer {0};",
            'Bearer "{0}"',
            "Bearer token={0}",
            "Bearer {0}=",
            "Bearer {0}\u00a0",
            "Token {0}",
            "Basic {0}",
            "Bearer Bearer {0}",
            "X Bearer {0}",
            "Bearer {0}\x0b",
            "B\u00e9arer {0}",
            "Bearer \uff21{0}",
        ],
    )
    def test_a_bearer_has_one_form(self, api: Api, form: str) -> None:
        row = a_connection()
        given = form.format(issued(row))
        for method, path, body in AUTHENTICATED:
            response = api(method, path, body, HTTP_AUTHORIZATION=given)
            assert refused(response) == (401, "invalid_token")
        response = api.get("status", HTTP_AUTHORIZATION=given)
        assert response.status_code in (401, 404)
        row.refresh_from_db()
        assert row.status == "active"

    def test_case_and_blanks_of_a_token_matter(self, api: Api) -> None:
        token = issued(a_connection())
        for other in {token.swapcase(), token.lower(), token.upper(), token[:-1], token + "A"} - {token}:
            is_shut(api, other)

    def test_two_headers_are_none(self, open_site: None) -> None:
        token = issued(a_connection())
        header = (b"authorization", f"Bearer {token}".encode())
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/sync/api/status",
            "query_string": b"",
            "client": ["198.51.100.7", 4711],
            "server": ["testserver", 80],
            "headers": [header, header],
        }
        from io import BytesIO

        from syncsessions.connections import http

        assert http.status(ASGIRequest(scope, BytesIO())).status_code == 401

    def test_a_host_that_is_not_ours_is_not_in_the_document(self, open_site: None, settings: Any) -> None:
        settings.ALLOWED_HOSTS = ["*"]
        from syncsessions.connections import http

        request = RequestFactory().get("/sync/api/openapi.json", headers={"Host": "evil.example"})
        assert b"evil" not in http.document(request).content


def test_a_form_of_a_foreign_page_does_nothing(api: Api, caller: Caller) -> None:
    """What a browser sends to other sites without asking them first."""
    body = json.dumps({"sender_url": caller.url(), "name": "S", "token": caller.offer()}).encode()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = api.post("connections", body, content_type=content_type, headers={"Origin": "https://evil.example"})
        assert refused(response) == (400, "bad_frame")
    assert caller.asked == []


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_bodies_that_are_cut_slow_or_endless_harm_nobody(kind: Any) -> None:
    port = free_port()
    ours = {"SITE_URL": f"http://127.0.0.1:{port}/sync"}
    env = {"DJANGO_SETTINGS_MODULE": "tests.live_settings", "TEST_LIVE_SYNCSESSIONS": json.dumps(ours)}
    head = "POST /sync/api/connections HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

    def speak(text: str, *more: bytes, close: bool = False) -> tuple[socket.socket, bytes]:
        client = socket.create_connection(("127.0.0.1", port), timeout=30)
        try:
            client.sendall(text.encode())
            for each in more:
                client.sendall(each)
        except OSError:
            pass  # it has heard enough
        if close:
            client.close()
            return client, b""
        try:
            return client, client.recv(65536)
        except OSError:
            return client, b""

    with LiveServer(kind, env=env, port=port) as server:
        slow = socket.create_connection(("127.0.0.1", port), timeout=30)
        slow.sendall(f'{head}Content-Length: 100\r\n\r\n{{"sender_url'.encode())
        for _each in range(5):
            speak(f'{head}Content-Length: 100\r\n\r\n{{"sender_url": "', close=True)
        client, answer = speak(f"{head}Content-Length: 3000000\r\n\r\n", *[b" " * 100_000] * 30)
        assert answer == b"" or b" 413 " in answer.splitlines()[0]
        client.close()
        pieces = [b"8000\r\n" + b" " * 0x8000 + b"\r\n"] * 9
        client, answer = speak(f"{head}Transfer-Encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n")
        assert b" 413 " in answer.splitlines()[0]
        client.close()
        for extra in ("Content-Length: -5\r\n", "Content-Length: 5\r\nContent-Length: 7\r\n", "Content-Length: x\r\n"):
            speak(f"{head}{extra}Connection: close\r\n\r\n{{}}\r\n\r\n", close=True)
        client, answer = speak("GET /sync/api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 200 " in answer.splitlines()[0]
        client.close()
        slow.close()
        assert "A request failed" not in server.log
        assert " 500" not in server.log
