"""The documentation names everything that a user may meet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.dispatch import Signal

from syncsessions import conf, exceptions, signals

ROOT = Path(__file__).resolve().parents[2]
DOCS = "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
SOURCES = "\n".join(path.read_text() for path in (ROOT / "syncsessions").rglob("*.py"))
CHECKS = sorted(set(re.findall(r"syncsessions\.[EW]\d{3}", SOURCES)))
COMMANDS = [name for name, app in get_commands().items() if app == "syncsessions"]
SIGNALS = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
CLASSES = [
    value for value in vars(exceptions).values() if isinstance(value, type) and not value.__name__.startswith("_")
]
ERRORS = [value for value in CLASSES if issubclass(value, exceptions.SyncSessionsError)]
CODES = {value.code for value in ERRORS} | {code for value in ERRORS for code in getattr(value, "messages", {})}


@pytest.mark.parametrize("name", [*sorted(conf.NAMES), *CHECKS, *COMMANDS, *SIGNALS, *sorted(CODES - {"error"})])
def test_it_is_documented(name: str) -> None:
    assert f"`{name}" in DOCS or f"{name}`" in DOCS


def test_there_is_something_to_document() -> None:
    assert len(CHECKS) >= 17
    assert SIGNALS
    assert COMMANDS
    assert len(ERRORS) > 15


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_ci_runs_the_readmes_test_command() -> None:
    commands = re.findall(r"^python3 -m venv .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    assert commands[1].endswith("pytest")
    assert "grep -m1 -E '^python3 -m venv .*pytest$' README.md" in (ROOT / ".ci" / "run").read_text()
