"""Runs the steps of a session's messages in sync and async form: operations of its store, and handlers in threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneError
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import sync_to_async

from syncsessions.exceptions import CallTimeout, SyncSessionsError
from syncsessions.stores import BaseStore
from syncsessions.stores.operations import Operation

Result = TypeVar("Result")


class Blocking(NamedTuple):
    """A function to run in a thread of its own; `CallTimeout` where it has not returned after so many seconds."""

    function: Callable[[], Any]
    timeout: float


class Aside(NamedTuple):
    """A function that may block: called in place by sync code, and in a thread by async code."""

    function: Callable[[], Any]


class Pause(NamedTuple):
    """So many seconds of nothing."""

    seconds: float


Steps = Generator[Operation | Blocking | Aside | Pause, Any, Result]


def run(store: BaseStore, steps: Steps[Result]) -> Result:
    """Take the steps, waiting for each."""
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Blocking):
                    result = _wait(step)
                elif isinstance(step, Aside):
                    result = step.function()
                elif isinstance(step, Pause):
                    time.sleep(step.seconds)
                    result = None
                else:
                    result = store.execute(step)
            except SyncSessionsError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def arun(store: BaseStore, steps: Steps[Result]) -> Result:
    """`run`, without blocking the event loop."""
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, Blocking):
                    result = await _await(step)
                elif isinstance(step, Aside):
                    result = await sync_to_async(step.function)()
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    result = None
                else:
                    result = await store.aexecute(step)
            except SyncSessionsError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def _wait(step: Blocking) -> Any:
    try:
        return _started(step.function).result(step.timeout)
    except NotDoneError:
        raise CallTimeout from None


async def _await(step: Blocking) -> Any:
    try:
        return await asyncio.wait_for(asyncio.wrap_future(_started(step.function)), step.timeout)
    except TimeoutError:
        raise CallTimeout from None


def _started(function: Callable[[], Any]) -> Future[Any]:
    """A thread of its own, and one that does not hold up the end of the process: a handler may hang for ever."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:
            _settle(future, error=error)
        else:
            _settle(future, result)

    threading.Thread(target=work, name="syncsessions-handler", daemon=True).start()
    return future


def _settle(future: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    if not future.set_running_or_notify_cancel():
        return  # nobody waits any more
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
