"""`ViewStash`: what is declared, recovered and saved, on every database."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import RequestFactory, override_settings
from django.utils import timezone

from syncsessions.exceptions import InvalidSessionId, InvalidValue
from syncsessions.signals import stash_recovered
from syncsessions.stash import RECONNECT, SESSION, StashSession, ViewStash
from syncsessions.stash.models import StashSlice

pytestmark = pytest.mark.usefixtures("database")


class ListedStash(ViewStash):
    keys = ["a", "b"]


class TabbedStash(ViewStash):
    view = "tests.tabbed"
    keys = {"theme": SESSION, "draft": RECONNECT}


class Version1(ViewStash):
    view = "tests.versions"
    keys = {"name": SESSION, "draft": RECONNECT}


class Version2(ViewStash):
    view = "tests.versions"
    vsn = 2
    keys = {"first": SESSION, "last": SESSION, "draft": RECONNECT}

    def migrate(self, old_vsn: int, data: dict[str, Any]) -> Mapping[str, Any] | None:
        first, _, last = str(data["name"]).partition(" ")
        return {"first": first, "last": last, "draft": data.get("draft", "none"), "undeclared": old_vsn}


class Version3(ViewStash):
    view = "tests.versions"
    vsn = 3
    keys = ["name"]


class FailingStash(ViewStash):
    view = "tests.versions"
    vsn = 4
    keys = ["name"]

    def migrate(self, old_vsn: int, data: dict[str, Any]) -> Mapping[str, Any] | None:
        raise KeyError("gone")


def page(declared: type[ViewStash], session_id: str, tab: str | None = None) -> ViewStash:
    return declared(StashSession(session_id), tab)


# What is declared


def test_the_default_name_is_the_dotted_path(session_id: str) -> None:
    assert ListedStash.view == f"{__name__}.ListedStash"
    page(ListedStash, session_id).save({"a": 1})
    assert StashSession(session_id).views() == [ListedStash.view]


def test_a_list_means_session_keys() -> None:
    assert ListedStash.lifetimes == {"a": SESSION, "b": SESSION}
    assert TabbedStash.lifetimes == {"theme": SESSION, "draft": RECONNECT}


def test_undeclared_keys_are_neither_saved_nor_recovered(session_id: str) -> None:
    page(ListedStash, session_id).save({"a": 1, "other": {2}})
    stash = StashSession(session_id)
    assert stash.get_view(ListedStash.view) == {"a": 1}
    stash.merge(ListedStash.view, {"other": 3})
    assert page(ListedStash, session_id).recover() == ("recovered", {"a": 1})


def test_a_save_of_undeclared_keys_alone_makes_no_slice(session_id: str) -> None:
    page(ListedStash, session_id).save({"other": 1})
    assert StashSession(session_id).views() == []


def test_only_keys_that_changed_are_written(session_id: str) -> None:
    first, second = page(ListedStash, session_id), page(ListedStash, session_id)
    first.save({"a": 1, "b": 1})
    second.recover()
    second.save({"a": 2, "b": 1})
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": 2, "b": 1}
    third = page(ListedStash, session_id)
    third.recover()
    StashSession(session_id).merge(ListedStash.view, {"b": 9})
    third.save({"a": 2})
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": 2, "b": 9}


# Recovery


def test_statuses(session_id: str) -> None:
    found = page(TabbedStash, session_id).recover()
    assert (found.status, found.values) == ("not_found", {})
    page(TabbedStash, session_id).save({"theme": "dark"})
    found = page(TabbedStash, session_id).recover()
    assert (found.status, found.values) == ("recovered", {"theme": "dark"})


def test_tuples_come_back_as_lists(session_id: str) -> None:
    page(ListedStash, session_id).save({"a": (1, (2,))})
    assert page(ListedStash, session_id).recover().values == {"a": [1, [2]]}
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": [1, [2]]}


def test_a_slice_that_drop_has_emptied_is_recovered_as_empty(session_id: str) -> None:
    page(ListedStash, session_id).save({"a": 1})
    StashSession(session_id).drop(ListedStash.view, ["a"])
    assert page(ListedStash, session_id).recover() == ("recovered", {})


def test_recovered_values_are_the_callers_own(session_id: str) -> None:
    mine: dict[str, Any] = {"a": {"list": [1]}}
    stash = page(ListedStash, session_id)
    stash.save(mine)
    mine["a"]["list"].append(2)
    stash.save(mine)
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": {"list": [1, 2]}}
    again = page(ListedStash, session_id)
    values = again.recover().values
    values["a"]["list"].append(3)
    again.save(values)
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": {"list": [1, 2, 3]}}


def test_recovery_is_told(session_id: str) -> None:
    told: list[tuple[str, str]] = []

    def hear(sender: object, view: str, status: str, duration: float, **kwargs: object) -> None:
        assert 0 <= duration < 60
        told.append((view, status))

    stash_recovered.connect(hear)
    try:
        page(ListedStash, session_id).recover()
    finally:
        stash_recovered.disconnect(hear)
    assert told == [(ListedStash.view, "not_found")]


# RECONNECT keys


def test_the_same_tab_rejoining_finds_its_draft(session_id: str) -> None:
    page(TabbedStash, session_id, "tab-1").save({"theme": "dark", "draft": "Dear"})
    again = page(TabbedStash, session_id, "tab-1").recover(reconnected=True)
    assert again.values == {"theme": "dark", "draft": "Dear"}


def test_a_fresh_visit_clears_the_draft_in_the_store_too(session_id: str) -> None:
    page(TabbedStash, session_id, "tab-1").save({"theme": "dark", "draft": "Dear"})
    assert page(TabbedStash, session_id, "tab-1").recover().values == {"theme": "dark"}
    assert StashSession(session_id).fetch_view(TabbedStash.view, tab="tab-1") is None
    assert page(TabbedStash, session_id, "tab-1").recover(reconnected=True).values == {"theme": "dark"}


def test_a_fresh_visit_clears_every_version_of_the_draft(session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge(TabbedStash.view, {"draft": "old"}, vsn=7, tab="tab-1")
    page(TabbedStash, session_id, "tab-1").recover()
    assert stash.fetch_view(TabbedStash.view, tab="tab-1") is None


def test_without_a_tab_drafts_are_hidden_and_kept(session_id: str) -> None:
    page(TabbedStash, session_id, "tab-1").save({"draft": "Dear"})
    assert page(TabbedStash, session_id).recover() == ("not_found", {})
    assert page(TabbedStash, session_id, "tab-1").recover(reconnected=True).values == {"draft": "Dear"}


def test_what_was_saved_without_a_tab_is_hidden_and_kept_too(session_id: str) -> None:
    page(TabbedStash, session_id).save({"draft": "Dear"})
    assert page(TabbedStash, session_id).recover() == ("not_found", {})
    assert page(TabbedStash, session_id).recover(reconnected=True).values == {"draft": "Dear"}


@pytest.mark.parametrize("reconnected", [False, True])
def test_a_second_tab_never_touches_the_first_ones_draft(session_id: str, reconnected: bool) -> None:
    page(TabbedStash, session_id, "tab-1").save({"theme": "dark", "draft": "first"})
    second = page(TabbedStash, session_id, "tab-2")
    assert second.recover(reconnected).values == {"theme": "dark"}
    second.save({"theme": "light", "draft": "second"})
    second.reset()
    first = page(TabbedStash, session_id, "tab-1").recover(reconnected=True)
    assert first.values == {"draft": "first"}


def test_tabs_are_compared_to_the_letter(session_id: str) -> None:
    for tab in ("tab", "Tab", "tab ", "täb"):
        page(TabbedStash, session_id, tab).save({"draft": tab})
    for tab in ("tab", "Tab", "tab ", "täb"):
        assert page(TabbedStash, session_id, tab).recover(reconnected=True).values == {"draft": tab}


def test_reset_removes_this_pages_rows_of_all_versions(session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge(TabbedStash.view, {"theme": "old"}, vsn=0)
    stash.merge("elsewhere", {"theme": "old"})
    page(TabbedStash, session_id, "tab-2").save({"draft": "other"})
    mine = page(TabbedStash, session_id, "tab-1")
    mine.save({"theme": "dark", "draft": "mine"})
    mine.reset()
    assert mine.recover(reconnected=True) == ("not_found", {})
    assert stash.get_view(TabbedStash.view, tab="tab-2") == {"draft": "other"}
    assert stash.views() == ["elsewhere", TabbedStash.view]
    mine.save({"theme": "dark", "draft": "mine"})
    assert mine.recover(reconnected=True).values == {"theme": "dark", "draft": "mine"}


# Versions


def test_without_migrate_another_version_is_discarded_to_defaults(session_id: str) -> None:
    page(Version1, session_id).save({"name": "Ada Lovelace"})
    newer = page(Version3, session_id)
    assert newer.recover() == ("not_found", {})
    newer.save({"name": "Grace"})
    assert page(Version1, session_id).recover().values == {"name": "Ada Lovelace"}
    assert page(Version3, session_id).recover().values == {"name": "Grace"}


def test_migrate_writes_its_result_whole_drafts_included(session_id: str) -> None:
    page(Version1, session_id, "tab-1").save({"name": "Ada Lovelace", "draft": "Dear"})
    found = page(Version2, session_id, "tab-1").recover(reconnected=True)
    assert found == ("recovered", {"first": "Ada", "last": "Lovelace", "draft": "Dear"})
    stash = StashSession(session_id)
    assert stash.get_view(Version2.view, vsn=2) == {"first": "Ada", "last": "Lovelace"}
    assert stash.get_view(Version2.view, vsn=2, tab="tab-1") == {"draft": "Dear"}
    assert stash.get_view(Version2.view, vsn=1) == {"name": "Ada Lovelace"}
    assert stash.get_view(Version2.view, vsn=1, tab="tab-1") == {"draft": "Dear"}


def test_migrate_runs_once(session_id: str) -> None:
    page(Version1, session_id).save({"name": "Ada Lovelace"})
    page(Version2, session_id).recover()
    page(Version1, session_id).save({"name": "Someone Else"})
    assert page(Version2, session_id).recover().values == {"first": "Ada", "last": "Lovelace"}


def test_the_newest_older_slice_is_migrated(session_id: str) -> None:
    stash = StashSession(session_id)
    stash.merge(Version2.view, {"name": "First Written"}, vsn=0)
    stash.merge(Version2.view, {"name": "Last Written"}, vsn=1)
    stash.merge(Version2.view, {"name": "From Future"}, vsn=9)
    assert page(Version2, session_id).recover().values == {"first": "Last", "last": "Written"}


def test_a_newer_slice_is_not_migrated_down(session_id: str) -> None:
    StashSession(session_id).merge(Version2.view, {"name": "From Future"}, vsn=9)
    assert page(Version2, session_id).recover() == ("not_found", {})


def test_a_migrate_that_raises_keeps_what_there_is(session_id: str, caplog: pytest.LogCaptureFixture) -> None:
    page(Version1, session_id).save({"name": "Ada Lovelace"})
    failing = page(FailingStash, session_id)
    with caplog.at_level(logging.ERROR, "syncsessions"):
        assert failing.recover() == ("error", {})
    assert "migrate" in caplog.text
    assert caplog.records[0].exc_info is not None
    failing.save({"name": "Overwritten"})
    stash = StashSession(session_id)
    assert stash.fetch_view(Version1.view, vsn=FailingStash.vsn) is None
    assert stash.get_view(Version1.view) == {"name": "Ada Lovelace"}


@pytest.mark.parametrize("result", [{"name": {1, 2}}, {"name": "x" * 70_000}, ["name"], 7])
def test_a_migrate_whose_result_cannot_be_stored_is_one_that_raises(
    session_id: str, monkeypatch: pytest.MonkeyPatch, result: Any
) -> None:
    monkeypatch.setattr(FailingStash, "migrate", lambda self, old_vsn, data: result)
    page(Version1, session_id).save({"name": "Ada Lovelace"})
    failing = page(FailingStash, session_id)
    assert failing.recover() == ("error", {})
    failing.save({"name": "Overwritten"})
    assert StashSession(session_id).get_view(Version1.view) == {"name": "Ada Lovelace"}


def test_what_another_request_saved_meanwhile_wins_over_what_is_migrated(
    session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(Version1, session_id).save({"name": "Ada Lovelace"})
    carried = Version2.migrate

    def meanwhile(self: Version2, old_vsn: int, data: dict[str, Any]) -> Mapping[str, Any] | None:
        StashSession(session_id).merge(Version2.view, {"first": "Grace"}, vsn=2)
        return carried(self, old_vsn, data)

    monkeypatch.setattr(Version2, "migrate", meanwhile)
    assert page(Version2, session_id).recover().values == {"first": "Grace", "last": "Lovelace"}


# Sync and async


async def test_async_twins(session_id: str) -> None:
    stash = page(TabbedStash, session_id, "tab-1")
    assert await stash.arecover() == ("not_found", {})
    await stash.asave({"theme": "dark", "draft": "Dear"})
    again = page(TabbedStash, session_id, "tab-1")
    assert await again.arecover(reconnected=True) == ("recovered", {"theme": "dark", "draft": "Dear"})
    await again.areset()
    assert await stash.arecover(True) == ("not_found", {})


@pytest.mark.parametrize("declared", [StashSession, ViewStash])
def test_async_twins_take_the_same_arguments(declared: type) -> None:
    twins = [name for name in vars(declared) if name[0] == "a" and name[1:] in vars(declared)]
    assert len(twins) >= 3
    for name in twins:
        assert inspect.iscoroutinefunction(getattr(declared, name))
        assert inspect.signature(getattr(declared, name)) == inspect.signature(getattr(declared, name[1:]))


# What is refused


@pytest.mark.parametrize("in_transaction", [False, True])
def test_of_two_rows_with_one_too_large_neither_is_written(
    database: str, session_id: str, in_transaction: bool
) -> None:
    from django.db import transaction

    stash = page(TabbedStash, session_id, "tab-1")
    stash.save({"theme": "x" * 40_000, "draft": "small"})
    large = {"theme": "small", "draft": "y" * (64 * 1024)}
    merged_large = StashSession(session_id)
    if in_transaction:
        with transaction.atomic(using=database):
            with pytest.raises(InvalidValue):
                stash.save(large)
            with pytest.raises(InvalidValue):
                merged_large.write(TabbedStash.view, 1, {"": {"more": "x" * 40_000}, "tab-1": {"draft": "new"}})
            merged_large.merge("after", {"fine": 1})
    else:
        with pytest.raises(InvalidValue):
            stash.save(large)
        with pytest.raises(InvalidValue):
            merged_large.write(TabbedStash.view, 1, {"": {"more": "x" * 40_000}, "tab-1": {"draft": "new"}})
        merged_large.merge("after", {"fine": 1})
    found = page(TabbedStash, session_id, "tab-1").recover(reconnected=True).values
    assert found == {"theme": "x" * 40_000, "draft": "small"}
    assert merged_large.get_view("after") == {"fine": 1}


def test_a_view_may_bound_its_slice_itself(session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ListedStash, "slice_limit", 20)
    with pytest.raises(InvalidValue) as caught:
        page(ListedStash, session_id).save({"a": "x" * 20})
    assert caught.value.as_dict()["limit"] == 20
    page(ListedStash, session_id).save({"a": "x" * 10})


def test_what_is_not_json_is_refused_or_skipped(session_id: str, caplog: pytest.LogCaptureFixture) -> None:
    stash = page(ListedStash, session_id)
    with pytest.raises(InvalidValue) as caught:
        stash.save({"a": 1, "b": [timezone.now()]})
    assert (caught.value.details["key"], caught.value.details["path"]) == ("b", "[0]")
    assert StashSession(session_id).views() == []
    with override_settings(SYNCSESSIONS={"STASH_INVALID_VALUE": "skip"}), caplog.at_level(logging.ERROR):
        stash.save({"a": 1, "b": [timezone.now()]})
    assert "“b”" in caplog.text
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": 1}
    stash.save({"a": 1, "b": 2})
    assert StashSession(session_id).get_view(ListedStash.view) == {"a": 1, "b": 2}


# Whose it is


def test_for_request_takes_the_tab_from_the_argument_else_the_header(session_id: str) -> None:
    request = RequestFactory().get("/", headers={"X-Syncsessions-Tab": "from-header"})
    request.session = {}  # type: ignore[assignment]
    assert TabbedStash.for_request(request).tab == "from-header"
    assert TabbedStash.for_request(request, "given").tab == "given"
    assert TabbedStash.for_request(request, "").tab == "from-header"
    plain = RequestFactory().get("/")
    plain.session = {}  # type: ignore[assignment]
    assert TabbedStash.for_request(plain).tab == ""


@pytest.mark.parametrize("tab", ["x" * 201, "a\x00b"], ids=["long", "nul"])
def test_a_tab_that_cannot_be_one_is_none(tab: str) -> None:
    """It comes from the client, whose mistakes are no error of the page's."""
    request = RequestFactory().get("/", headers={"X-Syncsessions-Tab": tab})
    request.session = {}  # type: ignore[assignment]
    assert TabbedStash.for_request(request).tab == ""
    assert TabbedStash.for_request(request, tab).tab == ""


def test_for_scope_reads_the_session_id(session_id: str) -> None:
    TabbedStash.for_scope({"session_id": session_id}, "tab-1").save({"draft": 1})
    assert StashSession.for_scope({"session_id": session_id}).get_view(TabbedStash.view, tab="tab-1") == {"draft": 1}


def test_a_scope_without_a_session_reads_nothing_and_writes_nowhere(session_id: str) -> None:
    for scope in ({}, {"session_id": None}):
        stash = TabbedStash.for_scope(scope)
        assert stash.recover() == ("not_found", {})
        with pytest.raises(InvalidSessionId):
            stash.save({"theme": 1})


# Time


@pytest.mark.parametrize("use_tz", [False, True])
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns", "UTC"])
def test_times_are_sane_in_any_time_zone(database: str, session_id: str, use_tz: bool, zone: str) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone):
        connections[database].close()
        try:
            before = timezone.now()
            stash = page(ListedStash, session_id)
            stash.save({"a": 1})
            found = StashSession(session_id).fetch_view(ListedStash.view)
            assert found is not None
            assert timezone.is_aware(found.last_seen_at) is use_tz
            assert abs(found.last_seen_at - before) < timedelta(seconds=30)
            row = StashSlice.objects.using(database).get(view=ListedStash.view)
            assert timedelta() <= row.written_at - row.created_at < timedelta(seconds=5)
            assert timedelta() <= row.last_seen_at - row.written_at < timedelta(seconds=5)
            assert stash.recover().values == {"a": 1}
            StashSlice.objects.using(database).update(last_seen_at=timezone.now() - timedelta(days=2))
            assert stash.recover().values == {"a": 1}
            seen = StashSlice.objects.using(database).get(view=ListedStash.view).last_seen_at
            assert abs(seen - before) < timedelta(seconds=30)
            StashSession(session_id).merge(ListedStash.view, {"a": 2}, vsn=5)
            StashSession(session_id).merge(ListedStash.view, {"a": 3}, vsn=4)
            assert StashSession(session_id).fetch_view(ListedStash.view).vsn == 4  # type: ignore[union-attr]
        finally:
            connections[database].close()
