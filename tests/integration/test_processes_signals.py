"""The signals of session processes, and that nobody who listens can harm them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from syncsessions import signals
from syncsessions.exceptions import AlreadyExists, StoreUnavailable, SyncSessionsError
from syncsessions.processes import create_selector, sweeping, telling
from syncsessions.signals import (
    doorbell_rung,
    expiry_failed,
    message_failed,
    message_handled,
    process_start_failed,
    process_started,
    process_stopped,
    processes_expired,
    rate_limited,
    selector_computed,
    subscription_added,
    subscription_notified,
    subscription_removed,
)
from syncsessions.stores import stores
from tests.processes import Kiosk, Shop, Site, each_place, hearing, until

pytestmark = each_place


async def test_messages_that_were_handled(site: Site) -> None:
    shop = await site.start()
    with hearing(message_handled, message_failed) as heard:
        await shop.dispatch("cart.put", 1)
        await shop.call("get_user")
        await shop.call("swap_user", "ann")
        await shop.cast("set_user", "bob")
    assert [(each["signal"], each["kind"], each["name"], each["revision"]) for each in heard] == [
        (message_handled, "dispatch", "cart.put", 1),
        (message_handled, "call", "get_user", 1),
        (message_handled, "call", "swap_user", 2),
        (message_handled, "cast", "set_user", 3),
    ]
    for each in heard:
        assert (each["sender"], each["session_id"]) == (Shop, "a")
        assert 0 <= each["duration"] < 10


async def test_messages_that_failed(site: Site) -> None:
    shop = await site.start()
    failing: list[tuple[str, str, list[Any]]] = [
        ("dispatch", "cart.boom", []),
        ("dispatch", "cart.unfit", []),
        ("dispatch", "cart.nonsense", []),
        ("call", "bad_call", []),
        ("call", "unfit_reply", []),
        ("cast", "bad_cast", []),
        ("cast", "unfit_cast", []),
    ]
    for kind, name, args in failing:
        with hearing(message_handled, message_failed) as heard, pytest.raises(SyncSessionsError) as caught:
            await getattr(shop, kind)(name, *args)
        (sent,) = heard
        assert (sent["signal"], sent["sender"], sent["session_id"]) == (message_failed, Shop, "a")
        assert (sent["kind"], sent["name"], sent["error"]) == (kind, name, caught.value)


async def test_lives(site: Site) -> None:
    site.put(PROCESS_START_RATE="2/h")
    with hearing(process_started, process_stopped, process_start_failed, rate_limited) as heard:
        shop = await site.start()
        for id_ in ("a", "a b"):
            with pytest.raises(SyncSessionsError):
                await site.start(id_)
        await site(Shop).get_or_start("a")
        await site(Shop).restore("b", await shop.snapshot())
        with pytest.raises(SyncSessionsError):
            await site.start("c")
        await shop.terminate()
    assert [(each["signal"], each.get("session_id")) for each in heard] == [
        (process_started, "a"),
        (process_start_failed, "a"),
        (process_start_failed, "a b"),
        (process_started, "b"),
        (process_start_failed, "c"),
        (rate_limited, None),
        (process_stopped, "a"),
    ]
    assert [each["error"].code for each in heard if "error" in each] == [
        "already_exists",
        "invalid_session_id",
        "rate_limited",
    ]
    assert heard[5]["retry_after"] == heard[4]["error"].retry_after
    assert heard[6]["reason"] == "terminated"


class Greedy(Shop):
    """Somebody else is faster."""

    def init(self, args: Any) -> Any:
        if args != "faster":
            Greedy.start(self.session_id, "faster")
        return super().init(args)


async def test_a_start_that_somebody_else_made_is_none_that_failed(site: Site) -> None:
    with hearing(process_started, process_start_failed) as heard:
        session = await sync_to_async(Greedy.get_or_start)("a", "slower")
    assert [each["signal"] for each in heard] == [process_started]
    assert (await site(session).state())["args"] == "faster"
    with hearing(process_start_failed) as heard, pytest.raises(AlreadyExists):
        await sync_to_async(Greedy.start)("b", "slower")
    assert [each["session_id"] for each in heard] == ["b"]


async def test_nobody_hears_of_an_end_on_an_event_loop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who hear of it may use the ORM."""
    loops: list[Any] = []

    def note(**named: Any) -> None:
        with contextlib.suppress(RuntimeError):
            loops.append((named["signal"], asyncio.get_running_loop()))

    ends = [process_stopped, processes_expired, expiry_failed]
    for signal in ends:
        signal.connect(note)
    try:
        with hearing(*ends) as heard:
            await site.let_expire(await site.start("gone", cls=Kiosk))
            await until(lambda: _is_gone(site))
            monkeypatch.setattr(sweeping, "SWEPT_EVERY", 1)
            shop = await site.start("b", cls=Kiosk)
            await until(lambda: [each["signal"] for each in heard] == [process_stopped, processes_expired])
            await shop.terminate()
            await site.let_expire(await site.start("c", cls=Kiosk))
            await until(site.functions.expire_sessions)
            monkeypatch.setattr(type(stores["processes"]), "execute", _unavailable)
            monkeypatch.setattr(type(stores["processes"]), "aexecute", _aunavailable)
            with pytest.raises(StoreUnavailable):
                await site.functions.expire_sessions()
            monkeypatch.undo()
    finally:
        for signal in ends:
            signal.disconnect(note)
    assert [each["signal"] for each in heard] == [*ends[:2], process_stopped, *ends]
    assert loops == []


async def _is_gone(site: Site) -> bool:
    return not await site(Kiosk).started("gone")


def _unavailable(self: Any, operation: Any) -> Any:
    raise StoreUnavailable


async def _aunavailable(self: Any, operation: Any) -> Any:
    raise StoreUnavailable


async def test_subscriptions_and_selectors(site: Site) -> None:
    shop = await site.start()
    selector = create_selector([lambda state: state["user"]], lambda user: user)
    with hearing(subscription_added, subscription_notified, subscription_removed, selector_computed) as heard:
        subscription = await shop.subscribe(selector, lambda value: None)
        await shop.cast("set_user", "ann")
        await shop.state(selector)
        await shop.dispatch("cart.keep")
        subscription.cancel()
    told = [each["signal"] for each in heard]
    assert told == [
        subscription_added,
        selector_computed,
        subscription_notified,
        selector_computed,
        subscription_notified,
        selector_computed,
        subscription_removed,
    ]
    assert [each["hit"] for each in heard if "hit" in each] == [False, False, True]
    for each in heard:
        if each["signal"] is selector_computed:
            assert each["selector"] is selector
        else:
            assert (each["subscription"], each["session_id"]) == (subscription, "a")
        assert each.get("duration", 0.0) < 10


async def test_a_receiver_that_raises_harms_nothing(site: Site, caplog: Any) -> None:
    def raising(**named: Any) -> None:
        raise RuntimeError("deaf")

    mine = [
        process_started,
        process_stopped,
        message_handled,
        message_failed,
        subscription_added,
        subscription_notified,
        subscription_removed,
    ]
    for signal in mine:
        signal.connect(raising)
    try:
        shop = await site.start()
        await shop.subscribe(None, lambda value: None)
        assert await shop.dispatch("cart.put", 1) == 1
        with pytest.raises(SyncSessionsError):
            await shop.cast("bad_cast")
        await shop.terminate()
    finally:
        for signal in mine:
            signal.disconnect(raising)
    assert "deaf" in caplog.text


async def test_without_receivers_nothing_is_made(site: Site, monkeypatch: Any) -> None:
    def made(*args: Any, **named: Any) -> Any:
        raise AssertionError("nobody listens")

    monkeypatch.setattr(telling, "emit", made)
    monkeypatch.setattr(telling, "perf_counter", made)
    monkeypatch.setattr(signals, "emit", made)
    shop = await site.start()
    values: list[Any] = []
    await shop.subscribe(None, values.append)
    await shop.dispatch("cart.put", 1)
    await shop.cast("set_user", 1)
    await shop.call("get_user")
    with pytest.raises(SyncSessionsError):
        await shop.call("bad_call")
    await shop.terminate()
    assert len(values) == 3
    assert not doorbell_rung.receivers
