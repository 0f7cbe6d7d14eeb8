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

from syncsessions.exceptions import CallTimeout
from syncsessions.stores import BaseStore
from syncsessions.stores.operations import Operation
from syncsessions.stores.steps import adrive, drive

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

    def act(step: Any) -> Any:
        if isinstance(step, Blocking):
            return _wait(step)
        if isinstance(step, Aside):
            return step.function()
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        return store.execute(step)

    return drive(act, steps)


async def arun(store: BaseStore, steps: Steps[Result]) -> Result:
    """`run`, without blocking the event loop."""

    async def act(step: Any) -> Any:
        if isinstance(step, Blocking):
            return await _await(step)
        if isinstance(step, Aside):
            return await sync_to_async(step.function)()
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await store.aexecute(step)

    return await adrive(act, steps)


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
