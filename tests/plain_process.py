"""A shop as a session process, and the plainest session there can be: what the contract says of it, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from syncsessions.processes import Reducer, Reply, Session, SessionProcess, action, call, cast
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
