"""The module functions of session processes, and `DefaultProcess`."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from syncsessions.exceptions import (
    AlreadyExists,
    Conflict,
    InvalidSessionId,
    SessionNotFound,
    StoreUnavailable,
    UnknownAction,
)
from syncsessions.processes import DefaultProcess, SessionProcess, call, cast, registry
from syncsessions.processes.names import NAMESPACE
from syncsessions.signals import expiry_failed, process_stopped, processes_expired
from syncsessions.stores import stores
from tests.processes import Kiosk, Shop, Site, State, each_place, hearing, until

pytestmark = each_place


class Quiet(SessionProcess):
    """Takes no broadcast."""

    @call
    def ping(self, state: State) -> str:
        return "quiet"


class Picky(SessionProcess):
    @cast
    def set_user(self, state: State, user: Any) -> State:
        raise RuntimeError("not me")


class Brief(Shop):
    ttl = 0.02


async def test_the_default_process(site: Site) -> None:
    session = await site.functions.start_session("a")
    assert session.plain.process is DefaultProcess
    assert await session.call("ping") == "pong"
    assert await session.call("value") == {}
    assert await session.call("value", "colour") is None
    assert await session.cast("put", "colour", {"of": "tea"}) is None
    await session.cast("put", "size", 3)
    assert await session.call("value", "colour") == {"of": "tea"}
    assert await session.call("value") == {"colour": {"of": "tea"}, "size": 3}
    await session.cast("delete", "colour")
    await session.cast("delete", "never there")
    assert await session.call("value") == {"size": 3}
    assert await session.revision() == 4


async def test_start_session(site: Site) -> None:
    shop = await site.functions.start_session("a", {"of": 1}, Shop)
    assert (shop.plain.process, (await shop.state())["args"]) == (Shop, {"of": 1})
    with pytest.raises(AlreadyExists):
        await site.functions.start_session("a", cls=Shop)
    with pytest.raises(InvalidSessionId):
        await site.functions.start_session("a\n")
    assert (await site.functions.start_session("a")).plain.process is DefaultProcess


async def test_the_project_names_its_process(site: Site) -> None:
    site.put(PROCESS_CLASS="tests.processes.Shop")
    shop = await site.functions.start_session("a", "args")
    assert (await shop.state())["args"] == "args"
    assert (await site.functions.get_session("a")).plain.process is Shop


async def test_get_session(site: Site) -> None:
    get = site.functions.get_session
    for unknown in ("a", "a\n", "", None):
        with pytest.raises(SessionNotFound):
            await get(unknown)
    await site.start("a")
    await site.start("b")
    await site.start("b", cls=Kiosk)
    assert (await get("a")).plain.process is Shop  # the only one there is
    assert (await get("b", Kiosk)).plain.process is Kiosk
    with pytest.raises(SessionNotFound):
        await get("a", Kiosk)
    with pytest.raises(Conflict) as caught:
        await get("b")
    assert caught.value.code == "conflict"
    await site.functions.start_session("b")
    assert (await get("b")).plain.process is DefaultProcess


SHELF = """
from syncsessions.processes import SessionProcess

class Shelf(SessionProcess):
    pass

class {long}(SessionProcess):
    pass
"""
LONG = "Long" * 40


@pytest.fixture
def shelf(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with process classes."""
    tmp_path.joinpath("shelf_processes.py").write_text(SHELF.format(long=LONG))
    tmp_path.joinpath("broken_processes.py").write_text("raise ValueError('broken')")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shelf_processes")
    forget()


def forget() -> None:
    """This process has not imported it, as far as anybody can tell."""
    sys.modules.pop("shelf_processes", None)
    for path in [path for path, each in registry._classes.items() if each.__module__ == "shelf_processes"]:
        del registry._classes[path]


@pytest.mark.parametrize("name", ["Shelf", LONG])
async def test_sessions_of_a_class_that_nobody_here_has_imported(site: Site, shelf: Any, name: str) -> None:
    await site(getattr(shelf, name)).start("a")
    path = f"shelf_processes.{name}"
    forget()
    assert (await site.functions.session_stats())["by_class"] == {path: 1}
    assert "shelf_processes" not in sys.modules
    assert (await site.functions.get_session("a")).plain.process.path == path
    assert (await site.functions.session_stats())["by_class"] == {path: 1}
    forget()
    (found,) = await site.functions.list_sessions()
    await site(found).terminate()
    with pytest.raises(SessionNotFound):
        await site.functions.get_session("a")


async def test_records_that_name_no_process_class(site: Site, shelf: Any, caplog: Any) -> None:
    """Whatever is imported for them, none of it is used."""
    store = site(stores["processes"])
    for path in ("os.path.join", "shelf_processes.SessionProcess.start", "nowhere.Shop", "no_path", "a" * 64):
        await store.create(NAMESPACE, f"{path}:a", {"path": 3}, ttl=60)
    await store.create(NAMESPACE, f"{'b' * 64}:a", {"path": "shelf_processes.Shelf"}, ttl=60)
    with pytest.raises(SessionNotFound):
        await site.functions.get_session("a")
    assert caplog.text == ""
    await store.create(NAMESPACE, "broken_processes.Shop:a", {}, ttl=60)
    with pytest.raises(SessionNotFound):
        await site.functions.get_session("a")
    assert "broken_processes.Shop cannot be imported" in caplog.text
    assert await site.functions.list_sessions() == []
    assert (await site.functions.session_stats())["count"] == 7


async def test_list_and_count(site: Site) -> None:
    assert (await site.functions.list_sessions(), await site.functions.count_sessions()) == ([], 0)
    for id_ in ("a", "b", "c"):
        await site.start(id_)
    await site.start("a", cls=Kiosk)
    listed = await site.functions.list_sessions()
    assert [(each.process, each.id) for each in listed] == [(Kiosk, "a"), (Shop, "c"), (Shop, "b"), (Shop, "a")]
    assert [each.id for each in await site.functions.list_sessions(Shop)] == ["c", "b", "a"]
    assert await site.functions.list_sessions(cls=Quiet) == []
    assert await site.functions.count_sessions() == 4
    assert await site(listed[0]).state() == await (await site(Kiosk).get("a")).state()
    await site(listed[0]).terminate()
    assert await site.functions.count_sessions() == 3


async def test_find_sessions(site: Site) -> None:
    for id_ in ("cart-1", "cart-2", "Cart-3", "cart_4", "other"):
        await site.start(id_)

    async def found(pattern: str) -> list[str]:
        return sorted(each.id for each in await site.functions.find_sessions(pattern))

    assert await found("cart-*") == ["cart-1", "cart-2"]
    assert await found("cart?[14]") == ["cart-1", "cart_4"]
    assert await found("*") == ["Cart-3", "cart-1", "cart-2", "cart_4", "other"]
    assert await found("cart") == []
    assert await found("[!c]*") == ["Cart-3", "other"]


async def test_session_stats(site: Site) -> None:
    assert await site.functions.session_stats() == {
        "count": 0,
        "memory_bytes": 0,
        "average_bytes": 0,
        "by_class": {},
    }
    shop = await site.start("a", "x" * 1000)
    await site.start("b")
    await site.start("a", cls=Kiosk)
    stats = await site.functions.session_stats()
    assert set(stats) == {"count", "memory_bytes", "average_bytes", "by_class"}
    assert (stats["count"], stats["by_class"]) == (3, {"tests.processes.Shop": 2, "tests.processes.Kiosk": 1})
    assert stats["memory_bytes"] > 1000
    assert stats["average_bytes"] == pytest.approx(stats["memory_bytes"] / 3, abs=1)
    await shop.terminate()
    assert (await site.functions.session_stats())["memory_bytes"] < stats["memory_bytes"] - 1000
    json.dumps(stats)


async def test_terminate_sessions(site: Site) -> None:
    for id_ in ("a", "b", "c"):
        await site.start(id_)
    await site.start("a", cls=Kiosk)
    with hearing(process_stopped) as heard:
        assert await site.functions.terminate_sessions(["a", "b", "unknown", "not an id\n"]) == 3
    assert {(each["sender"], each["session_id"], each["reason"]) for each in heard} == {
        (Shop, "a", "terminated"),
        (Shop, "b", "terminated"),
        (Kiosk, "a", "terminated"),
    }
    assert [each.id for each in await site.functions.list_sessions()] == ["c"]
    assert await site.functions.terminate_sessions([]) == 0
    assert await site.functions.terminate_sessions(iter(["c", "c"])) == 1


async def test_broadcast(site: Site) -> None:
    shops = [await site.start("a"), await site.start("b"), await site.start("a", cls=Kiosk)]
    quiet, picky = await site.start("q", cls=Quiet), await site.start("p", cls=Picky)
    assert await site.functions.broadcast("set_user", {"all": 1}) == 3
    for shop in shops:
        assert ((await shop.state())["user"], await shop.revision()) == ({"all": 1}, 1)
    assert (await quiet.revision(), await picky.revision()) == (0, 0)
    assert await site.functions.broadcast("nobody_takes_it") == 0
    assert await site.functions.broadcast("ping") == 0  # a call
    with pytest.raises(UnknownAction):
        await quiet.cast("set_user", 1)


async def test_expire_sessions(site: Site) -> None:
    kept = await site.start("kept")
    for number in range(3):
        await site.start(str(number), cls=Brief)

    async def all_gone() -> bool:
        return bool(await site.functions.count_sessions() == 1)

    await until(all_gone)
    with hearing(processes_expired, process_stopped) as heard:
        assert await site.functions.expire_sessions() == 3
        assert await site.functions.expire_sessions() == 0
    (swept,) = [each for each in heard if each["signal"] is processes_expired]
    assert swept["count"] == 3
    assert 0 <= swept["duration"] < 10
    assert len(heard) == 4
    assert await kept.call("whoami") == "kept"


async def test_a_sweep_that_fails_is_told_of(site: Site, monkeypatch: Any) -> None:
    store = stores["processes"]

    def execute(operation: Any) -> Any:
        raise StoreUnavailable

    async def aexecute(operation: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(store, "execute", execute)
    monkeypatch.setattr(store, "aexecute", aexecute)
    with hearing(expiry_failed, processes_expired) as heard, pytest.raises(StoreUnavailable):
        await site.functions.expire_sessions()
    (sent,) = heard
    assert sent["signal"] is expiry_failed
    assert sent["error"].code == "store_unavailable"
