"""The results as a table that needs no explanation beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

MOST_OF_UPSERT = 1.3
LEAST_OF_SESSION = 5.0


def report(machine: dict[str, Any], runs: Iterable[dict[str, Any]]) -> str:
    lines = [
        "The stash, measured",
        " · ".join(f"{name} {value}" for name, value in machine.items()),
        "A slice of 1 KB in ten keys for each of 100 owners; one operation sets one key and commits.",
        "All take turns in short rounds; times are medians of the rounds, ratios medians of each round's ratio.",
    ]
    for run in runs:
        lines += ["", *_run(run)]
    return "\n".join(lines)


def ratios(run: dict[str, Any]) -> dict[str, float]:
    """The two ratios that the stash is held to; against the hand-written upsert it is the fastest one's."""
    writes = run.get("writes", [])
    upserts = [1 / each["ratio"] for each in writes if each["name"].startswith("hand-written")]
    sessions = [1 / each["ratio"] for each in writes if each["name"].startswith("request.session")]
    return {"upsert": 1 / min(upserts), "session": min(sessions)} if upserts and sessions else {}


def _run(run: dict[str, Any]) -> list[str]:
    database = run["database"]
    settled = ", ".join(f"{name} {value}" for name, value in database["settings"].items())
    disk = "" if database["fsync"] is None else f" (an fsync there takes {database['fsync'] * 1e6:.0f} µs)"
    lines = [f"== {database['vendor']} {database['version']} ({settled})", f"   in {database['folder']}{disk}"]
    if run.get("writes"):
        heading = ("one write", "µs", "per second", "time ÷ merge's")
        lines += ["", *_table(heading, [(*_timing(each), f"{1 / each['ratio']:.2f}") for each in run["writes"]])]
        found = ratios(run)
        lines.append(
            f"merge takes {found['upsert']:.2f} times the hand-written upsert (aim: at most {MOST_OF_UPSERT}); "
            f"the session takes {found['session']:.1f} times merge (aim: at least {LEAST_OF_SESSION:.0f})"
        )
        lines += ["", *_table(("around it", "µs", "per second"), [_timing(each) for each in run["around"]])]
    if run.get("lost_writes"):
        heading = ("two requests at once, a key each: pairs that lost one", "pairs", "request.session", "stash")
        rows = [
            (each["case"], str(each["pairs"]), _share(each["session"], each), _share(each["stash"], each))
            for each in run["lost_writes"]
        ]
        lines += ["", *_table(heading, rows)]
    return lines


def _timing(timing: dict[str, Any]) -> tuple[str, str, str]:
    return timing["name"], f"{timing['seconds'] * 1e6:.1f}", f"{1 / timing['seconds']:.0f}"


def _share(lost: int, each: dict[str, Any]) -> str:
    return f"{100 * lost / each['pairs']:.0f} %"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    table = [heading, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in table
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
