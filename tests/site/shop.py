"""A cart as a session process, and its socket."""

from __future__ import annotations

from typing import Any, ClassVar

from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.processes import Reducer, SessionProcess, action


class Cart(Reducer):
    name = "cart"
    initial_state = {"items": [], "total": 0}

    @action
    def add_item(self, state: Any, item: Any) -> Any:
        return {"items": [*state["items"], item["name"]], "total": state["total"] + item["price"]}

    @action
    def give_away(self, state: Any, payload: Any) -> Any:
        return {**state, "total": 0}


class Shop(SessionProcess):
    reducers = [Cart]
    client_actions = {"cart.add_item"}


class ShopConsumer(SessionProcessConsumer):
    process_class = Shop
    selectors: ClassVar[Any] = {
        "cart_count": lambda state: len(state["cart"]["items"]),
        "total": lambda state: state["cart"]["total"],
    }
