"""Work that takes several operations of a store, written once and run in sync and async form.

It is a generator: it yields operations and is sent their results, or thrown the errors that they raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from syncsessions.exceptions import SyncSessionsError
from syncsessions.stores.base import BaseStore
from syncsessions.stores.operations import Operation

Result = TypeVar("Result")
Step = TypeVar("Step")
Steps = Generator[Operation, Any, Result]


def run(store: BaseStore, steps: Steps[Result]) -> Result:
    """Take the steps on this store."""
    return drive(store.execute, steps)


async def arun(store: BaseStore, steps: Steps[Result]) -> Result:
    """`run`, without blocking the event loop."""
    return await adrive(store.aexecute, steps)


def drive(act: Callable[[Step], Any], steps: Generator[Step, Any, Result]) -> Result:
    """Let `act` do each step."""
    try:
        step = next(steps)
        while True:
            try:
                result = act(step)
            except SyncSessionsError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def adrive(act: Callable[[Step], Awaitable[Any]], steps: Generator[Step, Any, Result]) -> Result:
    try:
        step = next(steps)
        while True:
            try:
                result = await act(step)
            except SyncSessionsError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
