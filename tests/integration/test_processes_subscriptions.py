"""Who hears of a session's changes: subscribers in this process, watchers of what any worker does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import create_selector, live, registry, watching
from syncsessions.signals import message_failed, subscription_added, subscription_notified, subscription_removed
from tests.processes import Site, away_in_the_background, each_place, hearing, until

pytestmark = each_place
ITEM = {"price": 3}


def total(state: Any) -> Any:
    return state["cart"]["total"]


def user(state: Any) -> Any:
    return state["user"]


async def test_a_subscriber_is_told_now_and_at_each_change(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    subscription = await shop.subscribe(total, values.append)
    assert values == [0]
    await shop.dispatch("cart.add_item", ITEM)
    assert values == [0, 3]  # before the message returns
    await shop.dispatch("cart.put", 1)
    await shop.dispatch("cart.keep")
    await shop.cast("set_user", "ann")
    assert values == [0, 3]
    await shop.time_travel(3)
    await shop.dispatch("cart.add_item", {"price": 5})
    await shop.reset()
    assert values == [0, 3, 0, 5, 0]
    subscription.cancel()
    subscription.cancel()
    await shop.dispatch("cart.add_item", ITEM)
    assert values == [0, 3, 0, 5, 0]


async def test_every_kind_of_message_tells(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    whole: list[Any] = []
    await shop.subscribe(user, values.append)
    await shop.subscribe(None, whole.append)
    await shop.cast("set_user", "ann")
    await shop.call("swap_user", "bob")
    await shop.call("work")
    await shop.call("get_user")
    assert values == [None, "ann", "bob", "worked"]
    assert whole == [{**whole[0], "user": value} for value in values]
    with pytest.raises(TypeError):
        whole[0]["user"] = "changed"


async def test_equal_is_no_change_and_another_type_is_one(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    await shop.subscribe(user, values.append)
    for value in (1, 1.0, True, [1], [1], {"a": [1]}, {"a": [1]}, None):
        await shop.cast("set_user", value)
    assert [(type(value) is bool, value) for value in values] == [
        (type(value) is bool, value) for value in (None, 1, 1.0, True, [1], {"a": [1]}, None)
    ]


async def test_only_whose_keys_changed_are_asked(site: Site) -> None:
    shop = await site.start()
    asked: list[str] = []

    def noting(key: str) -> Any:
        def select(state: Any) -> Any:
            asked.append(key)
            return state[key]

        return select

    for key in ("cart", "preferences", "user", "tally"):
        await shop.subscribe(noting(key), lambda value: None)
    await shop.subscribe(lambda state: len(state["cart"]["items"]) if "cart" in state else 0, lambda value: None)
    asked.clear()
    await shop.dispatch("prefs.theme", "dark")
    assert asked == ["preferences"]
    await shop.cast("set_user", "ann")
    await shop.dispatch("cart.keep")
    assert asked == ["preferences", "user"]
    await shop.dispatch("cart.add_item", ITEM)
    assert sorted(asked[2:]) == ["cart", "tally"]


async def test_a_selector_may_read_other_keys_later(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    await shop.subscribe(lambda state: state["tally"] if state["user"] else "nobody", values.append)
    await shop.dispatch("greet")
    await shop.cast("set_user", "ann")
    await shop.dispatch("greet")
    await shop.cast("set_user", None)
    await shop.dispatch("greet")
    assert values == ["nobody", 100, 200, "nobody"]


async def test_what_raises_is_reported_and_harms_nothing(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    tried: list[Any] = []

    def bad_callback(value: Any) -> None:
        tried.append(value)
        raise RuntimeError("deaf")

    def bad_selector(state: Any) -> Any:
        return state["user"]["name"]

    with hearing(message_failed) as heard:
        await shop.subscribe(user, bad_callback)
        await shop.subscribe(bad_selector, values.append)
        await shop.subscribe(user, values.append)
        assert [each["kind"] for each in heard] == ["subscriber", "selector"]
        await shop.cast("set_user", {"name": "ann"})
    assert tried == [None, {"name": "ann"}]
    assert values == [None, "ann", {"name": "ann"}]
    assert await shop.revision() == 1


async def test_a_callback_may_use_the_session(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    if site.form == "async" and type(shop.plain).__name__ != "LiveSession":
        pytest.skip("a callback is sync: it cannot use a shared store on an event loop")

    def answer(value: Any) -> None:
        values.append(value)
        if value == 3:
            shop.plain.dispatch("cart.add_item", {"price": 4})

    await shop.subscribe(total, answer)
    later: list[Any] = []
    await shop.subscribe(total, later.append)
    await shop.dispatch("cart.add_item", ITEM)
    assert values == [0, 3, 7]
    assert later[-1] == 7


async def test_memoised_selectors(site: Site) -> None:
    shop = await site.start()
    computed: list[Any] = []

    def compute(items: Any, theme: str) -> str:
        computed.append(theme)
        return f"{len(items)} in {theme}"

    label = create_selector([lambda state: state["cart"]["items"], lambda s: s["preferences"]["theme"]], compute)
    shout = create_selector([label], str.upper)
    values: list[Any] = []
    await shop.subscribe(shout, values.append)
    await shop.cast("set_user", "ann")
    await shop.dispatch("cart.put", 1)
    assert await shop.state(shout) == "0 IN LIGHT"
    assert computed == ["light"]
    await shop.dispatch("theme", "dark")
    await shop.dispatch("cart.add_item", ITEM)
    assert values == ["0 IN LIGHT", "0 IN DARK", "1 IN DARK"]


async def test_a_subscription_ends_with_its_session(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    with hearing(subscription_added, subscription_removed, subscription_notified) as heard:
        subscription = await shop.subscribe(user, values.append)
        cancelled = await shop.subscribe(user, values.append)
        cancelled.cancel()
        await shop.cast("set_user", 1)
        await shop.terminate()
    removed = [each["subscription"] for each in heard if each["signal"] is subscription_removed]
    assert removed == [cancelled, subscription]
    assert len([each for each in heard if each["signal"] is subscription_notified]) == 3
    new = await site.start()
    await new.cast("set_user", "next")
    assert values == [None, None, 1]
    with pytest.raises(SessionNotFound):
        await shop.subscribe(user, values.append)


async def test_an_expired_session_lets_its_subscriptions_go(site: Site) -> None:
    shop = await site.start()
    await shop.subscribe(user, lambda value: None)
    with hearing(subscription_removed) as heard:
        await site.let_expire(shop)
        await until(lambda: _expired(site))
        await until(lambda: len(heard) == 1)


async def test_it_does_so_though_nobody_comes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(live.LOOK_EVERY, watching.LOOK_EVERY) < 5
    monkeypatch.setattr(live, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.05)
    shop = await site.start()
    subscription = await shop.subscribe(user, lambda value: None)
    other = await site.start("b")
    await other.subscribe(user, lambda value: None)
    with hearing(subscription_removed) as heard:
        await site.let_expire(shop)
        await until(lambda: len(heard) == 1)
    assert heard[0]["subscription"] is subscription
    assert not subscription.active
    assert shop.plain.key not in registry.local
    assert other.plain.key in registry.local


async def test_it_does_so_though_the_store_was_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BACKOFF", (0.01, 0.05))
    monkeypatch.setattr(live, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.05)
    shop = await site.start()
    away = away_in_the_background(monkeypatch, shop, times=3)
    subscription = await shop.subscribe(user, lambda value: None)
    await until(lambda: not any(away) or type(shop.plain).__name__ == "LiveSession")
    await site.let_expire(shop)
    await until(lambda: not subscription.active)


async def _expired(site: Site) -> bool:
    return bool(await site.functions.expire_sessions())


async def watched(watch: Any, values: list[Any]) -> None:
    async for value in watch:
        values.append(value)


async def test_watch(site: Site) -> None:
    shop = await site.start()
    values: list[Any] = []
    watch = shop.plain.watch(total)
    assert watch.reason is None
    task = asyncio.create_task(watched(watch, values))
    await until(lambda: values == [0])
    await shop.dispatch("cart.add_item", ITEM)
    await until(lambda: values == [0, 3])
    await shop.cast("set_user", "ann")
    for _ in range(20):
        await shop.dispatch("cart.add_item", ITEM)
    await until(lambda: values[-1] == 63)
    assert values == sorted(set(values))
    await shop.terminate()
    await asyncio.wait_for(task, 10)
    assert watch.reason == "terminated"


@pytest.mark.parametrize("end", ["terminated", "expired"])
async def test_watch_repairs_what_the_doorbell_loses(site: Site, monkeypatch: Any, settings: Any, end: str) -> None:
    assert watching.LOOK_EVERY < 5
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.05)
    settings.CHANNEL_LAYERS = {}
    shop = await site.start()
    values: list[Any] = []
    watch = shop.plain.watch(user)
    task = asyncio.create_task(watched(watch, values))
    await until(lambda: values == [None])
    elsewhere = await site.elsewhere(shop)
    await elsewhere.cast("set_user", "ann")
    await until(lambda: values == [None, "ann"])
    if end == "terminated":
        registry.local.clear()
        await elsewhere.terminate()
    else:
        await site.let_expire(shop)
    await asyncio.wait_for(task, 10)
    assert watch.reason == end


async def test_leaving_a_watch(site: Site) -> None:
    shop = await site.start()
    async with shop.plain.watch(user) as watch:
        async for value in watch:
            assert value is None
            break
    assert not shop.plain._watches
    await shop.terminate()
    late = shop.plain.watch(user)
    assert [value async for value in late] == []
    assert late.reason == "terminated"


async def test_a_watch_whose_selector_raises(site: Site) -> None:
    shop = await site.start()
    with pytest.raises(KeyError):
        await anext(shop.plain.watch(lambda state: state["nowhere"]))
    assert await shop.call("get_user") is None
