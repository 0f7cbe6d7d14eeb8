"""What the prune removes and what it must leave, on every database; and its command."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from syncsessions.exceptions import StoreUnavailable
from syncsessions.management.commands import syncsessions_prune as command
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice
from syncsessions.stash.prune import Pruned, prune
from tests.workers import PATIENCE, ROOT, environment

DAY = timedelta(days=1)


def age(alias: str, by: timedelta, written: timedelta | None = None, **which: Any) -> None:
    """Make slices look as if last seen (and written) that long ago."""
    now = timezone.now()
    rows = StashSlice.objects.using(alias).filter(**which)
    assert rows.update(last_seen_at=now - by, written_at=now - (by if written is None else written))


def left(alias: str) -> list[tuple[str, int]]:
    return sorted(StashSlice.objects.using(alias).values_list("view", "vsn"))


@pytest.fixture
def stash(session_id: str) -> StashSession:
    return StashSession(session_id)


def test_slices_not_seen_for_the_ttl_go(database: str, stash: StashSession) -> None:
    for view in ("old", "young"):
        stash.merge(view, {"a": 1})
    age(database, 30 * DAY + timedelta(minutes=1), view="old")
    age(database, 30 * DAY - timedelta(minutes=1), view="young")
    assert prune() == Pruned(unseen=1, superseded=0)
    assert left(database) == [("young", 1)]


def test_without_a_ttl_nothing_is_unseen(database: str, stash: StashSession, settings: Any) -> None:
    settings.SYNCSESSIONS = {"STASH_TTL": None}
    stash.merge("shop", {"a": 1})
    age(database, 5000 * DAY)
    assert prune() == Pruned(0, 0)
    assert left(database) == [("shop", 1)]


def test_a_superseded_version_goes_when_unseen_for_a_week(database: str, stash: StashSession) -> None:
    for vsn in (1, 2, 3):
        stash.merge("shop", {"a": vsn}, vsn=vsn)
    age(database, 8 * DAY, vsn=1)
    age(database, 6 * DAY, vsn=2)
    assert prune() == Pruned(unseen=0, superseded=1)
    assert left(database) == [("shop", 2), ("shop", 3)]


def test_after_a_roll_back_the_higher_version_is_the_superseded_one(database: str, stash: StashSession) -> None:
    stash.merge("shop", {"a": 2}, vsn=2)
    stash.merge("shop", {"a": 1}, vsn=1)
    age(database, 9 * DAY, vsn=2)
    age(database, 8 * DAY, vsn=1)
    assert prune() == Pruned(unseen=0, superseded=1)
    assert left(database) == [("shop", 1)]


def test_of_versions_written_at_one_time_the_highest_stays(database: str, stash: StashSession) -> None:
    for vsn in (1, 2):
        stash.merge("shop", {"a": vsn}, vsn=vsn)
    age(database, 8 * DAY)
    assert prune() == Pruned(unseen=0, superseded=1)
    assert left(database) == [("shop", 2)]


def test_other_tabs_views_and_owners_supersede_nothing(database: str, stash: StashSession) -> None:
    stash.merge("shop", {"a": 1})
    age(database, 8 * DAY)
    stash.merge("shop", {"a": 1}, vsn=2, tab="tab")
    stash.merge("other", {"a": 1}, vsn=2)
    StashSession("somebody else").merge("shop", {"a": 1}, vsn=2)
    assert prune() == Pruned(0, 0)


def test_a_slice_that_is_both_is_counted_once(database: str, stash: StashSession) -> None:
    stash.merge("shop", {"a": 1})
    age(database, 40 * DAY)
    stash.merge("shop", {"a": 1}, vsn=2)
    assert prune() == Pruned(unseen=1, superseded=0)


def test_a_dry_run_counts_and_removes_nothing(database: str, stash: StashSession) -> None:
    for number in range(5):
        stash.merge(f"view {number}", {"a": 1})
    age(database, 40 * DAY)
    stash.merge("shop", {"a": 1})
    age(database, 8 * DAY, view="shop")
    stash.merge("shop", {"a": 1}, vsn=2)
    assert prune(dry_run=True, batch=2) == Pruned(unseen=5, superseded=1)
    assert len(left(database)) == 7
    assert prune(batch=2) == Pruned(unseen=5, superseded=1)
    assert left(database) == [("shop", 2)]


@pytest.mark.parametrize("batch", [1, 3, 5, 10, 1000])
def test_batches_reach_every_row_in_short_statements(database: str, stash: StashSession, batch: int) -> None:
    for number in range(10):
        stash.merge(f"view {number}", {"a": 1})
    age(database, 40 * DAY)
    stash.merge("last", {"a": 1})
    with CaptureQueriesContext(connections[database]) as queries:
        assert prune(batch=batch) == Pruned(unseen=10, superseded=0)
    said = [query["sql"].split()[0] for query in queries]
    assert said.count("DELETE") == -(-10 // batch)
    assert set(said) == {"SELECT", "DELETE"}  # no BEGIN: each statement commits by itself
    assert left(database) == [("last", 1)]


def test_it_ends_when_told(database: str, stash: StashSession) -> None:
    for number in range(6):
        stash.merge(f"view {number}", {"a": 1})
    age(database, 40 * DAY)
    answers = iter([False, False, True])
    assert prune(batch=2, stop=lambda: next(answers)) == Pruned(unseen=4, superseded=0)
    assert len(left(database)) == 2


@contextmanager
def before_a_delete(alias: str, do: Callable[[], object]) -> Iterator[None]:
    """Call `do` once, after the victims were chosen and before they go."""
    done: list[object] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("DELETE") and not done:
            done.append(True)
            do()
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(watch):
        yield
    assert done


@pytest.mark.parametrize("age_of_it", [40 * DAY, 8 * DAY], ids=["unseen", "superseded"])
@pytest.mark.parametrize("others_listen", [False, True])
def test_a_slice_that_comes_back_to_life_stays(
    database: str, stash: StashSession, age_of_it: timedelta, others_listen: bool
) -> None:
    def listener(**kwargs: Any) -> None:
        raise AssertionError("rows are not fetched to be removed")

    stash.merge("shop", {"a": 1})
    stash.merge("gone", {"a": 1})
    age(database, age_of_it)
    for view in ("shop", "gone"):
        stash.merge(view, {}, vsn=2)
    if others_listen:  # as a project's audit log does
        post_delete.connect(listener)
    try:
        with before_a_delete(database, lambda: stash.merge("shop", {"b": 2}, vsn=1)):
            assert sum(prune()) == 1
    finally:
        post_delete.disconnect(listener)
    assert stash.get_view("shop", vsn=1) == {"a": 1, "b": 2}
    assert stash.fetch_view("gone", vsn=1) is None


def test_no_write_is_lost_beside_a_prune(database: str) -> None:
    sessions = [StashSession(f"writer {number}") for number in range(4)]
    views = [f"view {number}" for number in range(10)]
    for session in sessions:
        for view in views:
            session.merge(view, {"old": 1})
    age(database, 40 * DAY)
    failures: list[BaseException] = []

    def write(session: StashSession) -> None:
        try:
            for key in ("a", "b", "c"):
                for view in views:
                    session.merge(view, {key: 1})
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=[session]) for session in sessions]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        prune(batch=3)
    for thread in threads:
        thread.join()
    assert failures == []
    for session in sessions:
        for view in views:
            assert session.get_view(view).keys() - {"old"} == {"a", "b", "c"}


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "Pacific/Honolulu"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_hours_are_hours_in_every_time_zone(
    database: str, stash: StashSession, settings: Any, zone: str, use_tz: bool
) -> None:
    settings.TIME_ZONE, settings.USE_TZ = zone, use_tz
    settings.SYNCSESSIONS = {"STASH_TTL": 3600}
    stash.merge("fresh", {"a": 1})
    stash.merge("young", {"a": 1})
    stash.merge("old", {"a": 1})
    age(database, timedelta(minutes=59), view="young")
    age(database, timedelta(minutes=61), view="old")
    assert prune() == Pruned(unseen=1, superseded=0)
    assert left(database) == [("fresh", 1), ("young", 1)]


def output(*arguments: str) -> str:
    out = io.StringIO()
    call_command("syncsessions_prune", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_says_what_it_did(database: str, stash: StashSession) -> None:
    for view in ("shop", "mail"):
        stash.merge(view, {"a": 1})
    age(database, 40 * DAY)
    stash.merge("note", {"a": 1})
    age(database, 8 * DAY, view="note")
    stash.merge("note", {"a": 1}, vsn=2)
    assert output("--dry-run") == "Would remove 2 slices not seen for 30 days and 1 superseded version.\n"
    assert output("--batch-size", "1") == "Removed 2 slices not seen for 30 days and 1 superseded version.\n"
    assert output() == "Removed 0 slices not seen for 30 days and 0 superseded versions.\n"
    assert output("-v", "0") == ""


@pytest.mark.parametrize(
    ("ttl", "said"),
    [(86_400, "1 day"), (7200, "2 hours"), (60, "1 minute"), (90, "90 seconds"), (0.5, "0.5 seconds")],
)
def test_the_command_says_the_ttl_in_fitting_units(settings: Any, ttl: float, said: str) -> None:
    settings.SYNCSESSIONS = {"STASH_TTL": ttl}
    assert command.sentence(Pruned(1, 0), False) == f"Removed 1 slice not seen for {said} and 0 superseded versions."


def test_the_command_says_that_slices_are_kept_for_ever(settings: Any) -> None:
    settings.SYNCSESSIONS = {"STASH_TTL": None}
    expected = "Removed 2 superseded versions. Other slices are kept for ever (STASH_TTL is None)."
    assert command.sentence(Pruned(0, 2), False) == expected


@pytest.mark.parametrize(
    "wrong", [["--batch-size", "0"], ["--batch-size", "10001"], ["--every", "nan"], ["--every", "-1"]]
)
def test_the_command_refuses_senseless_numbers(wrong: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("syncsessions_prune", *wrong)


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch, django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """There is none to prune. What other tests have left open of the database may be closed."""
    monkeypatch.setattr(command.pruning, "prune", lambda **kwargs: (0, 0, 0))
    with django_db_blocker.unblock():
        yield


@pytest.mark.usefixtures("no_connections")
def test_the_command_fails_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**kwargs: Any) -> Pruned:
        raise StoreUnavailable

    monkeypatch.setattr(command, "prune", fail)
    with pytest.raises(CommandError, match="does not answer"):
        call_command("syncsessions_prune")


@pytest.mark.usefixtures("no_connections")
def test_forever_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0

    def fail_once(**kwargs: Any) -> Pruned:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise StoreUnavailable
        os.kill(os.getpid(), signal.SIGTERM)
        return Pruned(4, 0)

    monkeypatch.setattr(command, "prune", fail_once)
    before = signal.getsignal(signal.SIGTERM)
    out, err = io.StringIO(), io.StringIO()
    call_command("syncsessions_prune", "--forever", "--every", "0.01", stdout=out, stderr=err)
    assert "does not answer" in err.getvalue()
    assert out.getvalue() == "Removed 4 slices not seen for 30 days and 0 superseded versions.\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.usefixtures("no_connections")
def test_the_end_may_come_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler runs inside whatever the command is doing, its waiting included."""

    def give_up(*_received: object) -> None:
        raise AssertionError("the command hangs")

    def prune_and_end_soon(**kwargs: Any) -> Pruned:
        signals.append(threading.Timer(delay, os.kill, [os.getpid(), signal.SIGTERM]))
        signals[-1].start()
        return Pruned(0, 0)

    signals: list[threading.Timer] = []
    monkeypatch.setattr(command, "prune", prune_and_end_soon)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        for number in range(300):
            delay = number * 1e-6
            call_command("syncsessions_prune", "--forever", "-v", "0")
            signals[-1].join()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert len(signals) == 300


@contextmanager
def running(alias: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "manage.py", "syncsessions_prune", *arguments],
        cwd=ROOT,
        env=environment(alias, **environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        with process:
            yield process
            process.kill()
    finally:
        watchdog.cancel()


def test_forever_prunes_again_and_ends_cleanly_at_sigterm(database: str, stash: StashSession) -> None:
    stash.merge("shop", {"a": 1})
    age(database, 40 * DAY)
    with running(database, "--forever", "--every", "0.05") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "Removed 1 slice not seen for 30 days and 0 superseded versions.\n"
        stash.merge("shop", {"a": 1})
        age(database, 40 * DAY)
        while "Removed 0 slices" in (line := process.stdout.readline()):
            pass
        assert line == "Removed 1 slice not seen for 30 days and 0 superseded versions.\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_forever_waits_for_an_hour_but_not_with_its_end(database: str) -> None:
    with running(database, "--forever") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Removed 0 slices")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


def test_forever_outlasts_a_database_that_is_away(tmp_path: Any) -> None:
    nowhere = str(tmp_path / "no" / "file")
    with running("default", "--forever", "--every", "0.05", TEST_NAME_DEFAULT=nowhere) as process:
        assert process.stderr is not None
        for _round in range(2):
            assert "does not answer" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
