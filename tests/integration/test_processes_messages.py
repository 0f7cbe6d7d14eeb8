"""Messages of session processes: who handles them, what they return, what they refuse."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest

from syncsessions.exceptions import CallFailed, CallTimeout, CastFailed, Conflict, InvalidValue, UnknownAction
from syncsessions.processes import Reducer, SessionProcess, action, live, steps
from syncsessions.stores.memory import MemoryStore
from tests.processes import Cart, Kiosk, Shop, Site, each_place

pytestmark = each_place
ITEM = {"name": "tea", "price": 3}


class LoggingShop(Shop):
    unknown_action = "log"


class IgnoringShop(Shop):
    unknown_action = "ignore"


class Silent(Cart):
    name = "silent"
    prefix = "other"


class TwoCarts(SessionProcess):
    reducers = [Cart, Silent]


async def test_an_action_goes_to_the_reducer_of_its_prefix(site: Site) -> None:
    shop = await site.start()
    before = await shop.state()
    assert await shop.revision() == 0
    assert await shop.dispatch("prefs.theme", "dark") == 1
    assert await shop.state() == {**before, "preferences": {"theme": "dark"}}
    assert await shop.revision() == 1
    with pytest.raises(UnknownAction):
        await shop.dispatch("preferences.theme", "light")  # the slice's name, where the prefix is another


async def test_an_action_without_a_dot_goes_to_all(site: Site) -> None:
    shop = await site.start()
    assert await shop.dispatch("put", [1]) == 1
    state = await shop.state()
    assert (state["cart"]["put"], state["preferences"]["put"]) == ([1], [1])
    assert await shop.dispatch("theme", "dark") == 2


async def test_the_empty_prefix_sees_every_action_under_the_name_after_the_dot(site: Site) -> None:
    shop = await site.start()
    assert await shop.dispatch("cart.add_item", ITEM) == 1
    state = await shop.state()
    assert (state["cart"]["total"], state["tally"]) == (3, 1)
    assert await shop.dispatch("nowhere.greet") == 2
    assert await shop.dispatch("greet") == 3
    assert await shop.dispatch("add_item", ITEM) == 4
    assert (await shop.state())["tally"] == 202


async def test_reducers_by_slice(site: Site) -> None:
    kiosk = await site.start(cls=Kiosk)
    assert await kiosk.state() == {"basket": {"items": [], "total": 0}}
    assert await kiosk.dispatch("basket.add_item", ITEM) == 1
    with pytest.raises(UnknownAction):
        await kiosk.dispatch("cart.add_item", ITEM)


NAMES = ["", ".", "cart", "cart.", ".keep", "cart.helper", "helper", "cart.initial_state", "cart.__init__", "cart.name"]
NAMES += ["cart.add_item\n", "Cart.keep", "cart.cart.keep", "get_user", "init", "secret", "session_id", "a" * 9999]


async def test_nothing_else_is_reached_by_name(site: Site) -> None:
    shop = await site.start()
    before = await shop.state()
    for name in NAMES:
        for sending in (shop.dispatch(name, ITEM), shop.cast(name), shop.run(name)):
            with pytest.raises(UnknownAction) as caught:
                await sending
            assert caught.value.code == "unknown_action"
    for wrong in ("secret", "init", "__init__", "on_stop", "table", "set_user", "start", "cart.add_item", ""):
        with pytest.raises(UnknownAction):
            await shop.call(wrong)
    assert (await shop.state(), await shop.revision()) == (before, 0)


@pytest.mark.parametrize("process", [LoggingShop, IgnoringShop])
async def test_an_unknown_action_may_pass(site: Site, caplog: Any, process: type[SessionProcess]) -> None:
    shop = await site.start(cls=process)
    await shop.dispatch("cart.keep")
    assert await shop.dispatch("cart.nonsense") == 1
    assert ("cart.nonsense" in caplog.text) is (process is LoggingShop)
    with pytest.raises(UnknownAction):
        await shop.call("nonsense")
    with pytest.raises(InvalidValue):
        await shop.dispatch("cart.nonsense", {1})


async def test_revisions_count_what_is_applied(site: Site) -> None:
    shop = await site.start()
    assert await shop.dispatch("cart.keep") == 1  # applied, though nothing changed
    assert await shop.cast("set_user", "ann") is None
    assert await shop.revision() == 2
    assert await shop.call("get_user") == "ann"
    assert await shop.revision() == 2
    assert await shop.call("swap_user", "bob") == "ann"
    assert await shop.revision() == 3
    assert await shop.call("get_user") == "bob"
    assert await shop.call("echo", 1, [2], {"three": None}) == [1, [2], {"three": None}]
    assert await shop.time_travel(1) == 4
    assert await shop.reset() == 5


async def test_handlers_see_the_session_id(site: Site) -> None:
    shop = await site.start("my-id_1")
    assert shop.id == "my-id_1"
    assert await shop.call("whoami") == "my-id_1"
    await shop.dispatch("cart.sign")
    assert (await shop.state())["cart"]["signed"] == "my-id_1"


FAILING: list[tuple[str, str, type[CallFailed | CastFailed], list[str]]] = [
    ("dispatch", "cart.boom", CastFailed, ["boom", "RuntimeError", "no way"]),
    ("dispatch", "cart.spoil", CastFailed, ["spoil", "TypeError"]),
    ("call", "bad_call", CallFailed, ["bad_call", "KeyError", "lost"]),
    ("call", "spoiling_call", CallFailed, ["spoiling_call", "TypeError"]),
    ("call", "swap_user", CallFailed, ["swap_user", "TypeError"]),  # an argument is missing
    ("cast", "bad_cast", CastFailed, ["bad_cast", "ValueError", "wrong"]),
    ("cast", "spoiling_cast", CastFailed, ["spoiling_cast", "TypeError"]),
    ("cast", "set_user", CastFailed, ["set_user", "TypeError"]),
]


async def test_a_handler_that_raises_harms_nothing(site: Site) -> None:
    shop, other = await site.start(), await site.start("b")
    before = await shop.state()
    for kind, name, error, said in FAILING:
        with pytest.raises(error) as caught:
            await getattr(shop, kind)(name)
        assert caught.value.code == ("call_failed" if kind == "call" else "cast_failed")
        for part in ("Shop", *said):
            assert part in str(caught.value)
        assert (await shop.state(), await shop.revision()) == (before, 0)
    assert await shop.cast("set_user", "alive") is None
    assert await other.call("get_user") is None


UNFIT: list[tuple[str, str, list[Any], str]] = [
    ("dispatch", "cart.put", [{1}], "cart.put"),
    ("dispatch", "cart.put", [{"a": [float("inf")]}], "cart.put"),
    ("dispatch", "cart.put", ["\x00"], "cart.put"),
    ("dispatch", "cart.put", [{1: 2}], "cart.put"),
    ("dispatch", "cart.put", ["\ud800"], "cart.put"),
    ("dispatch", "cart.press", [{1}], "cart.press"),
    ("dispatch", "cart.unfit", [], "cart"),
    ("call", "echo", [1, object()], "args"),
    ("call", "unfit_reply", [], "unfit_reply"),
    ("call", "unfit_state", [], "unfit"),
    ("cast", "set_user", [b"bytes"], "args"),
    ("cast", "unfit_cast", [], "unfit"),
    ("cast", "no_state", [], "no_state"),
]


async def test_what_is_no_json_is_refused_by_name(site: Site) -> None:
    shop = await site.start()
    before = await shop.state()
    for kind, name, args, key in UNFIT:
        with pytest.raises(InvalidValue) as caught:
            await getattr(shop, kind)(name, *args)
        assert caught.value.code == "invalid_value"
        assert key in f"{caught.value.as_dict()['key']} {caught.value.as_dict().get('path')}"
        assert (await shop.state(), await shop.revision()) == (before, 0)


async def test_what_is_no_json_is_refused_where_it_would_be_thrown_away(site: Site) -> None:
    shop = await site.start()
    await shop.dispatch("cart.press", 1)
    wasted: list[tuple[Any, ...]] = [
        (shop.dispatch, "cart.press", {1}),
        (site(Shop).get_or_start, "a", {1}),
        (site(Shop).start, "a", {1}),
        (site.functions.broadcast, "nobody_takes_it", {1}),
        (site.functions.broadcast, "set_user", {1}),
    ]
    for operation, *args in wasted:
        with pytest.raises(InvalidValue):
            await operation(*args)
    assert await shop.revision() == 1


async def test_messages_side_by_side_all_hold(site: Site) -> None:
    shop = await site.start()
    other = await site.elsewhere(shop)
    revisions = await asyncio.gather(*((shop, other)[n % 2].dispatch("cart.add_item", ITEM) for n in range(10)))
    assert sorted(revisions) == list(range(1, 11))
    state = await shop.state()
    assert (state["cart"]["total"], len(state["cart"]["items"]), state["tally"]) == (30, 10, 10)


async def test_any_worker_serves_any_session(site: Site) -> None:
    shop = await site.start()
    other = await site.elsewhere(shop)
    for number in range(1, 4):
        assert await shop.dispatch("cart.add_item", ITEM) == 2 * number - 1
        assert await other.dispatch("cart.add_item", ITEM) == 2 * number
    await other.cast("set_user", "ann")
    assert await shop.call("get_user") == "ann"
    assert (await shop.state())["cart"]["total"] == 18
    assert len(await other.history()) == 5


async def test_one_slice_of_two_carts(site: Site) -> None:
    carts = await site.start(cls=TwoCarts)
    assert await carts.dispatch("other.add_item", ITEM) == 1
    assert await carts.dispatch("add_item", ITEM) == 2
    state = await carts.state()
    assert (state["cart"]["total"], state["silent"]["total"]) == (3, 6)


async def test_an_inline_handler_past_its_timeout_is_never_applied(site: Site, monkeypatch: Any) -> None:
    shop = await site.start()
    with pytest.raises(CallTimeout) as caught:
        await shop.call("doze", 0.3, timeout=0.2)
    assert caught.value.code == "timeout"
    for module in (steps, live):
        monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with pytest.raises(CallTimeout):
        await shop.cast("doze_off", 0.3)
    monkeypatch.undo()
    assert (await shop.call("get_user"), await shop.revision()) == (None, 0)
    assert await shop.call("doze", 0.0, timeout=5) == "late"


async def test_a_blocking_handler_is_not_waited_for(site: Site, release: Event, monkeypatch: Any) -> None:
    shop = await site.start()
    with pytest.raises(CallTimeout):
        await shop.call("hang", timeout=0.05)
    monkeypatch.setattr(steps, "TIMEOUT", 0.05)
    with pytest.raises(CallTimeout):
        await shop.cast("hang_on")
    monkeypatch.undo()
    release.set()
    assert (await shop.call("work")).startswith("syncsessions")
    assert (await shop.call("get_user"), await shop.revision()) == ("worked", 1)
    with pytest.raises(CallFailed):
        await shop.call("work", "one argument too many")


async def test_endless_conflicts_are_a_conflict(site: Site, monkeypatch: Any) -> None:
    shop = await site.start()

    def lost(self: Any, known: Any, change: Any) -> Any:
        return None
        yield

    monkeypatch.setattr(type(shop.plain), "_swap", lost)
    monkeypatch.setattr(MemoryStore, "swap", lambda *args: False)
    for module in (steps, live):
        monkeypatch.setattr(module, "TIMEOUT", 0.1)
    for kind, *args in (("dispatch", "cart.keep"), ("cast", "set_user", 1), ("reset",)):
        with pytest.raises(Conflict):
            await getattr(shop, kind)(*args)
    with pytest.raises(Conflict):
        await shop.call("swap_user", 1, timeout=0.1)
    monkeypatch.undo()
    assert await shop.dispatch("cart.keep") == 1


class Stock(Reducer):
    name = "stock"
    initial_state = 0

    @action
    def add(self, state: int, count: int) -> int:
        return state + count

    @action
    def take(self, state: int, count: int) -> int:
        if count > state:
            raise ValueError("There is not so much.")
        return state - count


class Store(SessionProcess):
    reducers = [Stock]


async def test_a_handler_fails_by_the_state_that_there_really_is(site: Site) -> None:
    here = await site.start(cls=Store)
    elsewhere = await site.elsewhere(here)
    await elsewhere.dispatch("stock.add", 5)
    assert await here.dispatch("stock.take", 5) == 2, "this worker knew of none"
    with pytest.raises(CastFailed):
        await here.dispatch("stock.take", 1)
