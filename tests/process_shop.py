"""A shop as a session process, and its socket, for the tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from channels.db import database_sync_to_async
from django.contrib.sessions.backends.db import SessionStore

from syncsessions import session_id
from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.processes import Reducer, Session, SessionProcess, action, call, cast, registry
from syncsessions.processes import process as process_module
from tests.processes import nothing_goes_on
from tests.sockets import Page
from tests.stores import configuration

LOST_AND_REPAIRED = 5.0  # seconds
EMPTY = {"items": [], "total": 0}
PEN, INK = {"name": "pen", "price": 3}, {"name": "ink", "price": 5}


class Cart(Reducer):
    name = "cart"
    initial_state = EMPTY

    @action
    def add_item(self, state: Any, item: Any) -> Any:
        return {"items": [*state["items"], item], "total": state["total"] + item["price"]}

    @action
    def discount(self, state: Any, payload: Any) -> Any:
        return {**state, "total": 0}

    @action
    def keep(self, state: Any, payload: Any) -> Any:
        return state

    @action(debounce=0.1)
    def search(self, state: Any, payload: Any) -> Any:
        return {**state, "total": payload}


class Shop(SessionProcess):
    reducers = [Cart]
    client_actions = {"cart.add_item", "cart.keep", "cart.search", "cart.unheard_of"}

    def init(self, args: Any) -> Any:
        return {"args": args, "note": ""}

    @call
    def whoami(self, state: Any) -> str:
        return self.session_id

    @cast
    def write(self, state: Any, note: str) -> Any:
        return {**state, "note": note}


def cart_count(state: Any) -> int:
    return len(state["cart"]["items"])


class ShopConsumer(SessionProcessConsumer):
    process_class = Shop
    selectors: ClassVar[Any] = {
        "cart_count": cart_count,
        "total": lambda state: state["cart"]["total"],
        "note": lambda state: state["note"],
        "broken": lambda state: state["nowhere"],
        "unfit": lambda state: {1, 2},
    }


@pytest.fixture
def process_store(request: Any, settings: Any) -> Iterator[None]:
    """A store of the test's own."""
    params = configuration(getattr(request, "param", "memory"))
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "STORES": {"default": params}}
    with nothing_goes_on():
        yield


on_each_store = pytest.mark.parametrize("process_store", ["memory", "redis", "sqlite"], indirect=True)
on_a_shared_store = pytest.mark.parametrize("process_store", ["redis"], indirect=True)


@database_sync_to_async
def id_of(key: str) -> str:
    found = session_id.peek(SessionStore(key))
    assert found is not None
    return found


async def elsewhere(key: str) -> Session:
    """The session as another worker has it: nothing that it does is told to this process's objects."""
    process_module._sessions.clear()
    registry.local.clear()
    return await Shop.aget(await id_of(key))


async def subscribed(page: Page, *selectors: str) -> Any:
    answer = await page.ask(type="subscribe", selectors=list(selectors or ["cart_count"]))
    assert answer["type"] == "state", answer
    return answer


async def dispatched(page: Page, type: str, payload: Any = None) -> Any:  # noqa: A002
    return await page.ask(type="dispatch", action=type, payload=payload)
