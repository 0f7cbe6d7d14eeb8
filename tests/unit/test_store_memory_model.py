"""The memory store against the plainest one there is: any sequence of operations gives the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from syncsessions.exceptions import AlreadyExists, Conflict, NotFound, RateLimited, SessionLimitReached
from syncsessions.stores.memory import MemoryStore, store
from tests.stores import Clock


class Plain:
    """Every operation by a look at everything."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.hits: list[tuple[str, float]] = []

    def live(self, clock: Clock) -> list[dict[str, Any]]:
        return [each for each in self.all if each["until"] > clock.now]

    def find(self, name: str, clock: Clock) -> dict[str, Any] | None:
        return next((each for each in self.live(clock) if each["id"] == name), None)


names = strategies.sampled_from("abcd")
ttls = strategies.sampled_from([1, 2, 3, 5, 8])
lives = strategies.sampled_from([None, "right", "wrong"])


class AnySequence(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(store, "clock", self.clock)
        self.memory, self.plain, self.made = MemoryStore("default", {}), Plain(), 0

    def teardown(self) -> None:
        self.patch.undo()

    def life(self, which: str | None, found: dict[str, Any] | None) -> str | None:
        return found["life"] if which == "right" and found else which

    @rule(seconds=strategies.sampled_from([0.5, 1, 2, 6]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(name=names, ttl=ttls, limit=strategies.sampled_from([None, 0, 1, 2, 3]), rated=strategies.booleans())
    def create(self, name: str, ttl: int, limit: int | None, rated: bool) -> None:
        now, live = self.clock.now, self.plain.live(self.clock)
        recent = [at for key, at in self.plain.hits if key == "creates" and at > now - 1]
        refused: type[Exception] | None = None
        if self.plain.find(name, self.clock):
            refused = AlreadyExists
        elif limit is not None and len(live) >= limit:
            refused = SessionLimitReached
        elif rated and len(recent) >= 2:
            refused = RateLimited
        call = partial(
            self.memory.create, "n", name, {"n": self.made}, ttl=ttl, limit=limit, rate="2/s" if rated else None
        )
        if refused:
            with pytest.raises(refused):
                call()
            return
        record = call()
        if rated:
            self.plain.hits.append(("creates", now))
        self.plain.all.append(
            {"id": name, "life": record.life, "revision": 1, "data": record.data, "until": now + ttl, "log": []}
        )
        self.made += 1

    @rule(
        name=names,
        ttl=ttls | strategies.none(),
        which=lives,
        late=strategies.booleans(),
        log=strategies.booleans(),
        keep=strategies.integers(0, 3),
        drop=strategies.integers(0, 3),
    )
    def replace(
        self, name: str, ttl: int | None, which: str | None, late: bool, log: bool, keep: int, drop: int
    ) -> None:
        found = self.plain.find(name, self.clock)
        revision = (found["revision"] if found else 1) + late
        more = {"ttl": ttl, "life": self.life(which, found), "log": self.made if log else None}
        call = partial(
            self.memory.replace, "n", name, {"r": self.made}, revision=revision, keep=keep, log_drop=drop, **more
        )
        if found is None or late or which == "wrong":
            with pytest.raises(Conflict if found else NotFound):
                call()
            return
        record = call()
        entries = found["log"][: len(found["log"]) - drop] if drop < len(found["log"]) else []
        if log:
            entries = [*entries, self.made][-keep:] if keep else []
        found.update(revision=revision + 1, data=record.data, log=entries)
        if ttl is not None:
            found["until"] = self.clock.now + ttl
        self.made += 1

    @rule(name=names, ttl=ttls, which=lives)
    def touch(self, name: str, ttl: int, which: str | None) -> None:
        found = self.plain.find(name, self.clock)
        life = self.life(which, found)
        if found is None or which == "wrong":
            with pytest.raises(Conflict if found else NotFound):
                self.memory.touch("n", name, ttl, life=life)
            return
        self.memory.touch("n", name, ttl, life=life)
        found["until"] = self.clock.now + ttl

    @rule(name=names, which=lives)
    def delete(self, name: str, which: str | None) -> None:
        found = self.plain.find(name, self.clock)
        gone = found is not None and which != "wrong"
        assert self.memory.delete("n", name, life=self.life(which, found)) is gone
        if found is not None and gone:
            self.plain.all.remove(found)

    @rule(limit=strategies.integers(0, 3))
    def expire(self, limit: int) -> None:
        past = {each["life"]: each for each in self.plain.all if each["until"] <= self.clock.now}
        found = self.memory.expire("n", limit=limit)
        assert len(found) == min(limit, len(past))
        for record in found:
            each = past.pop(record.life)
            assert (record.id, record.revision, record.data) == (each["id"], each["revision"], each["data"])
            self.plain.all.remove(each)

    @rule(name=names)
    def read(self, name: str) -> None:
        live = self.plain.live(self.clock)
        assert self.memory.count("n") == len(live)
        assert [(r.life, r.revision, r.data) for r in self.memory.list("n")] == [
            (each["life"], each["revision"], each["data"]) for each in reversed(live)
        ]
        found = self.plain.find(name, self.clock)
        if found is None:
            for read in (self.memory.get, self.memory.read_log):
                with pytest.raises(NotFound):
                    read("n", name)
            return
        record = self.memory.get("n", name)
        assert (record.life, record.revision, record.data) == (found["life"], found["revision"], found["data"])
        assert record.expires_at.timestamp() == found["until"]
        assert self.memory.read_log("n", name) == found["log"][::-1]


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
