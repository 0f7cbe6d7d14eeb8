"""The API's description, and whether the API keeps to it: by a fuzzer that reads it, against a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import get_resolver

from syncsessions.connections import http_endpoint, http_fields, openapi, site_url
from syncsessions.exceptions import AccessRefused
from syncsessions.models import Connection
from tests import secrecy
from tests.connection_api import Api
from tests.live import LiveServer, free_port, manage

EXAMPLES = 10  # of each endpoint, beside those that follow from the bounds: a few seconds in all
DEADLINE = 120.0  # seconds
# A site that is not there cannot prove its address, nor is any code right: these are refused, however well put.
UNPROVEN = """
[[operations]]
include-path = ["/api/connections", "/api/connections/redeem"]
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "409"]
"""
A_LINK = """
from syncsessions.connections import issuing
from syncsessions.models import Connection
row = Connection.objects.create(name="B", direction="{}", status="active", rate_limit="")
print(issuing.issue("default", row))
"""


def refs(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["$ref"]] if "$ref" in found else []
        return own + [each for value in found.values() for each in refs(value)]
    return [each for value in found for each in refs(value)] if isinstance(found, list) else []


class TestDocument:
    document = openapi.document("https://r.example/sync")

    def test_describes_every_endpoint(self) -> None:
        mounted = {str(each.pattern) for each in get_resolver("syncsessions.connections.urls").url_patterns}
        assert {f"/{path}" for path in mounted} == set(self.document["paths"])
        assert self.document["servers"] == [{"url": "https://r.example/sync"}]

    def test_its_methods_are_those_that_are_allowed(self, api: Api, db: None) -> None:
        for path, operations in self.document["paths"].items():
            allowed = set(api("PUT", path.removeprefix("/api/"))["Allow"].lower().split(", ")) - {"head"}
            assert allowed == set(operations)

    def test_every_reference_leads_somewhere(self) -> None:
        for ref in refs(self.document):
            found: Any = self.document
            for part in ref.removeprefix("#/").split("/"):
                found = found[part]
        assert json.loads(json.dumps(self.document)) == self.document

    def test_every_code_has_the_status_that_it_is_answered_with(self) -> None:
        for operations in self.document["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    schema = response["content"]["application/json"]["schema"]
                    for code in schema["allOf"][1]["properties"]["code"]["enum"] if "allOf" in schema else ():
                        refused = 403 if code in AccessRefused.messages else 400
                        expected = 405 if status == "405" else http_endpoint.STATUS.get(code, refused)
                        assert int(status) == expected, code

    def test_its_bounds_are_those_of_the_fields(self) -> None:
        post = self.document["paths"]["/api/connections"]["post"]
        fields = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert fields["name"]["maxLength"] == Connection._meta.get_field("name").max_length
        assert fields["sender_url"]["maxLength"] == site_url.LONGEST
        assert re.fullmatch(fields["token"]["pattern"], "t" * 43)
        assert http_fields.LONGEST_REASON == Connection._meta.get_field("suspended_reason").max_length


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[tuple[LiveServer, Callable[..., str]]]:
    """A server, and what a fuzzer says of it."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    port = free_port()
    ours = {"SITE_URL": f"http://127.0.0.1:{port}/sync", "PAIRING_GUESS_RATE": "999999999/s"}
    env = {"DJANGO_SETTINGS_MODULE": "tests.live_settings", "TEST_LIVE_SYNCSESSIONS": json.dumps(ours)}
    config = tmp_path / "schemathesis.toml"
    config.write_text(UNPROVEN)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    limits = ["--seed", "1", "--max-examples", str(EXAMPLES), "--checks", "all", "--continue-on-failure"]

    def fuzz(*options: str) -> str:
        done = subprocess.run(
            [*command, f"{ours['SITE_URL']}/api/openapi.json", *limits, "--warnings", "off", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with LiveServer("uvicorn", env=env, port=port, application="tests.live_connections:application") as server:
        yield server, fuzz


@pytest.mark.parametrize("direction", [None, "sender"])
def test_a_fuzzer_finds_nothing(fuzzed: tuple[LiveServer, Callable[..., str]], direction: str | None) -> None:
    server, fuzz = fuzzed
    options: list[str] = []
    if direction:
        token = manage(server.database, "shell", "-c", A_LINK.format(direction)).split()[-1]
        options = ["--header", f"Authorization: Bearer {secrecy.keep(token)}"]
    found = fuzz(*options)
    assert "No issues found" in found
    assert "6 selected / 6 total" in found
    assert "A request failed" not in server.log
    assert " 500" not in server.log
