"""`python -m tests.benchmarks`: the stash against what a project would do without it. Prints a table.

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
from pathlib import Path
from typing import Any

import django

from tests.benchmarks.report import ratios, report

DATABASES = ("sqlite", "postgresql")
MEMORY = Path("/dev/shm")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="rounds of 25 ms for each rival (default: 60)")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of requests in each case (default: 100)")
    parser.add_argument("--only", choices=["writes", "lost-writes"], help="one of the two benchmarks")
    parser.add_argument("--database", choices=DATABASES, action="append", help="one database; may be given again")
    parser.add_argument("--folder", action="append", help="where the databases live; may be given again")
    parser.add_argument("--json", metavar="FILE", help="write the results as JSON too; - for standard output")
    options = parser.parse_args()
    rounds = 0 if options.only == "lost-writes" else options.rounds
    pairs = 0 if options.only == "writes" else options.pairs
    runs = []
    for database in options.database or DATABASES:
        folders = options.folder or _folders()
        if database == "postgresql" and "TEST_POSTGRES_URL" in os.environ:
            folders = folders[:1]
        for folder in folders:
            print(f"measuring {database} in {folder} …", file=sys.stderr)
            runs.append(_run(database, folder, rounds, pairs))
    machine = _machine()
    print(report(machine, runs))
    if options.json:
        text = json.dumps({"machine": machine, "runs": [{**run, "ratios": ratios(run)} for run in runs]}, indent=2)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n")


def _run(database: str, folder: str, rounds: int, pairs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="syncsessions-benchmarks-", dir=folder) as inside:
        Path(inside).chmod(0o755)  # as root, PostgreSQL runs as a user of its own
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
            "BENCHMARK_DATABASE": database,
            "TMPDIR": inside,
        }
        file = Path(inside) / "results.json"
        command = [sys.executable, "-m", "tests.benchmarks.run", str(rounds), str(pairs), str(file)]
        subprocess.run(command, env=environment, check=True)
        results: dict[str, Any] = json.loads(file.read_text())
    return results


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
