"""A cart as a session process in real browsers: it shows, changes, stops, and outlives pages and sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.acceptance.conftest import SITE, Servers
from tests.live import LiveServer

OUTCOME = """async ([action, payload]) => {
    try { return await cart.dispatch(action, payload); }
    catch ({ code, message, retry_after, limit }) { return { code, message, retry_after, limit }; }
}"""


@pytest.fixture
def server(servers: Servers) -> Iterator[LiveServer]:
    with servers.lend(SITE, "tests.site.asgi:application") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shop(page: Page) -> Page:
    await page.goto("/shop/")
    await count(page, 0)
    return page


async def count(page: Page, number: int) -> None:
    await expect(page.locator("#count")).to_have_text(str(number))


async def state(page: Page, text: str) -> None:
    await expect(page.locator("#state")).to_have_text(text)


async def dispatch(page: Page, action: str, payload: Any = None) -> Any:
    return await page.evaluate(OUTCOME, [action, payload])


async def test_a_cart_that_outlives_its_page(shop: Page) -> None:
    await shop.click("#add")
    await state(shop, "added: 1")
    await count(shop, 1)
    await expect(shop.locator("#total")).to_have_text("3")
    assert await shop.evaluate("heard") == [[{"cart_count": 0}, 0], [{"cart_count": 1}, 1]]
    await shop.reload()
    await count(shop, 1)
    assert await shop.evaluate("heard") == [[{"cart_count": 1}, 1]]


async def test_tabs_and_views_change_one_cart_and_strangers_have_their_own(
    shop: Page, context: BrowserContext, browser: Browser, server: LiveServer
) -> None:
    tab = await context.new_page()
    await tab.goto("/shop/")
    await tab.click("#add")
    await count(shop, 1)
    await context.request.get("/shop/ink/")
    await count(shop, 2)
    await count(tab, 2)
    stranger = await browser.new_context(base_url=server.url)
    try:
        other = await stranger.new_page()
        await other.goto("/shop/")
        await count(other, 0)
    finally:
        await stranger.close()


async def test_dispatches_at_once_are_applied_in_order(shop: Page) -> None:
    revisions = await shop.evaluate(
        """() => Promise.all(["a", "b", "c", "d"].map((name) => cart.dispatch("cart.add_item", { name, price: 1 })))"""
    )
    assert revisions == [1, 2, 3, 4]
    await count(shop, 4)
    mutated = await shop.evaluate(
        """async () => {
            const item = { name: "as it was", price: 10 };
            const sent = cart.dispatch("cart.add_item", item);
            item.price = 1000;
            return await sent;
        }"""
    )
    assert mutated == 5
    await expect(shop.locator("#total")).to_have_text("14")


async def test_what_is_refused_is_told_and_harms_nothing(shop: Page) -> None:
    assert (await dispatch(shop, "cart.give_away"))["code"] == "not_allowed"
    await state(shop, "error: not_allowed")
    assert (await dispatch(shop, "cart.nothing"))["code"] == "unknown_action"
    assert (await dispatch(shop, "cart.add_item", {"price": 1}))["code"] == "cast_failed"
    refused = await dispatch(shop, "cart.add_item", {"name": "x" * 300_000, "price": 1})
    assert (refused["code"], refused["limit"]) == ("too_large", 262_144)
    await shop.evaluate("() => { cart.subscribe(['nothing'], () => {}); }")
    await state(shop, "error: invalid_value")
    assert await dispatch(shop, "cart.add_item", {"name": "pen", "price": 1}) == 1
    await count(shop, 1)


async def test_a_flood_is_told_when_to_come_again(shop: Page) -> None:
    outcomes = await shop.evaluate(
        """async () => (await Promise.allSettled(
            Array.from({ length: 200 }, () => cart.dispatch("cart.add_item", { name: "pen", price: 1 })),
        )).map(({ value, reason }) => value ?? [reason.code, reason.retry_after > 0])"""
    )
    taken = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert taken == list(range(1, len(taken) + 1))
    assert 80 <= len(taken) < 200
    assert [outcome for outcome in outcomes if not isinstance(outcome, int)] == [["rate_limited", True]] * (
        200 - len(taken)
    )
    await count(shop, len(taken))


async def test_a_session_that_was_stopped_and_the_next_one(shop: Page, context: BrowserContext) -> None:
    await shop.click("#add")
    await count(shop, 1)
    await context.request.get("/shop/terminate/")
    await state(shop, "stopped: terminated")
    await count(shop, 1)  # the page decides what to show
    assert await dispatch(shop, "cart.add_item", {"name": "ink", "price": 5}) == 1
    await expect(shop.locator("#total")).to_have_text("5")


async def test_it_comes_back_by_itself_and_subscribes_again(shop: Page, server: LiveServer) -> None:
    await shop.click("#add")
    await count(shop, 1)
    server.kill()
    await shop.wait_for_function(
        "async () => (await cart.dispatch('cart.add_item', {}).catch((e) => e)).code === 'unreachable'"
    )
    server.start()
    await count(shop, 0)  # a store in memory has forgotten it
    assert await dispatch(shop, "cart.add_item", {"name": "pen", "price": 1}) == 1
    await count(shop, 1)


async def test_a_dispatch_waits_for_the_socket_and_close_ends_it(shop: Page) -> None:
    outcome = await shop.evaluate(
        """async () => {
            const other = syncsessions.process.connect("shop");
            const states = [];
            other.addEventListener("state", ({ detail }) => states.push(detail.values));
            const revision = await other.dispatch("cart.add_item", { name: "pen", price: 1 });
            other.close();
            const late = await other.dispatch("cart.add_item", {}).catch(({ code }) => code);
            window.dispatchEvent(new Event("offline"));
            window.dispatchEvent(new Event("online"));
            await new Promise((resolve) => setTimeout(resolve, 500));
            const later = await other.dispatch("cart.add_item", {}).catch(({ code }) => code);
            return [revision, states, late, later];
        }"""
    )
    assert outcome == [1, [], "closed", "closed"]
    await count(shop, 1)


async def test_one_ends_its_subscription(shop: Page) -> None:
    await shop.evaluate(
        """() => {
            window.more = [];
            const end = cart.subscribe(["total", "cart_count"], ({ values }) => { more.push(values); end(); });
        }"""
    )
    await shop.wait_for_function("() => more.length === 1")
    await shop.click("#add")
    await count(shop, 1)
    assert await shop.evaluate("more") == [{"total": 0, "cart_count": 0}]


async def test_after_logout_in_another_tab_the_cart_is_another(shop: Page, context: BrowserContext) -> None:
    await context.request.get("/in/ann/")
    await shop.reload()
    await shop.click("#add")
    await count(shop, 1)
    tab = await context.new_page()
    await tab.goto("/out/")
    await tab.goto("/shop/")
    await count(tab, 0)
    await count(shop, 0)


async def test_a_browser_without_a_session(page: Page) -> None:
    await page.goto("/done/")
    code = """async () => {
        window.cart = syncsessions.process.connect("shop");
        return await cart.dispatch("cart.add_item", { name: "pen", price: 1 }).catch(({ code }) => code);
    }"""
    assert await page.evaluate(code) == "no_session"
