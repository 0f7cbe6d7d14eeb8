"""The shop's basket: a session process of two slices, an effect that asks for prices, a history to travel back in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from channels.db import database_sync_to_async

from project.demo.catalogue import ITEMS
from project.demo.models import Product
from syncsessions.exceptions import InvalidValue
from syncsessions.processes import Reducer, SessionProcess, action, create_selector

WARES = {item.slug: item for item in ITEMS}
MOST = 99  # lots of one product
SERVICE_TAKES = 0.8  # seconds

# What a payload has to be


def ware(payload: Any) -> dict[str, Any]:
    slug = payload.get("slug") if isinstance(payload, Mapping) else None
    if not isinstance(slug, str) or slug not in WARES:
        raise InvalidValue("There is no such product.", key="slug")
    return {"slug": slug}


def lots(payload: Any) -> dict[str, Any]:
    """`{slug, quantity}`; a quantity that is not there is 1."""
    found = ware(payload)
    quantity = payload.get("quantity", 1)
    if type(quantity) is not int or not 1 <= quantity <= MOST:
        raise InvalidValue(f"The quantity is a whole number from 1 to {MOST}.", key="quantity")
    if not WARES[found["slug"]].in_stock:
        raise InvalidValue(f"{WARES[found['slug']].name}: out of stock.", key="slug")
    return {**found, "quantity": quantity}


PAYLOADS: dict[str, Callable[[Any], Any]] = {
    "add": lots,
    "set": lots,
    "remove": ware,
    "empty": lambda payload: None,
    "load": lambda payload: None,
}


def judged(session_id: str, action: Any, state: Any, next: Callable[[Any], Any]) -> Any:  # noqa: A002
    """Middleware: handlers, effects and the history get of a payload what the action needs, or nothing happens."""
    judge = PAYLOADS.get(action.type.rpartition(".")[2])
    return next(action if judge is None else action._replace(payload=judge(action.payload)))


# The state and what changes it


class Items(Reducer):
    """`[{slug, quantity}]`, in the order in which they were put in."""

    name = "basket"
    initial_state: ClassVar[list[dict[str, Any]]] = []

    @action
    def add(self, state: Sequence[Mapping[str, Any]], payload: Mapping[str, Any]) -> Any:
        there = next((line["quantity"] for line in state if line["slug"] == payload["slug"]), 0)
        if there + payload["quantity"] > MOST:
            raise InvalidValue(f"{MOST} of one product are all that we can print.", key="quantity")
        return put(state, payload["slug"], there + payload["quantity"])

    @action
    def set(self, state: Sequence[Mapping[str, Any]], payload: Mapping[str, Any]) -> Any:
        return put(state, payload["slug"], payload["quantity"])

    @action
    def remove(self, state: Sequence[Mapping[str, Any]], payload: Mapping[str, Any]) -> Any:
        return [line for line in state if line["slug"] != payload["slug"]]

    @action
    def empty(self, state: Sequence[Mapping[str, Any]], payload: None) -> Any:
        return []


def put(lines: Sequence[Mapping[str, Any]], slug: str, quantity: int) -> list[Mapping[str, Any]]:
    new = {"slug": slug, "quantity": quantity}
    if any(line["slug"] == slug for line in lines):
        return [new if line["slug"] == slug else line for line in lines]
    return [*lines, new]


class Prices(Reducer):
    """`{slug: cents}`; empty until the price service has answered."""

    name = "prices"
    initial_state: ClassVar[dict[str, int]] = {}

    @action(effect=True, throttle=1.0)
    async def load(self, ctx: Any, payload: None) -> None:
        await ctx.dispatch("prices.loaded", await ask_price_service())

    @action
    def loaded(self, state: Mapping[str, int], prices: Mapping[str, int]) -> Mapping[str, int]:
        return prices


async def ask_price_service() -> dict[str, int]:
    await asyncio.sleep(SERVICE_TAKES)
    prices: dict[str, int] = await database_sync_to_async(price_list)()
    return prices


def price_list() -> dict[str, int]:
    return {slug: int(price * 100) for slug, price in Product.objects.values_list("slug", "price")}


class Basket(SessionProcess):
    """`prices.loaded` is not for browsers: what things cost is the server's word."""

    reducers = [Prices, Items]
    ttl = 1800
    history = 50
    middleware = [judged]
    client_actions = {"basket.add", "basket.set", "basket.remove", "basket.empty", "prices.load"}


# What pages see of it


def items_of(state: Mapping[str, Any]) -> Any:
    return state["basket"]


def prices_of(state: Mapping[str, Any]) -> Any:
    return state["prices"]


def listed(items: Sequence[Mapping[str, Any]], prices: Mapping[str, int]) -> dict[str, Any]:
    lines = [line_of(item["slug"], item["quantity"], prices.get(item["slug"])) for item in items]
    totals = [line["total"] for line in lines]
    return {"lines": lines, "total": None if None in totals else sum(totals)}


def line_of(slug: str, quantity: int, price: int | None) -> dict[str, Any]:
    found = WARES.get(slug)
    return {
        "slug": slug,
        "name": found.name if found else slug,
        "unit": found.unit if found else "",
        "quantity": quantity,
        "price": price,
        "total": None if price is None else price * quantity,
    }


SELECTORS: dict[str, Callable[[Any], Any]] = {
    "basket": create_selector([items_of, prices_of], listed),
    "count": create_selector([items_of], lambda items: sum(item["quantity"] for item in items)),
    "prices": prices_of,
}


def described(type_: str, payload: Any) -> str:
    """What an action of the history was, for people."""
    found = WARES.get(payload["slug"]) if isinstance(payload, Mapping) and "slug" in payload else None
    name = found.name if found else ""
    quantity = payload.get("quantity") if isinstance(payload, Mapping) else None
    times = "" if quantity == 1 else f", {quantity} times"
    return {
        "basket.add": f"{name} put in{times}",
        "basket.set": f"{name}: now {quantity}",
        "basket.remove": f"{name} taken out",
        "basket.empty": "Basket emptied",
        "prices.load": "Asked for prices",
        "prices.loaded": "Prices came in",
    }.get(type_, type_)
