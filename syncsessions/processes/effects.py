"""Effects: async handlers that run after their action was applied, on this process's background loop, at most once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for_all
from typing import TYPE_CHECKING, Any

from syncsessions.exceptions import SessionNotFound
from syncsessions.processes import background, registry, telling
from syncsessions.processes.frozen import FrozenDict
from syncsessions.processes.machine import Cause
from syncsessions.processes.running import arun
from syncsessions.processes.watching import wait_for_the_end

if TYPE_CHECKING:
    from syncsessions.processes.steps import SessionSteps


class Effect:
    """A running effect: `await` it, or `result(timeout)`, for what it returned; `cancel()` it."""

    def __init__(self, futures: Sequence[Future[Any]]) -> None:
        self._futures = list(futures)

    def cancel(self) -> None:
        """Stop it, where it has not ended."""
        for future in self._futures:
            future.cancel()

    def done(self) -> bool:
        return all(future.done() for future in self._futures)

    def cancelled(self) -> bool:
        return any(future.cancelled() for future in self._futures)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its end. Raises what it raised, `TimeoutError`, or `concurrent.futures.CancelledError`."""
        _done, unfinished = wait_for_all(self._futures, timeout)
        if unfinished:
            raise TimeoutError
        return _one([future.result() for future in self._futures])

    def __await__(self) -> Generator[Any, None, Any]:
        return self._ended().__await__()

    async def _ended(self) -> Any:
        return _one(await asyncio.gather(*map(asyncio.wrap_future, self._futures)))


def _one(results: list[Any]) -> Any:
    return results[0] if len(results) == 1 else results


def joined(effects: Sequence[Effect]) -> Effect:
    """What one action has started, as one."""
    return effects[0] if len(effects) == 1 else Effect([future for each in effects for future in each._futures])


class Seen(FrozenDict):
    """The state as an effect last saw it; called, `await state(selector)`, it is read anew."""

    __slots__ = ("_read",)

    def __init__(self, state: FrozenDict, read: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(state)
        self.depth = state.depth
        self._read = read

    def __call__(self, selector: Callable[[Any], Any] | None = None) -> Coroutine[Any, Any, Any]:
        return self._read(selector)


class Context:
    """What an effect is given: `session_id`, `state`, `dispatch`."""

    def __init__(self, session: SessionSteps, state: FrozenDict) -> None:
        self._session = session
        self._tasks: set[asyncio.Task[int]] = set()
        self.session_id = session.id
        self.state = Seen(state, self._read)

    def dispatch(self, type: str, payload: Any = None) -> asyncio.Task[int]:  # noqa: A002
        """Send an action of the same session; it goes out whether awaited or not. The revision after it."""
        task = asyncio.ensure_future(self._dispatch(type, payload))
        self._tasks.add(task)
        return task

    async def _dispatch(self, type_: str, payload: Any) -> int:
        state, revision, _rest = (await arun(self._session.store, self._session._dispatch(type_, payload))).document
        self.state = Seen(state, self._read)
        return revision

    async def _read(self, selector: Callable[[Any], Any] | None) -> Any:
        state = (await arun(self._session.store, self._session._current())).document[0]
        self.state = Seen(state, self._read)
        return state if selector is None else selector(state)

    async def finish(self) -> None:
        """Wait for what was sent and not awaited; the first error of it is raised."""
        if self._tasks:
            await asyncio.gather(*self._tasks)


class Running:
    """The effects of one session that run in this process."""

    def __init__(self, session: SessionSteps) -> None:
        self._session = session
        self._effects: dict[Future[Any], None] = {}
        self._watch: Future[Any] | None = None
        self._lock = threading.Lock()

    def add(self, future: Future[Any]) -> None:
        with self._lock:
            self._effects[future] = None
            if self._watch is None:
                self._watch = background.start(self._cancel_at_the_end())
        future.add_done_callback(self._remove)

    def __bool__(self) -> bool:
        return bool(self._effects)

    def cancel(self) -> None:
        for future in list(self._effects):
            future.cancel()

    def _remove(self, future: Future[Any]) -> None:
        with self._lock:
            self._effects.pop(future, None)
            watch = None
            if not self._effects:
                watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            self._session.forget_if_idle()

    async def _cancel_at_the_end(self) -> None:
        """The session may be stopped by any worker."""
        await wait_for_the_end(self._session)
        self.cancel()


def start(session: SessionSteps, cause: Cause, state: FrozenDict) -> Effect:
    """Run an effect of this session, which has just come to this state."""
    reducer = session.machine._reducers[cause.handler.owner]
    future = background.start(_run(session, cause, reducer, state))
    with registry.making:
        if session._effects is None:
            session._effects = Running(session)
    session._effects.add(future)
    return Effect([future])


async def _run(session: SessionSteps, cause: Cause, reducer: Any, state: FrozenDict) -> Any:
    context = Context(session, state)
    try:
        result = await cause.handler.method(reducer, context, cause.payload)
        await context.finish()
    except (asyncio.CancelledError, CancelledError):
        raise
    except SessionNotFound:
        raise  # it was stopped meanwhile
    except Exception as error:
        telling.harmless(session.process, session.id, "effect", error)
        raise
    else:
        return result
