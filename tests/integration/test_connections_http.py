"""The API by which sites connect: who may speak, in what form, and what each endpoint answers."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import connections as databases
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from syncsessions import __version__
from syncsessions.connections import http, http_endpoint, issuing, soon, tokens
from syncsessions.exceptions import StoreUnavailable
from syncsessions.models import Connection, ConnectionToken
from syncsessions.stores import stores
from tests.connection_api import OWN, Api, refused
from tests.connections import a_connection, history, issued, notices
from tests.staff import GONE, put

ENDPOINTS = [
    ("GET", "status"),
    ("POST", "connections"),
    ("POST", "connections/redeem"),
    ("PATCH", "connection"),
    ("DELETE", "connection"),
    ("POST", "connection/rotate"),
    ("GET", "openapi.json"),
]
BODIES = {
    ("POST", "connections"): {"sender_url": "https://s.example/sync", "name": "S", "token": "t" * 43},
    ("POST", "connections/redeem"): {"code": "A7X9-K2M4", "name": "Laptop"},
    ("PATCH", "connection"): {"status": "suspended"},
    ("POST", "connection/rotate"): {"token": "t" * 43},
}
PATHS = sorted({path for _method, path in ENDPOINTS})

pytestmark = [pytest.mark.usefixtures("links"), pytest.mark.parametrize("database", ["default"], indirect=True)]


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often delivery was begun."""
    begun: list[str] = []
    monkeypatch.setattr(soon, "deliver_soon", lambda: begun.append("soon"))
    return begun


class TestEveryEndpoint:
    @pytest.mark.parametrize(("method", "path"), [*ENDPOINTS, ("PUT", "status"), ("OPTIONS", "connections")])
    @pytest.mark.parametrize("url", [None, ""])
    def test_is_disabled_without_a_site_url(self, api: Api, settings: Any, method: str, path: str, url: Any) -> None:
        put(settings, SITE_URL=url)
        assert refused(api(method, path, BODIES.get((method, path)), token="t" * 43)) == (503, "disabled")

    @pytest.mark.parametrize("path", PATHS)
    def test_takes_its_own_methods_alone(self, api: Api, path: str) -> None:
        own = {method for method, each in ENDPOINTS if each == path}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "get "} - own:
            response = api(method, path, b"{}")
            assert refused(response) == (405, "not_allowed"), method
            assert set(response["Allow"].split(", ")) == own | ({"HEAD"} if "GET" in own else set())

    def test_head_is_get_without_a_body(self, api: Api) -> None:
        response = api("HEAD", "status")
        assert (response.status_code, response.content) == (200, b"")
        assert api("HEAD", "connections").status_code == 405

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-HTTP-Method-Override": "DELETE"},
            {"X-HTTP-Method": "DELETE"},
            {"X-Method-Override": "DELETE"},
        ],
    )
    def test_no_header_and_no_field_makes_it_another_method(self, api: Api, headers: dict[str, str]) -> None:
        row = a_connection()
        token = issued(row)
        body = {"status": "suspended", "_method": "DELETE"}
        assert api("PATCH", "connection?_method=DELETE", body, token=token, headers=headers).status_code == 200
        row.refresh_from_db()
        assert row.status == "suspended"

    @pytest.mark.parametrize(("method", "path"), ENDPOINTS)
    def test_is_never_cached_and_asks_for_no_csrf_token(self, api: Api, method: str, path: str) -> None:
        response = api(method, path, BODIES.get((method, path)))
        assert "no-store" in response["Cache-Control"]
        assert response.status_code in (200, 400, 401)
        assert not response.cookies

    @pytest.mark.parametrize("path", PATHS)
    def test_has_no_trailing_slash(self, api: Api, path: str) -> None:
        assert api.client.get(f"/sync/api/{path}/").status_code == 404

    def test_writes_in_autocommit_whatever_the_project_says(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        for alias in databases:
            monkeypatch.setitem(databases[alias].settings_dict, "ATOMIC_REQUESTS", True)
        seen: list[bool] = []
        plain = stores["default"].hit
        monkeypatch.setattr(
            stores["default"],
            "hit",
            lambda *given: seen.append(any(databases[alias].in_atomic_block for alias in databases)) or plain(*given),
        )
        for method, path in ENDPOINTS:
            api(method, path, BODIES.get((method, path)), token="t" * 43)
        assert seen
        assert not any(seen)

    def test_is_open_under_login_required_middleware(self, api: Api, settings: Any) -> None:
        pytest.importorskip("django.contrib.auth.middleware", reason="no such middleware")
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
        assert api.get("status").status_code == 200

    def test_counts_every_call_of_an_address(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_endpoint, "ALL_RATE", "3/m")
        assert [api.get("status").status_code for _ in range(4)] == [200, 200, 200, 429]
        response = api("PUT", "connections")
        assert refused(response) == (429, "rate_limited")
        assert 1 <= int(response["Retry-After"]) <= 60
        assert response.said["retry_after"] <= int(response["Retry-After"])
        assert Api("198.51.100.8").get("status").status_code == 200

    def test_says_when_a_store_is_gone(self, api: Api, settings: Any) -> None:
        put(settings, STORES={"default": GONE})
        assert refused(api.get("status")) == (503, "store_unavailable")

    @pytest.mark.parametrize(("method", "path"), [each for each in ENDPOINTS if each in BODIES or "DELETE" in each])
    def test_never_answers_a_500_nor_an_inner_text(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str, path: str
    ) -> None:
        token = tokens.draw()

        def fail(*_given: Any, **_named: Any) -> Any:
            raise ValueError(token)

        for name in ("incoming.register", "incoming.redeem", "incoming.rotate", "peer.said", "peer.removed"):
            module, function = name.split(".")
            monkeypatch.setattr(getattr(http, module), function, fail)
        with caplog.at_level(logging.DEBUG):
            response = api(method, path, BODIES.get((method, path)), token=issued(a_connection()))
        assert refused(response) == (503, "store_unavailable")
        assert token not in response.content.decode()
        assert "ValueError" in caplog.text
        assert token not in caplog.text

    def test_speaks_of_no_error_of_the_database(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http.peer, "said", _unavailable)
        assert refused(api.tell(issued(a_connection()), "suspended")) == (503, "store_unavailable")

    def test_tells_a_bearer_how_to_come_again(self, api: Api) -> None:
        for method, path in [("PATCH", "connection"), ("DELETE", "connection"), ("POST", "connection/rotate")]:
            for token in (None, "x", tokens.draw()):
                response = api(method, path, BODIES.get((method, path)), token=token)
                assert refused(response) == (401, "invalid_token")
                assert response["WWW-Authenticate"] == "Bearer"

    def test_urls_have_names(self, open_site: None) -> None:
        assert reverse("syncsessions_connections:status") == "/sync/api/status"
        assert reverse("syncsessions_connections:rotation") == "/sync/api/connection/rotate"


def _unavailable(*_given: Any, **_named: Any) -> Any:
    raise StoreUnavailable


JUNK = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"1",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": 1, "a": 2}',
    b'{"deep": {"a": 1, "a": 1}}',
    b'{"a": "\\u0000"}',
    b'{"a": "\\ud800"}',
    b'{"\\udfff": 1}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"a": "\x00"}',
    b"{} {}",
    b"status=suspended",
]
WITH_BODY = sorted(BODIES)


class TestJunk:
    @pytest.mark.parametrize("body", JUNK, ids=lambda body: repr(body[:20]))
    @pytest.mark.parametrize(("method", "path"), WITH_BODY)
    def test_is_400_before_anything_else(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: bytes
    ) -> None:
        monkeypatch.setattr(http_endpoint.Call, "ask", _never)
        monkeypatch.setattr(Connection.objects, "identify", _never)
        status, code = refused(api(method, path, body, token=tokens.draw()))
        assert status == 400
        assert code in ("bad_frame", "invalid_value")

    @pytest.mark.parametrize("extra", [b"", b" " * 200_000])
    @pytest.mark.parametrize(("method", "path"), WITH_BODY)
    def test_is_413_when_it_is_too_large(self, api: Api, method: str, path: str, extra: bytes) -> None:
        fits = json.dumps(BODIES[method, path]).encode()
        body = fits + b" " * (16 * 1024 + 1 - len(fits)) + extra
        assert refused(api(method, path, body)) == (413, "too_large")
        assert api(method, path, body[: 16 * 1024]).status_code in (400, 401)

    def test_is_read_no_further(self, open_site: None) -> None:
        class Endless(io.BytesIO):
            taken = 0

            def read(self, size: Any = -1) -> bytes:
                assert size > 0
                self.taken += size
                return b" " * size

        for length, most in (("999999999", 0), ("20000", 0), ("16384", 16385)):
            body = Endless()
            environ = RequestFactory().post("/sync/api/connections").environ
            environ |= {"CONTENT_LENGTH": length, "CONTENT_TYPE": "application/json", "wsgi.input": body}
            response = http.registration(WSGIRequest(environ))
            assert response.status_code == (413 if most == 0 else 400)
            assert body.taken <= most

    def test_that_is_cut_short(self, open_site: None) -> None:
        class Cut(io.BytesIO):
            def read(self, size: Any = -1) -> bytes:
                raise OSError("the client went away")

        environ = RequestFactory().post("/sync/api/connections").environ
        environ |= {"CONTENT_LENGTH": "100", "CONTENT_TYPE": "application/json", "wsgi.input": Cut()}
        response = http.registration(WSGIRequest(environ))
        assert response.status_code == 400
        assert json.loads(response.content)["code"] == "bad_frame"

    @pytest.mark.parametrize(
        "content_type",
        [
            "",
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "application/json; charset=utf-7",
            "application/json; charset=latin-1",
            "application/json; charset=rot13",
            "application/jsonx",
        ],
    )
    def test_is_whatever_is_no_utf_8_json(self, api: Api, content_type: str) -> None:
        fields = BODIES["PATCH", "connection"]
        row = a_connection()
        token = issued(row)
        for body in (json.dumps(fields).encode(), json.dumps(fields).encode("utf-16")):
            response = api("PATCH", "connection", body, token=token, content_type=content_type)
            assert refused(response) == (400, "bad_frame")
        row.refresh_from_db()
        assert row.status == "active"

    @pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=UTF-8"])
    def test_is_no_utf_8_json(self, api: Api, content_type: str) -> None:
        response = api.tell(issued(a_connection()), "suspended", reason="\u00fc")
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("method", "path", "field", "values"),
        [
            (
                "POST",
                "connections",
                "sender_url",
                [None, 1, [], "", "s.example", "ftp://s.example", "https://" + "a" * 500],
            ),
            ("POST", "connections", "name", [None, 1, True, ["S"], "n" * 101]),
            (
                "POST",
                "connections",
                "token",
                [None, 1, "", "t" * 42, "t" * 44, "t" * 42 + "=", "t" * 42 + "\n", "ü" * 43],
            ),
            ("POST", "connections", "password", [1, [], "p" * 1001]),
            ("POST", "connections/redeem", "code", [None, 12345678, ["A7X9-K2M4"], "x" * 81]),
            ("POST", "connections/redeem", "receiver_url", [1, "", "laptop"]),
            ("POST", "connections/redeem", "token", [1, "", "t" * 42]),
            ("POST", "connections/redeem", "name", [None, {}, "n" * 101]),
            ("PATCH", "connection", "status", [None, "", "Active", "paused", 1, ["active"], True]),
            ("PATCH", "connection", "reason", [1, []]),
            ("PATCH", "connection", "seq", [-1, 2**63, True, False, 1.5, 1e300, "1", [1]]),
            ("POST", "connection/rotate", "token", [None, "", "t" * 42, 1]),
        ],
    )
    def test_is_a_field_that_is_not_as_it_has_to_be(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, method: str, path: str, field: str, values: list[Any]
    ) -> None:
        monkeypatch.setattr(http_endpoint.Call, "ask", _never)
        monkeypatch.setattr(Connection.objects, "identify", _never)
        for value in values:
            response = api(method, path, {**BODIES[method, path], field: value}, token=tokens.draw())
            assert refused(response) == (400, "invalid_value"), value
            assert response.said["key"] == field
        if values[0] is None:
            body = {name: value for name, value in BODIES[method, path].items() if name != field}
            assert refused(api(method, path, body, token=tokens.draw())) == (400, "invalid_value")


def _never(*_given: Any, **_named: Any) -> Any:
    raise AssertionError("junk has come this far")


class TestStatus:
    @pytest.mark.parametrize("mode", ["auto_accept", "require_approval", "require_password", "deny_all"])
    def test_says_what_the_site_accepts(self, api: Api, settings: Any, mode: str) -> None:
        put(settings, INCOMING_MODE=mode)
        assert api.get("status").said == {
            "enabled": True,
            "incoming_mode": mode,
            "password_required": mode == "require_password",
            "version": __version__,
        }

    def test_a_mode_that_there_is_not_lets_nobody_in(self, api: Api, settings: Any) -> None:
        put(settings, INCOMING_MODE="auto-accept")
        assert api.get("status").said["incoming_mode"] == "deny_all"
        assert refused(api.post("connections", BODIES["POST", "connections"])) == (403, "denied")

    @pytest.mark.parametrize("direction", ["sender", "receiver"])
    @pytest.mark.parametrize("status", ["pending", "active", "suspended", "revoked", "expired"])
    def test_says_how_a_link_stands_and_changes_nothing(self, api: Api, direction: str, status: str) -> None:
        row = a_connection(direction, status, max_downloads=0, ip_allowlist=["192.0.2.0/24"])
        said = api.get("status", token=issued(row)).said
        assert said["connection"] == {"exists": True, "status": status, "name": "B", "direction": direction}
        assert said["incoming_mode"] == "require_approval"
        row.refresh_from_db()
        assert (row.status, history(row)) == (status, [])

    def test_a_link_past_its_time_is_told_as_expired(self, api: Api) -> None:
        row = a_connection(expires_at=timezone.now())
        assert api.get("status", token=issued(row)).said["connection"]["status"] == "expired"
        row.refresh_from_db()
        assert row.status == "active"

    def test_an_unknown_token_is_404(self, api: Api) -> None:
        a_connection()
        for token in (tokens.draw(), "nonsense", "t" * 43, "x" * 5000):
            response = api.get("status", token=token)
            assert (response.status_code, response.said) == (404, {"exists": False})

    @pytest.mark.parametrize("given", ["Basic dTpw", "Bearer", "Bearer ", "bearer", "Token x", "", "Digest a=b"])
    def test_what_is_no_bearer_says_nothing_of_a_link(self, api: Api, given: str) -> None:
        response = api.get("status", headers={"Authorization": given})
        assert refused(response) == (401, "invalid_token")


class TestAuthenticatedCalls:
    def test_count_against_the_links_own_rate(self, api: Api) -> None:
        row, other = a_connection(rate_limit="2/m"), a_connection()
        token = issued(row)
        assert [api.get("status", token=token).status_code for _ in range(2)] == [200, 200]
        for response in (
            Api("203.0.113.9").get("status", token=token),
            api.tell(token, "suspended"),
            api("DELETE", "connection", token=token),
            api.post("connection/rotate", {"token": tokens.draw()}, token=token),
        ):
            assert refused(response) == (429, "rate_limited")
            assert int(response["Retry-After"]) > 0
        assert api.get("status", token=issued(other)).status_code == 200
        row.refresh_from_db()
        assert row.status == "active"

    def test_without_a_rate_are_not_counted(self, api: Api) -> None:
        token = issued(a_connection(rate_limit=""))
        assert {api.get("status", token=token).status_code for _ in range(70)} == {200}

    def test_are_noted_on_the_row(self, api: Api) -> None:
        row = a_connection()
        token = issued(row)
        api.get("status", token=tokens.draw())
        row.refresh_from_db()
        assert row.last_connected_at is None
        api.get("status", token=token)
        row.refresh_from_db()
        assert row.last_connected_at is not None
        assert abs((timezone.now() - row.last_connected_at).total_seconds()) < 60

    def test_are_a_sign_that_the_peer_is_back(self, api: Api, delivered: list[str]) -> None:
        row, other = a_connection(), a_connection()
        token = issued(row)
        other.suspend()
        delivered.clear()
        api.get("status", token=token)
        assert delivered == []
        row.suspend()
        delivered.clear()
        api.get("status", token=token)
        assert delivered == ["soon"]

    def test_go_on_where_that_fails(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_endpoint, "_has_notices", _never)
        assert api.get("status", token=issued(a_connection())).status_code == 200

    @pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
    def test_name_their_scheme_in_any_case(self, api: Api, scheme: str) -> None:
        token = issued(a_connection())
        assert api.get("status", headers={"Authorization": f"{scheme}{token}"}).status_code == 200


class TestPatch:
    def test_mirrors_the_peers_status(self, api: Api, told: list[dict[str, Any]]) -> None:
        row = a_connection("receiver", approved_at=timezone.now())
        token = issued(row)
        assert api.tell(token, "suspended", reason="Maintenance\x1b[31m\r\n now", seq=3).said == {"status": "suspended"}
        row.refresh_from_db()
        assert (row.status, row.set_by_peer, row.suspended_reason) == ("suspended", True, "Maintenance [31m now")
        assert (notices(row), history(row)) == ([], [("active", "suspended", True)])
        assert api.tell(token, "active", seq=4).said == {"status": "active"}
        assert [(each["previous"], each["status"], each["by_peer"]) for each in told] == [
            ("active", "suspended", True),
            ("suspended", "active", True),
        ]

    def test_a_long_reason_is_cut_and_costs_nobody_the_step(self, api: Api) -> None:
        row = a_connection()
        assert api.tell(issued(row), "suspended", reason="r" * 2000, seq=0).said == {"status": "suspended"}
        row.refresh_from_db()
        assert row.suspended_reason == "r" * 500

    def test_an_old_seq_answers_200_and_does_nothing(self, api: Api) -> None:
        row = a_connection(approved_at=timezone.now())
        token = issued(row)
        assert api.tell(token, "suspended", seq=7).status_code == 200
        for seq in (1, 6, 7):
            assert api.tell(token, "revoked", seq=seq).said == {"status": "suspended"}
        row.refresh_from_db()
        assert (row.status, row.heard_seq) == ("suspended", 7)
        assert api.tell(token, "active", seq=2**63 - 1).said == {"status": "active"}
        assert api.tell(token, "active", seq=2**63 - 1).status_code == 200

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            ("active", "active"),
            ("active", "pending"),
            ("pending", "expired"),
            ("pending", "active"),
            ("suspended", "active"),
            ("suspended", "expired"),
            ("revoked", "active"),
            ("expired", "revoked"),
        ],
    )
    def test_what_is_illegal_is_409(self, api: Api, status: str, said: str) -> None:
        row = a_connection(status=status)
        response = api.tell(issued(row), said)
        assert refused(response) == (409, "invalid_transition")
        assert response.said["status"] == status
        row.refresh_from_db()
        assert (row.status, history(row)) == (status, [])

    def test_passes_a_link_that_is_not_active_but_keeps_the_network(self, api: Api) -> None:
        row = a_connection(status="suspended", set_by_peer=True, ip_allowlist=["192.0.2.0/24"], max_downloads=0)
        row.approved_at = timezone.now()
        row.save()
        token = issued(row)
        for body, method in (({"status": "active"}, "PATCH"), (None, "DELETE")):
            assert refused(api(method, "connection", body, token=token)) == (403, "ip_not_allowed")
        near = Api("192.0.2.77")
        assert near.tell(token, "active").said == {"status": "active"}
        assert near("DELETE", "connection", token=token).said == {"status": "revoked"}


class TestDelete:
    @pytest.mark.parametrize("direction", ["sender", "receiver"])
    @pytest.mark.parametrize("status", ["pending", "active", "suspended"])
    def test_revokes_and_keeps_the_row(self, api: Api, direction: str, status: str) -> None:
        row = a_connection(direction, status)
        token = issued(row)
        for _again in range(2):
            assert api("DELETE", "connection", token=token).said == {"status": "revoked"}
        row.refresh_from_db()
        assert (row.status, row.set_by_peer) == ("revoked", True)
        assert (notices(row), history(row)) == ([], [(status, "revoked", True)])

    def test_leaves_what_has_expired(self, api: Api) -> None:
        row = a_connection(status="expired")
        assert api("DELETE", "connection", token=issued(row)).said == {"status": "expired"}


class TestRotate:
    @pytest.mark.parametrize("direction", ["sender", "receiver"])
    def test_changes_both_tokens(self, api: Api, direction: str) -> None:
        row = a_connection(direction)
        old, offered = issued(row), tokens.draw()
        fresh = api.post("connection/rotate", {"token": offered}, token=old).said["token"]
        assert tokens.is_token(fresh)
        row.refresh_from_db()
        assert row.peer_token == offered
        assert offered not in row.peer_token_at_rest
        for _again in range(2):
            assert api.get("status", token=old).status_code == 200
        assert api.get("status", token=fresh).status_code == 200
        assert api.get("status", token=old).status_code == 404
        assert api.get("status", token=fresh).status_code == 200

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"status": "pending"}, "not_active"),
            ({"status": "suspended"}, "not_active"),
            ({"status": "revoked"}, "not_active"),
            ({"expires_at": timezone.now()}, "expired"),
            ({"max_downloads": 0}, "download_limit"),
            ({"max_records_total": 0}, "record_limit"),
            ({"ip_allowlist": ["192.0.2.0/24"]}, "ip_not_allowed"),
        ],
    )
    def test_stands_under_the_gate(self, api: Api, fields: dict[str, Any], code: str) -> None:
        row = a_connection(**fields)
        kept = row.peer_token_at_rest
        response = api.post("connection/rotate", {"token": tokens.draw()}, token=issued(row))
        assert refused(response) == (403, code)
        row.refresh_from_db()
        assert row.peer_token_at_rest == kept

    def test_waits_for_a_rotation_of_this_side(self, api: Api) -> None:
        row = a_connection()
        token = issued(row)
        offered = tokens.draw()
        issuing.keep("default", row, offered, offered=True)
        body = {"token": tokens.draw()}
        assert refused(api.post("connection/rotate", body, token=token)) == (409, "invalid_transition")
        assert api.post("connection/rotate", body, token=offered).status_code == 200

    def test_answers_that_get_lost_never_lock_the_peer_out(self, api: Api) -> None:
        row = a_connection(rate_limit="")
        token = issued(row)
        for _lost in range(30):
            fresh = api.post("connection/rotate", {"token": tokens.draw()}, token=token).said["token"]
        assert ConnectionToken.objects.filter(connection=row).count() <= 10
        assert api.get("status", token=token).status_code == 200
        assert api.get("status", token=fresh).status_code == 200


def test_a_row_that_goes_while_its_peer_speaks_is_an_unknown_token(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = http_endpoint.Call._known

    def known_and_gone(self: Any, find: Any) -> Connection:
        found = plain(self, find)
        Connection.objects.filter(pk=found.pk).delete()
        return found

    monkeypatch.setattr(http_endpoint.Call, "_known", known_and_gone)
    for method, path in [("PATCH", "connection"), ("DELETE", "connection"), ("POST", "connection/rotate")]:
        response = api(method, path, BODIES.get((method, path)), token=issued(a_connection()))
        assert refused(response) == (401, "invalid_token")


def test_the_document_names_this_mount(api: Api, settings: Any) -> None:
    put(settings, SITE_URL=f"{OWN}/".replace("https", "HTTPS"))
    assert api.get("openapi.json").said["servers"] == [{"url": OWN}]
