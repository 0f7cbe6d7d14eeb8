"""Session processes against the plainest ones there are: any schedule of messages and moments gives the same."""

from __future__ import annotations

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
from syncsessions.processes import Session, live, registry, sweeping, telling, timers
from syncsessions.signals import process_stopped
from syncsessions.stores.memory import store
from tests.plain_process import (
    ACTIONS,
    HISTORY,
    INITIAL,
    SELECTORS,
    Life,
    Shop,
    ShopWithHistory,
    in_order,
    plain,
    stopped,
)
from tests.stores import Clock

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
