"""`python -m tests.benchmarks`: the stash against what a project would do without it; stores, processes and sockets.

However slow anything is, it does not fail. Each database runs in a process of its own, in throw-away databases, in
memory where there is a file system in memory (there the work is compared, not the disk), and in the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import django

from tests.benchmarks import sockets
from tests.benchmarks.report import ratios, report

DATABASES = ("sqlite", "postgresql")
PARTS = ("writes", "lost-writes", "stores", "processes", "relay", "idle")
FILLS = {"memory": [0, 10_000, 100_000, 1_000_000], "redis": [0, 10_000, 100_000, 1_000_000], "database": [0, 10_000]}
MOST_LIVE = {"stores": 1_000_000, "processes": 100_000}
MEMORY = Path("/dev/shm")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=60,
        help="rounds of 25 ms for each rival (default: 60; processes take 20, stores five)",
    )
    parser.add_argument("--pairs", type=int, default=100, help="pairs of requests in each case (default: 100)")
    parser.add_argument(
        "--most-live", type=int, help="live sessions in a store (default: 1000000; session processes: 100000)"
    )
    parser.add_argument("--frames", type=int, default=3000, help="frames that are relayed (default: 3000)")
    parser.add_argument("--sessions", type=int, default=5000, help="idle sessions on a worker (default: 5000)")
    parser.add_argument("--only", choices=PARTS, action="append", help="one of the benchmarks; may be given again")
    parser.add_argument("--database", choices=DATABASES, action="append", help="one database; may be given again")
    parser.add_argument("--folder", action="append", help="where the databases live; may be given again")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too; - for standard output")
    options = parser.parse_args()
    results = {"machine": _machine(), **_measure(options, options.only or PARTS)}
    print(report(results))
    if options.json:
        text = json.dumps(results, indent=2)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n")


def _measure(options: argparse.Namespace, parts: Sequence[str]) -> dict[str, Any]:
    results: dict[str, Any] = {"runs": [], "stores": [], "processes": None, "relay": [], "idle": None}
    for database, folder in _places(options) if {"writes", "lost-writes"} & set(parts) else []:
        _say(f"measuring {database} in {folder} …")
        counts = [options.rounds if "writes" in parts else 0, options.pairs if "lost-writes" in parts else 0]
        run = _process("run", folder, database, *map(str, counts))
        results["runs"].append({**run, "ratios": ratios(run)})
    for store, fills in FILLS.items() if "stores" in parts else ():
        _say(f"measuring the {store} store …")
        wanted = sorted({min(fill, _most_live(options, "stores")) for fill in fills})
        results["stores"] += _process("stores", _folders()[0], "sqlite", store, json.dumps(wanted), str(options.rounds))
    if "processes" in parts:
        _say("measuring session processes …")
        counts = [_most_live(options, "processes"), options.rounds]
        results["processes"] = _process("processes", _folders()[0], "sqlite", *map(str, counts))
    if "relay" in parts:
        _say("measuring relays …")
        results["relay"] = sockets.relay(options.frames)
    if "idle" in parts:
        _say(f"opening {options.sessions} sessions …")
        results["idle"] = sockets.idle(options.sessions, min(10.0, options.rounds))
    return results


def _most_live(options: argparse.Namespace, part: str) -> int:
    return MOST_LIVE[part] if options.most_live is None else int(options.most_live)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _places(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for database in options.database or DATABASES:
        folders = options.folder or _folders()
        if database == "postgresql" and "TEST_POSTGRES_URL" in os.environ:
            folders = folders[:1]
        for folder in folders:
            yield database, folder


def _process(part: str, folder: str, database: str, *arguments: str) -> Any:
    """What one part has found, in a process and with databases of its own."""
    with tempfile.TemporaryDirectory(prefix="syncsessions-benchmarks-", dir=folder) as inside:
        Path(inside).chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "BENCHMARK_DATABASE": database,
            "TMPDIR": inside,
        }
        file = Path(inside) / "results.json"
        subprocess.run(
            [sys.executable, "-m", f"tests.benchmarks.{part}", *arguments, str(file)], env=environment, check=True
        )
        return json.loads(file.read_text())


def _folders() -> list[str]:
    disk = tempfile.gettempdir()
    in_memory = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and MEMORY.stat().st_dev != Path(disk).stat().st_dev
    return [str(MEMORY), disk] if in_memory else [disk]


def _machine() -> dict[str, Any]:
    return {
        "CPUs": os.cpu_count(),
        "machine": platform.machine(),
        "Python": platform.python_version(),
        "Django": django.get_version(),
    }


if __name__ == "__main__":
    main()
