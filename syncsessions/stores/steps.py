"""Work that takes several operations of a store, written once and run in sync and async form.

It is a generator: it yields operations and is sent their results, or thrown the errors that they raised.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from syncsessions.exceptions import SyncSessionsError
from syncsessions.stores.base import BaseStore
from syncsessions.stores.operations import Operation

Result = TypeVar("Result")
Steps = Generator[Operation, Any, Result]


def run(store: BaseStore, steps: Steps[Result]) -> Result:
    """Take the steps on this store."""
    try:
        operation = next(steps)
        while True:
            try:
                result = store.execute(operation)
            except SyncSessionsError as error:
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def arun(store: BaseStore, steps: Steps[Result]) -> Result:
    """`run`, without blocking the event loop."""
    try:
        operation = next(steps)
        while True:
            try:
                result = await store.aexecute(operation)
            except SyncSessionsError as error:
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
