"""A running session as its users hold it: messages, state, subscriptions. Where it lives is for its subclasses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncsessions.json_values import JSON
from syncsessions.processes.document import snapshot_of
from syncsessions.processes.effects import Effect
from syncsessions.processes.frozen import FrozenDict
from syncsessions.processes.history import shown
from syncsessions.processes.running import arun, run
from syncsessions.processes.steps import TIMEOUT, SessionSteps
from syncsessions.processes.subscriptions import Callback, Subscription
from syncsessions.processes.watching import Watch


class Session(SessionSteps):
    """One life of a process under an id: the next session of that id is another, and not reached by this object.

    Every operation has an `a` twin and raises `SessionNotFound` when the session is gone, `StoreUnavailable` when its
    store is, and `Conflict` where others kept changing it for 15 seconds.
    """

    __slots__ = ()

    # Messages

    def dispatch(self, type: str, payload: Any = None) -> int:  # noqa: A002
        """Send an action; the revision after it, which is the one before where it was dropped or has to wait.

        Raises `UnknownAction`, `CastFailed` when a handler raised, `InvalidValue` for what is no JSON.
        """
        return run(self.store, self._dispatch(type, payload)).document[1]

    async def adispatch(self, type: str, payload: Any = None) -> int:  # noqa: A002
        return (await arun(self.store, self._dispatch(type, payload))).document[1]

    def call(self, name: str, *args: Any, timeout: float = TIMEOUT) -> JSON:
        """The reply of a call. Raises `UnknownAction`, `CallFailed`, `CallTimeout` after `timeout` seconds."""
        return run(self.store, self._call(name, args, timeout))

    async def acall(self, name: str, *args: Any, timeout: float = TIMEOUT) -> JSON:  # noqa: ASYNC109
        return await arun(self.store, self._call(name, args, timeout))

    def cast(self, name: str, *args: Any) -> None:
        """Have a cast change the state. Raises `UnknownAction`, `CastFailed`, `CallTimeout`."""
        run(self.store, self._cast(name, args))

    async def acast(self, name: str, *args: Any) -> None:
        await arun(self.store, self._cast(name, args))

    def run(self, type: str, payload: Any = None) -> Effect:  # noqa: A002
        """Dispatch an action that has an effect; the effect, which can be awaited or cancelled.

        Raises `InvalidValue` for an action without one or with a debounced one, which starts later and maybe elsewhere,
        and `RateLimited` where a throttle drops it. There is nothing to wait for where a middleware drops it, or
        inside a transaction of the store's database.
        """
        return run(self.store, self._run(type, payload))

    async def arun(self, type: str, payload: Any = None) -> Effect:  # noqa: A002
        return await arun(self.store, self._run(type, payload))

    # State

    def state(self, selector: Callable[[Any], Any] | None = None) -> Any:
        """The state, read-only; or what `selector` makes of it."""
        return _selected(run(self.store, self._current()).document[0], selector)

    async def astate(self, selector: Callable[[Any], Any] | None = None) -> Any:
        return _selected((await arun(self.store, self._current())).document[0], selector)

    def revision(self) -> int:
        """How many messages were applied."""
        return run(self.store, self._current()).document[1]

    async def arevision(self) -> int:
        return (await arun(self.store, self._current())).document[1]

    def history(self) -> list[dict[str, JSON]]:
        """The actions kept, newest first: `{revision, type, payload, at}`, `at` in seconds since 1970."""
        return shown(run(self.store, self._log()))

    async def ahistory(self) -> list[dict[str, JSON]]:
        return shown(await arun(self.store, self._log()))

    def time_travel(self, n: int) -> int:
        """Undo the last `n` actions of the history; the revision after it. Raises `InvalidValue`."""
        return run(self.store, self._travel(n)).document[1]

    async def atime_travel(self, n: int) -> int:
        return (await arun(self.store, self._travel(n))).document[1]

    def reset(self) -> int:
        """Back to the start state, with an empty history; the revision after it."""
        return run(self.store, self._message(lambda known: self.machine.reset(known.document))).document[1]

    async def areset(self) -> int:
        return (await arun(self.store, self._message(lambda known: self.machine.reset(known.document)))).document[1]

    def snapshot(self) -> dict[str, JSON]:
        """What `restore` of the same class makes a session of; JSON."""
        return snapshot_of(self.process.path, run(self.store, self._current()).document)

    async def asnapshot(self) -> dict[str, JSON]:
        return snapshot_of(self.process.path, (await arun(self.store, self._current())).document)

    # Life

    def touch(self) -> None:
        """Live for another `ttl` seconds from now."""
        run(self.store, self._keep())

    async def atouch(self) -> None:
        await arun(self.store, self._keep())

    def terminate(self) -> None:
        """End the session: `on_stop` hears `terminated`."""
        run(self.store, self._terminate())

    async def aterminate(self) -> None:
        await arun(self.store, self._terminate())

    # Hearing of changes

    def subscribe(self, selector: Callable[[Any], Any] | None, callback: Callback) -> Subscription:
        """Call back with what `selector` makes of the state: now, and after messages of this process that changed it.

        A selector or callback that raises is reported and harms nothing. It ends with the session.
        """
        return run(self.store, self._subscribe(selector, callback))

    async def asubscribe(self, selector: Callable[[Any], Any] | None, callback: Callback) -> Subscription:
        return await arun(self.store, self._subscribe(selector, callback))

    def watch(self, selector: Callable[[Any], Any] | None = None) -> Watch:
        """An async iterator of what `selector` makes of the state: now, and after changes by any worker.

        Fast changes come as one, the last always comes. It ends when the session stops; `.reason` then says why.
        """
        return Watch(self, selector)


def _selected(state: FrozenDict, selector: Callable[[Any], Any] | None) -> Any:
    return state if selector is None else selector(state)
