"""Throttled and debounced actions: per session and action, across workers and their deaths."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import background
from syncsessions.signals import message_failed, message_handled
from tests.processes import DEBOUNCE, Form, Site, each_place, hearing, until

pytestmark = each_place


@pytest.fixture
def no_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers die before their timers ring."""
    monkeypatch.setattr(background, "later", lambda *args: None)


async def cart(session: Form) -> Any:
    return (await session.state())["cart"]


async def searched(session: Form) -> Any:
    return (await cart(session)).get("searched")


async def test_a_throttled_action_runs_and_is_then_dropped(site: Site) -> None:
    shop, other = await site.start(), await site.start("b")
    elsewhere = await site.elsewhere(shop)
    assert await shop.dispatch("cart.press", 1) == 1
    dropped = [await shop.dispatch("cart.press", 2), await elsewhere.dispatch("cart.press", 3)]
    dropped.append(await shop.dispatch("press", 4))  # the same action, whatever it is called by
    if (await cart(shop))["pressed"] == [1]:  # on a machine that is too slow the time may be over
        assert dropped == [1, 1, 1]
        assert len(await shop.history()) == 1
    assert await other.dispatch("cart.press", 1) == 1
    assert await shop.dispatch("cart.put", 1) == await shop.revision()

    async def again() -> bool:
        await elsewhere.dispatch("cart.press", "again")
        return "again" in (await cart(shop))["pressed"]

    await until(again)


async def test_many_presses_side_by_side_are_one(site: Site) -> None:
    shop = await site.start()
    await asyncio.gather(*(shop.dispatch("cart.press", number) for number in range(5)))
    pressed = (await cart(shop))["pressed"]
    assert len(pressed) == await shop.revision()
    assert len(pressed) < 5


async def test_a_debounced_action_runs_once_with_the_last_payload(site: Site) -> None:
    shop = await site.start()
    elsewhere = await site.elsewhere(shop)
    await shop.cast("set_user", "ann")
    with hearing(message_handled) as heard:
        revisions = [await shop.dispatch("cart.search", "f"), await elsewhere.dispatch("cart.search", "fr")]
        revisions.append(await shop.dispatch("search", "fro"))
        await until(lambda: _ends_with(shop, "fro"))
    if await searched(shop) == ["fro"]:  # on a machine that is too slow others may have had their time
        assert revisions == [1, 1, 1]
    assert await shop.revision() == 1 + len(await searched(shop))
    assert (await shop.history())[0]["payload"] == "fro"
    assert {each["kind"] for each in heard} == {"dispatch"}
    await shop.time_travel(len(await searched(shop)))
    assert await searched(shop) is None


async def _ends_with(session: Form, value: Any) -> bool:
    return bool((await searched(session) or [None])[-1] == value)


async def test_a_timer_applies_it_though_nobody_comes(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    await shop.subscribe(lambda state: state["cart"].get("searched"), values.append)
    await shop.dispatch("cart.search", "tea")
    await until(lambda: len(values) == 2)
    assert values == [None, ["tea"]]


COMERS: dict[str, Any] = {
    "state": lambda session: session.state(),
    "dispatch": lambda session: session.dispatch("cart.keep"),
    "call": lambda session: session.call("get_user"),
    "cast": lambda session: session.cast("set_user", 1),
    "history": lambda session: session.history(),
    "snapshot": lambda session: session.snapshot(),
}


@pytest.mark.usefixtures("no_timers")
async def test_whoever_comes_next_applies_what_is_due(site: Site) -> None:
    sessions = {name: await site.start(name) for name in COMERS}
    for session in sessions.values():
        await session.dispatch("cart.search", "tea")
    await asyncio.sleep(2 * DEBOUNCE)  # nothing to be waited for: nobody is to come before
    with hearing(message_handled) as heard:
        for name, session in sessions.items():
            heard.clear()
            await COMERS[name](await site.elsewhere(session))
            assert (heard[0]["signal"], heard[0]["name"]) == (message_handled, "cart.search")
            assert await searched(session) == ["tea"]
            extra = 1 if name in ("dispatch", "cast") else 0
            assert await session.revision() == 1 + extra


@pytest.mark.usefixtures("no_timers")
async def test_it_waits_for_its_time(site: Site) -> None:
    shop = await site.start()
    await shop.dispatch("cart.search", "tea")
    await shop.cast("set_user", "ann")
    if await searched(shop) is not None:
        pytest.skip("this machine is too slow")
    assert await shop.revision() == 1
    await until(lambda: searched(shop))
    assert (await searched(shop), await shop.revision()) == (["tea"], 2)


async def test_what_is_pending_dies_with_its_session(site: Site) -> None:
    shop, marker = await site.start(), await site.start("marker")
    await shop.dispatch("cart.search", "late")
    await shop.terminate()
    new = await site.start()
    await marker.dispatch("cart.search", "mark")
    await until(lambda: searched(marker))
    assert (await searched(new), await new.revision()) == (None, 0)
    with pytest.raises(SessionNotFound):
        await shop.state()


async def test_reset_drops_what_is_pending(site: Site) -> None:
    shop, marker = await site.start(), await site.start("marker")
    await shop.dispatch("cart.press", 1)
    await shop.dispatch("cart.search", "late")
    await shop.reset()
    before = await shop.revision()
    await marker.dispatch("cart.search", "mark")
    await until(lambda: searched(marker))
    assert (await searched(shop), await shop.revision()) == (None, before)
    assert await shop.dispatch("cart.press", 2) == before + 1


async def test_a_debounced_action_that_raises_is_reported_once(site: Site) -> None:
    shop = await site.start()
    with hearing(message_failed) as heard:
        await shop.dispatch("cart.boom_later")
        await until(lambda: heard)
        await shop.dispatch("cart.keep")
    (sent,) = heard
    assert (sent["kind"], sent["name"], sent["error"].code) == ("dispatch", "cart.boom_later", "cast_failed")
    assert await shop.revision() == 1
