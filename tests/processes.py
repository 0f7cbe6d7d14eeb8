"""Session processes for the tests, on each store in turn, their operations in sync and in async form."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from syncsessions import processes
from syncsessions.exceptions import StoreUnavailable
from syncsessions.processes import Reducer, Reply, Session, SessionProcess, action, background, call, cast, sweeping
from syncsessions.processes import process as process_module
from syncsessions.processes.names import NAMESPACE
from syncsessions.stores import stores

State = dict[str, Any]

PLACES = [
    ("memory", "sync"),
    ("memory", "async"),
    ("redis", "sync"),
    ("redis", "async"),
    ("sqlite", "sync"),
    ("sqlite", "async"),
    ("postgresql", "async"),
    ("mysql", "sync"),
]
each_place = pytest.mark.parametrize(("backend", "form"), PLACES, indirect=["backend"])

THROTTLE, DEBOUNCE = 0.4, 0.15
PATIENCE = 10.0  # seconds


class Form:
    """A process, a session or the module whose operations are all awaited; the sessions it gives are in its form."""

    def __init__(self, plain: Any, form: str) -> None:
        self.plain = plain
        self.form = form

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        plain, form = self.plain, self.form
        wanted = getattr(plain, f"a{name}") if form == "async" else sync_to_async(getattr(plain, name))

        async def operation(*args: Any, **kwargs: Any) -> Any:
            result = await wanted(*args, **kwargs)
            return Form(result, form) if isinstance(result, Session) else result

        return operation

    @property
    def id(self) -> str:
        found: str = self.plain.id
        return found


class Site:
    """A project on a store of its own."""

    def __init__(self, form: str, settings: Any) -> None:
        self.form = form
        self._settings = settings
        self.functions = self(processes)

    def __call__(self, plain: Any) -> Form:
        return Form(plain, self.form)

    def put(self, **more: Any) -> None:
        """Other settings, before the first session: a store in memory begins anew with them."""
        self._settings.SYNCSESSIONS = {**self._settings.SYNCSESSIONS, **more}

    async def start(self, id: str = "a", args: Any = None, cls: type[SessionProcess] | None = None) -> Form:  # noqa: A002
        found: Form = await self(cls or Shop).start(id, args)
        return found

    async def elsewhere(self, session: Form) -> Form:
        """The session as another worker has it; in memory there is one process only."""
        process_module._sessions.clear()
        found: Form = await self(session.plain.process).get(session.id)
        return found

    async def let_expire(self, session: Form) -> None:
        """Have its deadline come now."""
        await self(stores["processes"]).touch(NAMESPACE, session.plain.key[0], 0.001)


@pytest.fixture
def site(params: dict[str, Any], form: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(sweeping, "SWEPT_EVERY", 10**9)  # by the tests only
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "STORES": {"default": params}}
    with nothing_goes_on():
        yield Site(form, settings)


@contextmanager
def nothing_goes_on() -> Iterator[None]:
    """What a test has begun in the background ends with it, before its stores are taken away."""
    yield
    if background._loop is not None:
        background.start(_end_all()).result(PATIENCE)
    stores.close_all()
    if background._loop is not None:
        background.start(_others_end()).result(PATIENCE)  # connections that are being closed


async def _end_all() -> None:
    for handle in getattr(asyncio.get_running_loop(), "_scheduled", ()):
        handle.cancel()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await _others_end()


async def _others_end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=PATIENCE)


class Cart(Reducer):
    name = "cart"
    initial_state = {"items": [], "total": 0}

    @action
    def add_item(self, state: State, item: State) -> State:
        return {"items": [*state["items"], item], "total": state["total"] + item["price"]}

    @action
    def put(self, state: State, payload: Any) -> State:
        return {**state, "put": payload}

    @action
    def sign(self, state: State, payload: Any) -> State:
        return {**state, "signed": self.session_id}

    @action
    def keep(self, state: State, payload: Any) -> State:
        return state

    @action
    def boom(self, state: State, payload: Any) -> State:
        raise RuntimeError("no way")

    @action
    def spoil(self, state: State, payload: Any) -> State:
        state["items"].append("spoiled")
        return state

    @action
    def unfit(self, state: State, payload: Any) -> State:
        return {**state, "unfit": {1, 2}}

    @action(throttle=THROTTLE)
    def press(self, state: State, payload: Any) -> State:
        return {**state, "pressed": [*state.get("pressed", []), payload]}

    @action(debounce=DEBOUNCE)
    def search(self, state: State, payload: Any) -> State:
        return {**state, "searched": [*state.get("searched", []), payload]}

    @action(debounce=DEBOUNCE)
    def boom_later(self, state: State, payload: Any) -> State:
        raise RuntimeError("too late")

    def helper(self, state: State, payload: Any) -> State:
        return {"helped": True}


class Preferences(Reducer):
    name = "preferences"
    prefix = "prefs"
    initial_state = {"theme": "light"}

    @action
    def theme(self, state: State, theme: str) -> State:
        return {**state, "theme": theme}

    @action
    def put(self, state: State, payload: Any) -> State:
        return {**state, "put": payload}


class Tally(Reducer):
    """Counts some of what others handle."""

    name = "tally"
    prefix = ""
    initial_state = 0

    @action
    def add_item(self, state: int, payload: Any) -> int:
        return state + 1

    @action
    def greet(self, state: int, payload: Any) -> int:
        return state + 100


class Shop(SessionProcess):
    reducers = [Cart, Preferences, Tally]
    history = 5

    def init(self, args: Any) -> State:
        return {"user": None, "args": args}

    @call
    def get_user(self, state: State) -> Any:
        return state["user"]

    @call
    def swap_user(self, state: State, user: Any) -> Reply:
        return Reply(state["user"], {**state, "user": user})

    @call
    def whoami(self, state: State) -> str:
        return self.session_id

    @call
    def echo(self, state: State, *args: Any) -> Any:
        return args

    @call
    def bad_call(self, state: State) -> None:
        raise KeyError("lost")

    @call
    def spoiling_call(self, state: State) -> Any:
        state["user"] = "spoiled"

    @call
    def unfit_reply(self, state: State) -> Any:
        return {"deep": [object()]}

    @call
    def unfit_state(self, state: State) -> Any:
        return Reply(1, {**state, "unfit": float("nan")})

    @call
    def doze(self, state: State, seconds: float) -> Reply:
        time.sleep(seconds)
        return Reply("late", {**state, "user": "late"})

    @call(blocking=True)
    def hang(self, state: State) -> Reply:
        released.wait(PATIENCE)
        return Reply("late", {**state, "user": "late"})

    @call(blocking=True)
    def work(self, state: State) -> Reply:
        return Reply(threading.current_thread().name, {**state, "user": "worked"})

    @cast
    def set_user(self, state: State, user: Any) -> State:
        return {**state, "user": user}

    @cast
    def bad_cast(self, state: State) -> State:
        raise ValueError("wrong")

    @cast
    def spoiling_cast(self, state: State) -> State:
        state["cart"]["items"].append("spoiled")
        return state

    @cast
    def unfit_cast(self, state: State) -> Any:
        return {**state, "unfit": {1}}

    @cast
    def no_state(self, state: State) -> Any:
        return ["no", "state"]

    @cast
    def doze_off(self, state: State, seconds: float) -> State:
        time.sleep(seconds)
        return {**state, "user": "late"}

    @cast(blocking=True)
    def hang_on(self, state: State) -> State:
        released.wait(PATIENCE)
        return {**state, "user": "late"}

    def secret(self, state: State) -> str:
        return "secret"


class Kiosk(SessionProcess):
    """Another process."""

    reducers = {"basket": Cart}

    @cast
    def set_user(self, state: State, user: Any) -> State:
        return {**state, "user": user}


released = threading.Event()
"""Lets the handlers go that hang."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    released.clear()
    yield released
    released.set()


@contextmanager
def hearing(*signals: Any) -> Iterator[list[State]]:
    """The arguments with which these signals come, the signal among them."""
    heard: list[State] = []

    def hear(**named: Any) -> None:
        heard.append(named)

    for signal in signals:
        signal.connect(hear)
    try:
        yield heard
    finally:
        for signal in signals:
            signal.disconnect(hear)


def away_in_the_background(monkeypatch: pytest.MonkeyPatch, session: Form, times: int) -> list[bool]:
    """The store does not answer when this process's background loop first looks at the session; for each time, whether
    it is still to come."""
    kind = type(session.plain)
    current, away = kind._current, [True] * times

    def at_first_away(self: Any) -> Any:
        if True in away and threading.current_thread().name == "syncsessions-processes":
            away[away.index(True)] = False
            raise StoreUnavailable
        return (yield from current(self))

    monkeypatch.setattr(kind, "_current", at_first_away)
    return away


async def until(condition: Callable[[], Any], deadline: float = PATIENCE) -> Any:
    """Wait until the condition gives something true, awaited where it must be; that."""
    ends = time.monotonic() + deadline
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < ends, "it never came true"
        await asyncio.sleep(0.005)
