"""The state of session processes: read-only, with a history to travel in, kept in snapshots."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import random
import time
from typing import Any

import pytest

from syncsessions.exceptions import (
    AlreadyExists,
    CallFailed,
    InvalidSessionId,
    InvalidValue,
    SessionLimitReached,
    UnknownAction,
)
from syncsessions.processes import Action, SessionProcess
from syncsessions.signals import process_start_failed
from tests.processes import Cart, Form, Shop, Site, State, each_place, hearing

pytestmark = each_place
ITEM = {"name": "tea", "price": 3}
order: list[str] = []


class Plain(Shop):
    history = 0


class Newer(Shop):
    vsn = 2
    seen: list[tuple[int, Any]] = []

    def migrate(self, old_vsn: int, state: State) -> Any:
        self.seen.append((old_vsn, state))
        if state["user"] == "raise":
            raise RuntimeError("no way up")
        return {1, 2} if state["user"] == "unfit" else {**state, "user": [state["user"], self.session_id]}


def outer(session_id: str, action: Action, state: State, go_on: Any) -> Any:
    order.append(f"outer {session_id} {action.type} {action.payload} {state['user']}")
    result = go_on(action)
    order.append(f"outer after {result['cart'].get('put')}")
    return result


def inner(session_id: str, action: Action, state: State, go_on: Any) -> Any:
    order.append("inner")
    if action.payload == "drop":
        return state
    if action.payload == "raise":
        raise RuntimeError("not here")
    if action.payload == "unfit":
        return go_on(action._replace(payload={1}))
    if action.payload == "unknown":
        return go_on(action._replace(type="cart.nonsense"))
    if action.payload == "rewrite":
        return go_on(Action("cart.put", {"rewritten": True}))
    return go_on(action)


class Guarded(Shop):
    middleware = [outer, inner]


async def test_the_start_state(site: Site) -> None:
    shop = await site.start("a", {"of": ["many"]})
    assert await shop.state() == {
        "user": None,
        "args": {"of": ["many"]},
        "cart": {"items": [], "total": 0},
        "preferences": {"theme": "light"},
        "tally": 0,
    }
    assert await shop.state(lambda state: state["args"]["of"]) == ["many"]
    with pytest.raises(KeyError):
        await shop.state(lambda state: state["nowhere"])


WAYS: list[Any] = [
    lambda state: state.__setitem__("user", 1),
    lambda state: state.update(user=1),
    lambda state: state.pop("user"),
    lambda state: state.popitem(),
    lambda state: state.clear(),
    lambda state: state.setdefault("new", 1),
    lambda state: state.__delitem__("user"),
    lambda state: state.__ior__({"user": 1}),
    lambda state: state["args"]["of"].append(1),
    lambda state: state["args"]["of"].extend([1]),
    lambda state: state["args"]["of"].insert(0, 1),
    lambda state: state["args"]["of"].pop(),
    lambda state: state["args"]["of"].remove("many"),
    lambda state: state["args"]["of"].clear(),
    lambda state: state["args"]["of"].sort(),
    lambda state: state["args"]["of"].reverse(),
    lambda state: state["args"]["of"].__setitem__(0, 1),
    lambda state: state["args"]["of"].__delitem__(0),
    lambda state: state["args"]["of"].__iadd__([1]),
    lambda state: state["args"]["of"].__imul__(2),
    lambda state: state["cart"].update(total=1),
]


async def test_nothing_can_be_changed_in_place(site: Site) -> None:
    shop = await site.start("a", {"of": ["many", "more"]})
    before = json.dumps(await shop.state())
    for change in WAYS:
        with pytest.raises(TypeError):
            change(await shop.state())
        with pytest.raises(TypeError):
            await shop.state(change)
    assert json.dumps(await shop.state()) == before


async def test_what_was_given_or_got_is_not_the_state(site: Site) -> None:
    args: dict[str, Any] = {"of": ["many"]}
    payload: dict[str, Any] = {"deep": [1]}
    shop = await site.start("a", args)
    await shop.dispatch("cart.put", payload)
    await shop.cast("set_user", payload)
    args["of"].append("more")
    payload["deep"].append(2)
    state = await shop.state()
    assert (state["args"], state["cart"]["put"], state["user"]) == ({"of": ["many"]}, {"deep": [1]}, {"deep": [1]})
    reply = await shop.call("get_user")
    for gotten in (reply["deep"], (await shop.history())[0]["payload"]["deep"]):
        with contextlib.suppress(TypeError):  # read-only, or a copy
            gotten.append(3)
    assert (await shop.history())[0]["payload"] == {"deep": [1]}
    for copied in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), json.loads(json.dumps(state))):
        assert copied == state
        copied["user"]["deep"].append(3)
    snapshot = json.loads(json.dumps(await shop.snapshot()))
    snapshot["state"]["user"]["deep"].append(3)
    assert (await shop.call("get_user"), await shop.state()) == ({"deep": [1]}, state)


async def test_the_history(site: Site) -> None:
    before = time.time()
    shop = await site.start()
    assert await shop.history() == []
    await shop.dispatch("cart.put", [1])
    await shop.cast("set_user", "ann")
    await shop.dispatch("theme", "dark")
    await shop.call("swap_user", "bob")
    newest, oldest = await shop.history()
    assert set(newest) == {"revision", "type", "payload", "at"}
    assert (newest["revision"], newest["type"], newest["payload"]) == (3, "theme", "dark")
    assert (oldest["revision"], oldest["type"], oldest["payload"]) == (1, "cart.put", [1])
    assert before - 60 < oldest["at"] <= newest["at"] < time.time() + 60
    for number in range(7):
        await shop.dispatch("cart.put", number)
    assert [each["payload"] for each in await shop.history()] == [6, 5, 4, 3, 2]


async def test_no_history_by_default(site: Site) -> None:
    assert SessionProcess.history == 0
    plain = await site.start(cls=Plain)
    await plain.dispatch("cart.put", 1)
    assert await plain.history() == []
    with pytest.raises(InvalidValue):
        await plain.time_travel(1)
    assert (await plain.reset(), (await plain.state())["cart"]) == (2, {"items": [], "total": 0})


async def test_time_travel_undoes_and_keeps_the_casts_to_other_keys(site: Site) -> None:
    shop = await site.start()
    for price in (1, 2, 4):
        await shop.dispatch("cart.add_item", {"price": price})
        await shop.cast("set_user", price)
    await shop.dispatch("prefs.theme", "dark")
    assert await shop.time_travel(2) == 8
    state = await shop.state()
    assert (state["cart"]["total"], state["tally"], state["user"]) == (3, 2, 4)
    assert state["preferences"] == {"theme": "light"}
    assert [each["payload"]["price"] for each in await shop.history()] == [2, 1]
    assert await shop.time_travel(2) == 9
    state = await shop.state()
    assert (state["cart"], state["tally"], state["user"]) == ({"items": [], "total": 0}, 0, 4)
    assert await shop.history() == []


async def test_time_travel_is_right_after_truncation(site: Site) -> None:
    shop = await site.start()
    states = [await shop.state()]
    draw = random.Random(1)
    for number in range(12):
        await shop.dispatch(*draw.choice([("cart.add_item", ITEM), ("put", number), ("prefs.theme", str(number))]))
        states.append(await shop.state())
    assert len(await shop.history()) == 5
    for steps in (2, 1, 2):
        await shop.time_travel(steps)
        del states[-steps:]
        assert await shop.state() == states[-1]
    assert len(states) == 8
    with pytest.raises(InvalidValue):
        await shop.time_travel(1)


NO_NUMBERS: list[Any] = [0, -1, 3, 1.0, "1", None, True, [1], 10**30]


async def test_how_far_one_cannot_travel(site: Site) -> None:
    shop = await site.start()
    await shop.dispatch("cart.put", 1)
    await shop.dispatch("cart.put", 2)
    for number in NO_NUMBERS:
        with pytest.raises(InvalidValue):
            await shop.time_travel(number)
    assert (await shop.revision(), len(await shop.history())) == (2, 2)


async def test_reset(site: Site) -> None:
    shop = await site.start("a", "args")
    before = await shop.state()
    await shop.dispatch("put", 1)
    await shop.cast("set_user", "ann")
    assert await shop.reset() == 3
    assert (await shop.state(), await shop.history()) == (before, [])
    assert await shop.dispatch("put", 1) == 4
    assert len(await shop.history()) == 1


async def test_middleware(site: Site) -> None:
    guarded = await site.start(cls=Guarded)
    order.clear()
    assert await guarded.dispatch("cart.put", 1) == 1
    assert order == ["outer a cart.put 1 None", "inner", "outer after 1"]
    assert await guarded.dispatch("cart.put", "drop") == 1
    assert await guarded.dispatch("cart.keep", "rewrite") == 2
    assert (await guarded.state())["cart"]["put"] == {"rewritten": True}
    assert [(each["type"], each["payload"]) for each in await guarded.history()] == [
        ("cart.put", {"rewritten": True}),
        ("cart.put", 1),
    ]
    for payload, error in (("raise", Exception), ("unfit", InvalidValue), ("unknown", UnknownAction)):
        with pytest.raises(error) as caught:
            await guarded.dispatch("cart.keep", payload)
        assert getattr(caught.value, "code", "") in ("cast_failed", "invalid_value", "unknown_action")
    assert (await guarded.revision(), len(await guarded.history())) == (2, 2)


async def plain(shop: Form) -> Any:
    return json.loads(json.dumps(await shop.snapshot()))


async def test_snapshot_and_restore(site: Site) -> None:
    shop = await site.start("a", {"from": "test"})
    await shop.dispatch("cart.add_item", ITEM)
    await shop.cast("set_user", "ann")
    snapshot = await plain(shop)
    restored = await site(Shop).restore("b", snapshot)
    assert await restored.state() == await shop.state()
    assert (await restored.revision(), await restored.history()) == (0, [])
    assert await restored.dispatch("cart.add_item", ITEM) == 1
    assert (await shop.state())["cart"]["total"] == 3
    await restored.reset()
    assert (await restored.state())["args"] == {"from": "test"}
    with pytest.raises(AlreadyExists):
        await site(Shop).restore("a", snapshot)
    with pytest.raises(InvalidSessionId):
        await site(Shop).restore("a b", snapshot)


async def test_a_restored_session_counts(site: Site) -> None:
    site.put(MAX_PROCESSES=1)
    shop = await site.start()
    with pytest.raises(SessionLimitReached):
        await site(Shop).restore("b", await shop.snapshot())


NO_SNAPSHOTS: list[Any] = [None, {}, [], "text", 1, {"vsn": 1}, {"state": {}, "start": {}}, {"vsn": "1", "state": {}}]


async def test_what_is_no_snapshot(site: Site) -> None:
    good = await plain(await site.start())
    wrong = [{**good, "state": [1]}, {**good, "vsn": None}, {**good, "state": {"a": {1}}}, {**good, "vsn": True}]
    for each in [*NO_SNAPSHOTS, *wrong]:
        with pytest.raises(InvalidValue), hearing(process_start_failed) as heard:
            await site(Shop).restore("b", each)
        assert len(heard) == 1
    assert await site(Shop).started("b") is False


async def test_a_snapshot_of_another_version_is_migrated(site: Site) -> None:
    shop = await site.start()
    await shop.cast("set_user", "ann")
    await shop.dispatch("cart.add_item", ITEM)
    snapshot = await plain(shop)
    Newer.seen.clear()
    newer = await site(Newer).restore("new", snapshot)
    assert Newer.seen == [(1, snapshot["state"])]
    assert (await newer.call("get_user"), (await newer.state())["cart"]["total"]) == (["ann", "new"], 3)
    again = await site(Newer).restore("again", await plain(newer))
    assert await again.call("get_user") == ["ann", "new"]
    for user, error in (("raise", CallFailed), ("unfit", InvalidValue)):
        await shop.cast("set_user", user)
        with pytest.raises(error), hearing(process_start_failed) as heard:
            await site(Newer).restore("failed", await plain(shop))
        assert len(heard) == 1
        assert await site(Newer).started("failed") is False


async def test_a_deploy_adds_a_reducer(site: Site) -> None:
    class Grown(Shop):
        reducers = [*Shop.reducers, type("Late", (Cart,), {"name": "late", "prefix": None})]

    restored = await site(Grown).restore("b", await plain(await site.start()))
    assert await restored.dispatch("late.add_item", ITEM) == 1
    assert (await restored.state())["late"]["total"] == 3
