"""Session processes against the plainest ones there are: any schedule of messages and moments gives the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test.utils import override_settings
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syncsessions import processes
from syncsessions.exceptions import (
    AlreadyExists,
    CallFailed,
    CastFailed,
    InvalidValue,
    SessionNotFound,
    UnknownAction,
)
from syncsessions.processes import (
    Reducer,
    Reply,
    Session,
    SessionProcess,
    action,
    call,
    cast,
    live,
    registry,
    sweeping,
    telling,
    timers,
)
from syncsessions.signals import process_stopped
from syncsessions.stores.memory import store
from tests.stores import Clock

TTL, HISTORY, THROTTLE, LATER, MUCH_LATER = 10.0, 3, 2.0, 2.0, 3.0
EMPTY_CART: dict[str, Any] = {"items": [], "count": 0}
EMPTY_PREFERENCES: dict[str, Any] = {"value": None}


class Cart(Reducer):
    name = "cart"
    initial_state = EMPTY_CART

    @action
    def add(self, state: Any, item: Any) -> Any:
        return {**state, "items": [*state["items"], item], "count": state["count"] + 1}

    @action
    def clear(self, state: Any, payload: Any) -> Any:
        return EMPTY_CART

    @action
    def same(self, state: Any, payload: Any) -> Any:
        return state

    @action
    def fail(self, state: Any, payload: Any) -> Any:
        raise ValueError

    @action(throttle=THROTTLE)
    def seldom(self, state: Any, value: Any) -> Any:
        return {**state, "seldom": value}

    @action(debounce=LATER)
    def later(self, state: Any, value: Any) -> Any:
        if value == 0:
            raise ValueError
        return {**state, "later": value}


class Preferences(Reducer):
    name = "preferences"
    prefix = "prefs"
    initial_state = EMPTY_PREFERENCES

    @action
    def set(self, state: Any, value: Any) -> Any:
        return {"value": value}

    @action
    def clear(self, state: Any, payload: Any) -> Any:
        return EMPTY_PREFERENCES

    @action
    def seldom(self, state: Any, value: Any) -> Any:
        return {**state, "seldom": value}

    @action(debounce=MUCH_LATER)
    def later(self, state: Any, value: Any) -> Any:
        return {**state, "later": value}


stopped: list[tuple[str, str, Any, str]] = []


class Shop(SessionProcess):
    reducers = [Cart, Preferences]
    ttl = TTL

    def init(self, args: Any) -> dict[str, Any]:
        return {"user": args}

    def on_stop(self, session_id: str, state: Any, reason: str) -> None:
        stopped.append((type(self).__name__, session_id, plain(state), reason))

    @call
    def get_user(self, state: Any) -> Any:
        return state["user"]

    @call
    def swap_user(self, state: Any, user: Any) -> Any:
        return Reply(state["user"], {**state, "user": user})

    @call
    def fail_call(self, state: Any) -> Any:
        raise ValueError

    @cast
    def put(self, state: Any, key: str, value: Any) -> Any:
        return {**state, key: value}

    @cast
    def forget(self, state: Any, key: str) -> Any:
        return {each: value for each, value in state.items() if each != key}

    @cast
    def fail_cast(self, state: Any) -> Any:
        raise ValueError


class ShopWithHistory(Shop):
    history = HISTORY


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def in_order(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


Handle = Callable[[Any, Any], Any]

HANDLERS: dict[str, tuple[str, Handle, float, float]] = {
    # slice, what it makes of it, throttle, debounce
    "cart.add": ("cart", lambda s, p: {**s, "items": s["items"] + [p], "count": s["count"] + 1}, 0, 0),
    "cart.clear": ("cart", lambda s, p: EMPTY_CART, 0, 0),
    "cart.same": ("cart", lambda s, p: s, 0, 0),
    "cart.seldom": ("cart", lambda s, p: {**s, "seldom": p}, THROTTLE, 0),
    "cart.later": ("cart", lambda s, p: {**s, "later": p}, 0, LATER),
    "preferences.set": ("preferences", lambda s, p: {"value": p}, 0, 0),
    "preferences.clear": ("preferences", lambda s, p: EMPTY_PREFERENCES, 0, 0),
    "preferences.seldom": ("preferences", lambda s, p: {**s, "seldom": p}, 0, 0),
    "preferences.later": ("preferences", lambda s, p: {**s, "later": p}, 0, MUCH_LATER),
}
ACTIONS = {
    "cart.add": ["cart.add"],
    "add": ["cart.add"],
    "cart.clear": ["cart.clear"],
    "prefs.clear": ["preferences.clear"],
    "clear": ["cart.clear", "preferences.clear"],
    "cart.same": ["cart.same"],
    "prefs.set": ["preferences.set"],
    "cart.seldom": ["cart.seldom"],
    "seldom": ["cart.seldom", "preferences.seldom"],
    "cart.later": ["cart.later"],
    "prefs.later": ["preferences.later"],
    "later": ["cart.later", "preferences.later"],
}
INITIAL = {"cart": EMPTY_CART, "preferences": EMPTY_PREFERENCES}
SELECTORS: list[Callable[[Any], Any]] = [
    lambda state: state["cart"]["count"],
    lambda state: state["x"],  # fails where there is none
    lambda state: state.get("y"),
    lambda state: [state["user"], state.get("preferences")],
    lambda state: state,
]


class Life:
    """One session by the words of the contract."""

    def __init__(self, clock: Clock, session: Session, start: dict[str, Any], state: dict[str, Any]) -> None:
        self.clock, self.session, self.start, self.state = clock, session, start, state
        self.revision = 0
        self.history: list[dict[str, Any]] = []
        self.throttled: dict[str, float] = {}
        self.pending: dict[str, tuple[float, str, Any]] = {}
        self.heard: list[tuple[Callable[[Any], Any], list[Any], list[Any]]] = []
        self.keep()

    @property
    def is_live(self) -> bool:
        return self.deadline > self.clock.now

    def keep(self) -> None:
        self.deadline = self.clock.now + TTL

    def settle(self) -> None:
        """Apply what is due."""
        while self.pending:
            key = min(self.pending, key=lambda each: self.pending[each][0])
            due, type_, payload = self.pending[key]
            if due > self.clock.now:
                return
            del self.pending[key]
            if key == "cart.later" and payload == 0:
                self.keep()
            else:
                self.act([key], type_, payload)

    def act(self, keys: list[str], type_: str, payload: Any) -> None:
        after = dict(self.state)
        for key in keys:
            name, handle, *_ = HANDLERS[key]
            after[name] = handle(after.get(name, INITIAL[name]), payload)
        changed = [name for name in after if name not in self.state or self.state[name] != after[name]]
        entry = {"type": type_, "payload": payload, "at": self.clock.now, "revision": self.revision + 1}
        entry["before"] = {name: self.state.get(name, KeyError) for name in changed}
        self.history = [*self.history, entry][-HISTORY:]
        self.change(after)

    def change(self, state: dict[str, Any]) -> None:
        self.state, self.revision = state, self.revision + 1
        self.keep()
        for each in self.heard:
            self.tell(*each)

    def tell(self, selector: Callable[[Any], Any], expected: list[Any], _heard: list[Any]) -> None:
        try:
            value = selector(self.state)
        except KeyError:
            return
        if not expected or expected[-1] != value:
            expected.append(plain(value))

    def dispatch(self, type_: str, payload: Any) -> None:
        self.settle()
        ready = []
        for key in ACTIONS[type_]:
            _name, _handle, throttle, debounce = HANDLERS[key]
            if throttle:
                if self.throttled.get(key, 0.0) > self.clock.now:
                    continue
                self.throttled[key] = self.clock.now + throttle
            if debounce:
                self.pending[key] = (self.clock.now + debounce, type_, payload)
            else:
                ready.append(key)
        if ready:
            self.act(ready, type_, payload)
        else:
            self.keep()

    def travel(self, n: int) -> None:
        state = dict(self.state)
        for entry in reversed(self.history[-n:]):
            for name, value in entry["before"].items():
                if value is KeyError:
                    state.pop(name, None)
                else:
                    state[name] = value
        self.history = self.history[:-n]
        self.change(state)


names = strategies.sampled_from(["a", "b"])
classes = strategies.sampled_from([Shop, ShopWithHistory])
values = strategies.integers(0, 3)
keys = strategies.sampled_from(["x", "y", "user"])


class AnySchedule(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(store, "clock", self.clock)
        self.patch.setattr(live, "clock", self.clock)
        self.patch.setattr(timers, "set", lambda session, delay: None)  # whoever comes next applies what is due
        self.patch.setattr(sweeping, "SWEPT_EVERY", 2**62)
        self.patch.setattr(telling.logger, "disabled", True)
        self.override = override_settings(
            SYNCSESSIONS={"STORES": {"default": {"BACKEND": "syncsessions.stores.memory.MemoryStore"}}}
        )
        self.override.enable()
        stopped.clear()
        self.ends: list[tuple[str, str, Any, str]] = []
        self.told: list[tuple[str, str, str]] = []
        process_stopped.connect(self.listen)
        self.lives: dict[tuple[type[Shop], str], Life] = {}
        self.dead: list[tuple[tuple[type[Shop], str], Life]] = []
        """Expired, and not swept."""
        self.gone: list[Session] = []
        self.snapshots: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []

    def listen(self, sender: Any, session_id: str, reason: str, **kwargs: Any) -> None:
        self.told.append((sender.__name__, session_id, reason))

    def teardown(self) -> None:
        if not hasattr(self, "patch"):
            return
        try:
            for (cls, name), life in self.live().items():
                self.compare(cls, name, life)
            self.terminate_several(["a", "b"])
            self.sweep()
            assert not any(session.key in registry.local for session in self.gone)
        finally:
            process_stopped.disconnect(self.listen)
            self.override.disable()
            self.patch.undo()

    def live(self) -> dict[tuple[type[Shop], str], Life]:
        for key, life in list(self.lives.items()):
            if not life.is_live:
                del self.lives[key]
                self.dead.append((key, life))
                self.gone.append(life.session)
        return self.lives

    def find(self, cls: type[Shop], name: str) -> Life | None:
        return self.live().get((cls, name))

    def ended(self, cls: type[Shop], name: str, life: Life, reason: str) -> None:
        self.ends.append((cls.__name__, name, plain(life.state), reason))

    def compare(self, cls: type[Shop], name: str, life: Life) -> None:
        life.settle()
        session = cls.get(name)
        assert session is life.session
        assert plain(session.state()) == life.state
        assert session.revision() == life.revision
        kept = life.history[::-1] if cls is ShopWithHistory else []
        assert session.history() == [{key: value for key, value in entry.items() if key != "before"} for entry in kept]
        for _selector, expected, heard in life.heard:
            assert plain(heard) == expected

    # Life

    @rule(seconds=strategies.sampled_from([0.5, 1, 2, 3, 6, 10]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(cls=classes, name=names, user=values)
    def start(self, cls: type[Shop], name: str, user: int) -> None:
        if self.find(cls, name):
            with pytest.raises(AlreadyExists):
                cls.start(name, user)
            return
        start = {"user": user}
        self.lives[cls, name] = Life(self.clock, cls.start(name, user), start, {**start, **INITIAL})

    @rule(cls=classes, name=names, user=values)
    def get_or_start(self, cls: type[Shop], name: str, user: int) -> None:
        life = self.find(cls, name)
        session = cls.get_or_start(name, user)
        if life is not None:
            assert session is life.session
            return
        self.lives[cls, name] = Life(self.clock, session, {"user": user}, {"user": user, **INITIAL})

    @rule(cls=classes, name=names)
    def touch(self, cls: type[Shop], name: str) -> None:
        life = self.find(cls, name)
        if life is not None:
            life.session.touch()
            life.keep()

    @rule(cls=classes, name=names)
    def terminate(self, cls: type[Shop], name: str) -> None:
        life = self.find(cls, name)
        if life is not None:
            life.session.terminate()
            self.terminated(cls, name)

    def terminated(self, cls: type[Shop], name: str) -> None:
        life = self.lives.pop((cls, name))
        self.ended(cls, name, life, "terminated")
        self.gone.append(life.session)

    @rule(ids=strategies.lists(strategies.sampled_from(["a", "b", "unknown"])))
    def terminate_several(self, ids: list[str]) -> None:
        found = [key for key in self.live() if key[1] in ids]
        assert processes.terminate_sessions(ids) == len(found)
        for key in found:
            self.terminated(*key)

    @rule()
    def sweep(self) -> None:
        self.live()
        assert processes.expire_sessions() == len(self.dead)
        for (cls, name), life in self.dead:
            self.ended(cls, name, life, "expired")
        self.dead.clear()
        assert sorted(map(in_order, stopped)) == sorted(map(in_order, self.ends))
        assert sorted(self.told) == sorted((cls, name, reason) for cls, name, _state, reason in self.ends)

    @rule(cls=classes, name=names)
    def look(self, cls: type[Shop], name: str) -> None:
        live = self.live()
        life = live.get((cls, name))
        assert processes.count_sessions() == processes.session_stats()["count"] == len(live)
        assert processes.list_sessions() == [each.session for each in reversed(live.values())]
        assert cls.started(name) is (life is not None)
        if life is not None:
            self.compare(cls, name, life)
            return
        with pytest.raises(SessionNotFound):
            cls.get(name)

    @rule(number=strategies.integers(0, 9))
    def the_gone_are_gone(self, number: int) -> None:
        self.live()
        if not self.gone:
            return
        session = self.gone[number % len(self.gone)]
        uses: list[Callable[[], Any]] = [
            session.state,
            session.revision,
            session.history,
            session.snapshot,
            session.touch,
            session.reset,
            session.terminate,
            lambda: session.dispatch("cart.add", 1),
            lambda: session.dispatch("cart.later", 1),
            lambda: session.cast("put", "x", 1),
            lambda: session.call("get_user"),
            lambda: session.time_travel(1),
            lambda: session.subscribe(None, print),
        ]
        for use in uses:
            with pytest.raises(SessionNotFound):
                use()

    # Messages

    @rule(cls=classes, name=names, type_=strategies.sampled_from(list(ACTIONS)), payload=values)
    def dispatch(self, cls: type[Shop], name: str, type_: str, payload: int) -> None:
        life = self.find(cls, name)
        if life is not None:
            life.dispatch(type_, payload)
            assert life.session.dispatch(type_, payload) == life.revision

    @rule(cls=classes, name=names)
    def fail(self, cls: type[Shop], name: str) -> None:
        life = self.find(cls, name)
        if life is None:
            return
        life.settle()
        for refused, message in [
            (CastFailed, lambda session: session.dispatch("cart.fail")),
            (InvalidValue, lambda session: session.dispatch("cart.add", object())),
            (InvalidValue, lambda session: session.cast("put", "x", {1})),
            (UnknownAction, lambda session: session.dispatch("preferences.set", 1)),
            (UnknownAction, lambda session: session.call("put", "x", 1)),
            (CastFailed, lambda session: session.cast("fail_cast")),
            (CallFailed, lambda session: session.call("fail_call")),
        ]:
            with pytest.raises(refused):
                message(life.session)
        self.compare(cls, name, life)

    @rule(cls=classes, name=names)
    def call_to_read(self, cls: type[Shop], name: str) -> None:
        life = self.find(cls, name)
        if life is None:
            return
        life.settle()
        if "user" in life.state:
            life.keep()
            assert life.session.call("get_user") == life.state["user"]

    @rule(cls=classes, name=names, user=values)
    def call_to_change(self, cls: type[Shop], name: str, user: int) -> None:
        life = self.find(cls, name)
        if life is None:
            return
        life.settle()
        if "user" in life.state:
            assert life.session.call("swap_user", user) == life.state["user"]
            life.change({**life.state, "user": user})

    @rule(cls=classes, name=names, key=keys, value=values)
    def put(self, cls: type[Shop], name: str, key: str, value: int) -> None:
        life = self.find(cls, name)
        if life is not None:
            self.changed(life, key, value)
            life.session.cast("put", key, value)

    def changed(self, life: Life, key: str, value: int) -> None:
        life.settle()
        life.change({**life.state, key: value})

    @rule(cls=classes, name=names, key=strategies.sampled_from(["x", "y", "user", "preferences"]))
    def forget(self, cls: type[Shop], name: str, key: str) -> None:
        life = self.find(cls, name)
        if life is not None:
            life.settle()
            life.change({each: value for each, value in life.state.items() if each != key})
            life.session.cast("forget", key)

    @rule(key=keys, value=values)
    def broadcast(self, key: str, value: int) -> None:
        live = self.live()
        for life in live.values():
            self.changed(life, key, value)
        assert processes.broadcast("put", key, value) == len(live)

    @rule(cls=classes, name=names, n=strategies.integers(0, HISTORY + 1))
    def travel(self, cls: type[Shop], name: str, n: int) -> None:
        life = self.find(cls, name)
        if life is None:
            return
        life.settle()
        if not (cls is ShopWithHistory and 1 <= n <= len(life.history)):
            with pytest.raises(InvalidValue):
                life.session.time_travel(n)
        else:
            life.travel(n)
            assert life.session.time_travel(n) == life.revision
        self.compare(cls, name, life)

    @rule(cls=classes, name=names)
    def reset(self, cls: type[Shop], name: str) -> None:
        life = self.find(cls, name)
        if life is None:
            return
        life.settle()
        life.history, life.throttled, life.pending = [], {}, {}
        life.change({**life.start, **INITIAL})
        assert life.session.reset() == life.revision

    @rule(cls=classes, name=names, selector=strategies.sampled_from(SELECTORS))
    def subscribe(self, cls: type[Shop], name: str, selector: Callable[[Any], Any]) -> None:
        life = self.find(cls, name)
        if life is None:
            return
        life.settle()
        life.heard.append((selector, [], []))
        life.tell(*life.heard[-1])
        life.session.subscribe(selector, life.heard[-1][2].append)

    @rule(cls=classes, name=names)
    def snapshot(self, cls: type[Shop], name: str) -> None:
        life = self.find(cls, name)
        if life is not None:
            life.settle()
            self.snapshots.append((plain(life.session.snapshot()), life.start, life.state))

    @rule(cls=classes, name=names, number=strategies.integers(0, 9))
    def restore(self, cls: type[Shop], name: str, number: int) -> None:
        if not self.snapshots:
            return
        snapshot, start, state = self.snapshots[number % len(self.snapshots)]
        if self.find(cls, name):
            with pytest.raises(AlreadyExists):
                cls.restore(name, snapshot)
            return
        self.lives[cls, name] = Life(self.clock, cls.restore(name, snapshot), start, {**INITIAL, **state})


TestAnySchedule = AnySchedule.TestCase
TestAnySchedule.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
