"""The benchmarks' command: a table to read and JSON to keep. How fast anything is, no test decides."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_it_prints_a_table_and_writes_json(database: str, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "writes", "--only", "lost-writes"]
    command += ["--database", database, "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, "--rounds", "1", "--pairs", "1", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "request.session: load, set, save" in done.stdout
    (run,) = json.loads(file.read_text())["runs"]
    assert run["database"]["vendor"] == database
    assert set(run["ratios"]) == {"upsert", "session"}
    assert {each["name"].split(",")[0] for each in run["writes"]} >= {
        "merge",
        "hand-written upsert",
        "update_or_create",
    }
    assert all(each["seconds"] > 0 for each in run["writes"] + run["around"])
    assert all(each["stash"] == 0 for each in run["lost_writes"])


def test_stores_relays_and_idle_sessions(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "stores", "--only", "relay", "--only", "idle"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--most-live", "20", "--frames", "50", "--sessions", "60", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())
    assert {(each["store"], each["live"]) for each in results["stores"]} == {
        (store, live) for store in ("memory", "redis", "database") for live in (0, 20)
    }
    assert all(rate > 0 for each in results["stores"] for rate in each["rates"].values())
    assert "a relay until it is acknowledged takes" in done.stdout
    assert "60 idle sessions open on one daphne worker" in done.stdout


def test_session_processes(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "processes"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--most-live", "20", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())["processes"]
    assert [fill["live"] for fill in found["fills"]] == [0, 20]
    rows = found["memory"] + [row for fill in found["fills"] for row in fill["rows"]] + found["pykka"]
    assert all(row["per_second"] > 0 for row in rows)
    assert {"dispatch", "touch", "sweep of 20 expired", "deliveries to 1 subscriber"} <= {row["name"] for row in rows}
    assert all(row["ratio"] == row["per_second"] / row["beam"] for row in found["memory"] if row["beam"])
    assert "session processes in memory" in done.stdout
    if found["redis"] is not None:
        assert found["redis"]["trips"] == {"alone": 1, "by turns": 2}
        assert "one session on Redis" in done.stdout
