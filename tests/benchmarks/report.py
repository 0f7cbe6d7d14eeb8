"""The results as a table that needs no explanation beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

MOST_OF_UPSERT = 1.3
LEAST_OF_SESSION = 5.0
MOST_OF_ECHO = 2.0
MOST_IDLE_KB = 45


def report(results: dict[str, Any]) -> str:
    lines = ["Measured on " + " · ".join(f"{name} {value}" for name, value in results["machine"].items())]
    if results["runs"]:
        lines += [
            "",
            "The stash: a slice of 1 KB in ten keys for each of 100 owners; one operation sets one key and commits.",
            "All take turns in short rounds; times are medians of the rounds, ratios medians of each round's ratio.",
        ]
    for run in results["runs"]:
        lines += ["", *_run(run)]
    if results["stores"]:
        lines += ["", *_stores(results["stores"])]
    if results["processes"]:
        lines += ["", *_processes(results["processes"])]
    for each in results["relay"]:
        lines += ["", *_relay(each)]
    if results["idle"]:
        lines += ["", *_idle(results["idle"])]
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


def _stores(found: Iterable[dict[str, Any]]) -> list[str]:
    rows = [
        (
            each["store"],
            f"{each['live']:,}",
            *(f"{rate:,.0f}" for rate in each["rates"].values()),
            "" if each["bytes"] is None else f"{each['bytes']:.0f}",
        )
        for each in found
    ]
    heading = (
        "sync sessions on a store, operations a second",
        "live",
        "create",
        "get",
        "claim",
        "delete",
        "bytes here",
    )
    return _table(heading, rows)


def _processes(found: dict[str, Any]) -> list[str]:
    heading = ("session processes in memory", "per second", "BEAM", "÷ BEAM")
    rows = [_beside_beam(each["name"], each) for each in found["memory"]]
    for fill in found["fills"]:
        rows += [_beside_beam(f"{each['name']} at {fill['live']:,} live", each) for each in fill["rows"]]
    lines = _table(heading, rows)
    weighed = [fill for fill in found["fills"] if fill["bytes"] is not None]
    if weighed:
        each = weighed[-1]
        lines.append(
            f"a session takes {each['bytes']:,.0f} bytes at {each['live']:,} live (BEAM: {each['beam_bytes']:,}), "
            f"{each['bytes'] / each['beam_bytes']:.2f} times as many"
        )
    rivals = ("one counter in memory", "per second", "÷ pykka's")
    against = ("one session on Redis", "per second", "÷ bare")
    if found["pykka"]:
        lines += ["", *_table(rivals, [_beside_first(each) for each in found["pykka"]])]
    if found["redis"]:
        lines += ["", *_table(against, [_beside_first(each) for each in found["redis"]["race"]])]
        trips = found["redis"]["trips"]
        lines.append(
            f"round trips for a dispatch: {trips['alone']:.2f} where this worker applied the last one (aim: 1), "
            f"{trips['by turns']:.2f} where another did (aim: 2)"
        )
    return lines


def _beside_beam(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    beside = ("", "") if row["beam"] is None else (f"{row['beam']:,}", f"{row['ratio']:.2f}")
    return name, f"{row['per_second']:,.0f}", *beside


def _beside_first(timing: dict[str, Any]) -> tuple[str, ...]:
    return timing["name"], f"{timing['per_second']:,.0f}", f"{timing['ratio']:.2f}"


def _relay(found: dict[str, Any]) -> list[str]:
    ways = found["ways"]
    echo = ways["echo"]["p50"]
    rows = [
        (name, f"{each['p50'] * 1e3:.2f}", f"{each['p99'] * 1e3:.2f}", f"{each['p50'] / echo:.2f}")
        for name, each in ways.items()
    ]
    heading = (f"one frame at a time on daphne, {found['layer']}", "p50 ms", "p99 ms", "p50 ÷ echo's")
    return [
        *_table(heading, rows),
        f"a relay until it is acknowledged takes {ways['relay until acknowledged']['p50'] / echo:.2f} times "
        f"a bare echo (aim: at most {MOST_OF_ECHO:.0f})",
    ]


def _idle(found: dict[str, Any]) -> list[str]:
    return [
        f"{found['sessions']:,} idle sessions open on one daphne worker: {found['bytes'] / 1024:.1f} KB each "
        f"(aim: at most {MOST_IDLE_KB}), opened at {found['opened_per_second']:.0f} a second, "
        f"then {100 * found['cpu_share']:.0f} % of a core for leases and looks at users"
    ]


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
