"""The demo's shop in a browser: a basket in one tab, its badge in another, prices that come later, and a past."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from tests.acceptance.conftest import Servers
from tests.live import LiveServer, manage


@pytest.fixture
def server(servers: Servers) -> Iterator[LiveServer]:
    """The demo."""
    with servers.lend() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shop(page: Page) -> Page:
    """The shop's page, with its prices."""
    await page.goto("/shop/")
    await expect(page.locator("[data-price=bookplates]")).to_have_text("€ 68")
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def stranger(browser: Browser, server: LiveServer) -> AsyncIterator[BrowserContext]:
    opened = await browser.new_context(base_url=server.url)
    yield opened
    await opened.close()


async def add(page: Page, *slugs: str) -> None:
    for slug in slugs:
        await page.click(f"[data-add={slug}]")


async def badge_says(page: Page, number: int, within: float = 5) -> None:
    await expect(page.locator("#badge b")).to_have_text(str(number), timeout=within * 1000)


async def lines(page: Page) -> list[str]:
    return await page.locator("#lines .line-name").all_inner_texts()


async def marked(page: Page) -> str:
    """Which moment the slider stands at, as it is read out."""
    return await page.locator("#slider").get_attribute("aria-valuetext") or ""


async def past_has(page: Page, number: int) -> None:
    await expect(page.locator("#past li")).to_have_count(number)


async def test_what_one_tab_adds_the_other_counts(shop: Page, context: BrowserContext) -> None:
    other = await context.new_page()
    await other.goto("/note/")
    await expect(other.locator("#badge")).to_be_hidden()
    await add(shop, "bookplates")
    await badge_says(other, 1)
    await add(shop, "chapbook")
    await badge_says(other, 2)
    await badge_says(shop, 2)
    await shop.locator("#lines input").first.fill("7")
    await shop.keyboard.press("Tab")
    await badge_says(other, 8)


async def test_a_tab_that_was_open_before_there_was_a_session_counts_along(page: Page, context: BrowserContext) -> None:
    await page.goto("/note/")
    assert not await context.cookies() or "sessionid" not in {cookie["name"] for cookie in await context.cookies()}
    other = await context.new_page()
    await other.goto("/shop/")
    await other.click("[data-add=coasters]")
    await badge_says(page, 1)


async def test_prices_come_when_the_effect_has_loaded_them(page: Page) -> None:
    await page.goto("/shop/")
    price = page.locator("[data-price=chapbook]")
    await expect(price).to_contain_text("asking for prices")
    await add(page, "chapbook", "bookplates")
    await expect(price).to_have_text("€ 360")
    await expect(page.locator("#total")).to_have_text("€ 428")
    await expect(page.locator("#past")).to_contain_text("prices.loaded")


async def test_the_slider_travels_back(shop: Page) -> None:
    await add(shop, "bookplates", "chapbook", "coasters")
    await past_has(shop, 5)
    slider = shop.locator("#slider")
    box = await slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    await shop.mouse.move(box["x"] + box["width"] - 9, middle)
    await shop.mouse.down()
    await shop.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=4)
    assert await slider.input_value() == "2"
    assert "basket.add" in await shop.locator("#moment").inner_text()
    assert "Chapbook put in" in await shop.locator("#moment").inner_text()
    await expect(shop.locator("#past .undone")).to_have_count(2)
    assert await lines(shop) == ["Bookplates", "Chapbook", "Coasters"]
    await shop.mouse.up()
    await expect(shop.locator("#lines .line")).to_have_count(1)
    assert await lines(shop) == ["Bookplates"]
    await badge_says(shop, 1)
    await past_has(shop, 3)
    assert await slider.input_value() == "0"
    await expect(shop.locator("#revision")).to_have_text("6")
    await expect(shop.locator("#told")).not_to_be_empty()


async def test_the_slider_by_keyboard(shop: Page) -> None:
    await add(shop, "bookplates", "chapbook")
    await past_has(shop, 4)
    await shop.focus("#slider")
    for _ in range(2):
        await shop.keyboard.press("ArrowLeft")
    assert (await marked(shop)).startswith("2 actions back")
    await shop.keyboard.press("Escape")
    assert await marked(shop) == "Now"
    await shop.keyboard.press("ArrowLeft")
    await shop.keyboard.press("Enter")
    await expect(shop.locator("#lines .line")).to_have_count(1)
    assert await lines(shop) == ["Bookplates"]


async def test_back_past_the_prices_they_are_asked_for_again(shop: Page) -> None:
    await add(shop, "bookplates")
    await past_has(shop, 3)
    await shop.focus("#slider")
    await shop.keyboard.press("End")
    await shop.click("#go")
    await expect(shop.locator("[data-price=bookplates]")).to_contain_text("asking for prices")
    await expect(shop.locator("#lines .line")).to_have_count(0)
    await expect(shop.locator("[data-price=bookplates]")).to_have_text("€ 68")


async def test_what_was_marked_stays_marked_when_another_tab_adds(shop: Page, context: BrowserContext) -> None:
    await add(shop, "bookplates", "chapbook")
    await past_has(shop, 4)
    await shop.focus("#slider")
    await shop.keyboard.press("ArrowLeft")
    other = await context.new_page()
    await other.goto("/shop/")
    await other.click("[data-add=coasters]")
    await past_has(shop, 5)
    assert (await marked(shop)).startswith("2 actions back")
    await shop.keyboard.press("Enter")
    await expect(shop.locator("#lines .line")).to_have_count(1)
    assert await lines(shop) == ["Bookplates"]


async def test_reload_keeps_and_nobody_else_sees(shop: Page, stranger: BrowserContext) -> None:
    await add(shop, "bookplates", "bookplates", "wedding-suite")
    await badge_says(shop, 3)
    revision = await shop.inner_text("#revision")
    await shop.reload()
    await expect(shop.locator("#total")).to_have_text("€ 526")
    await expect(shop.locator("#revision")).to_have_text(revision)
    await past_has(shop, 5)
    page = await stranger.new_page()
    await page.goto("/shop/")
    await expect(page.locator("[data-price=bookplates]")).to_have_text("€ 68")
    await expect(page.locator("#badge")).to_be_hidden()
    await expect(page.locator("#lines .line")).to_have_count(0)


async def test_what_the_server_refuses_is_said_and_the_page_goes_on(shop: Page) -> None:
    await add(shop, "bookplates")
    quantity = shop.locator("#lines input")
    await quantity.fill("99")
    await shop.keyboard.press("Tab")
    await badge_says(shop, 99)
    await add(shop, "bookplates")
    await expect(shop.locator("#refusal")).to_be_visible()
    await quantity.fill("1000")
    await shop.keyboard.press("Tab")
    await expect(quantity).to_have_value("99")
    await shop.click(".remove")
    await expect(shop.locator("#badge")).to_be_hidden()
    await expect(shop.locator("#refusal")).to_be_hidden()
    await expect(shop.locator("#basket-title")).to_be_focused()


async def test_a_hostile_page_gets_errors_and_no_prices_of_its_own(shop: Page) -> None:
    frames: list[dict[str, Any]] = [
        {"type": "dispatch", "action": "prices.loaded", "payload": {"bookplates": 1}},
        {"type": "dispatch", "action": "basket.add", "payload": {"slug": "bookplates", "quantity": -5}},
        {"type": "dispatch", "action": "basket.add", "payload": {"slug": "bookplates", "quantity": 10**40}},
        {"type": "dispatch", "action": "basket.add", "payload": {"slug": ["bookplates"]}},
        {"type": "dispatch", "action": "add", "payload": {"slug": "bookplates"}},
        {"type": "dispatch", "action": "basket.put", "payload": None},
        {"type": "subscribe", "selectors": ["__class__"]},
    ]
    codes = await shop.evaluate(
        """(frames) => new Promise((resolve) => {
            const socket = new WebSocket(`ws://${location.host}/ws/process/basket/`), codes = [];
            socket.onmessage = ({ data }) => {
                const { type, code } = JSON.parse(data);
                codes.push(code ?? type);
                if (codes.length === frames.length + 1) resolve(codes);
            };
            socket.onopen = () => [...frames, JSON.stringify({ type: "ping" })].forEach((frame) => socket.send(frame));
        })""",
        [json.dumps(frame) for frame in frames],
    )
    assert codes == [
        "not_allowed", "invalid_value", "invalid_value", "invalid_value", "not_allowed", "unknown_action",
        "invalid_value", "pong",
    ]  # fmt: skip
    await expect(shop.locator("#lines .line")).to_have_count(0)
    await expect(shop.locator("[data-price=bookplates]")).to_have_text("€ 68")


async def test_a_server_that_comes_back_begins_anew(server: LiveServer, shop: Page) -> None:
    await add(shop, "bookplates")
    await badge_says(shop, 1)
    server.kill()
    server.start()  # the demo keeps processes in memory
    await expect(shop.locator("#badge")).to_be_hidden()
    await expect(shop.locator("#lines .line")).to_have_count(0)
    await add(shop, "chapbook")
    await badge_says(shop, 1)
    await expect(shop.locator("#total")).to_have_text("€ 360")


async def test_a_basket_that_is_taken_away_is_followed_by_a_new_one(browser: Browser, servers: Servers) -> None:
    store = {"BACKEND": "syncsessions.stores.database.DatabaseStore"}
    env = {
        "DJANGO_SETTINGS_MODULE": "tests.live_settings",
        "TEST_LIVE_SYNCSESSIONS": json.dumps({"STORES": {"default": store}}),
    }
    end = "from project.demo.basket import Basket; from syncsessions import processes as p; "
    end += "[session.terminate() for session in p.list_sessions(Basket)]"
    with servers.lend(env) as server:
        opened = await browser.new_context(base_url=server.url)
        try:
            page = await opened.new_page()
            await page.goto("/shop/")
            await add(page, "bookplates")
            await badge_says(page, 1)
            manage(server.database, "shell", "--command", end, **env)
            await expect(page.locator("#refusal")).to_contain_text("taken away", timeout=15_000)
            await expect(page.locator("#badge")).to_be_hidden()
            await expect(page.locator("#lines .line")).to_have_count(0)
            await add(page, "bookplates")
            await badge_says(page, 1)
            await expect(page.locator("#lines .line")).to_have_count(1)
            await expect(page.locator("#total")).to_have_text("€ 68")
        finally:
            await opened.close()


async def test_a_history_that_cannot_be_read_harms_nothing(page: Page) -> None:
    async def fail(route: Route) -> None:
        await route.abort()

    await page.route("**/shop/history/", fail)
    await page.goto("/shop/")
    await add(page, "bookplates")
    await badge_says(page, 1)
    await expect(page.locator("#slider")).to_be_disabled()


async def test_nothing_scrolls_sideways(browser: Browser, server: LiveServer) -> None:
    phone = await browser.new_context(base_url=server.url, viewport={"width": 320, "height": 640})
    try:
        page = await phone.new_page()
        await page.goto("/shop/")
        await add(page, "correspondence-cards")
        await badge_says(page, 1)
        await asyncio.sleep(0.2)
        assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    finally:
        await phone.close()
