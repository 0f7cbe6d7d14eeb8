"""An order that goes on elsewhere: two browsers, the demo's pages, and those who should not get it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.acceptance.conftest import Servers, slices
from tests.live import PASSWORD, LiveServer

ANDROID = (
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/140.0.0.0 Mobile Safari/537.36"
)


@pytest.fixture
def server(servers: Servers) -> Iterator[LiveServer]:
    """The demo."""
    with servers.lend() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def phone(browser: Browser, server: LiveServer) -> AsyncIterator[BrowserContext]:
    opened = await browser.new_context(
        base_url=server.url,
        viewport={"width": 390, "height": 844},
        user_agent=ANDROID,
        is_mobile=True,
        has_touch=True,
    )
    opened.set_default_timeout(15_000)
    wrong: list[str] = []
    opened.on("weberror", lambda error: wrong.append(str(error.error)))
    opened.on("console", lambda message: wrong.append(message.text) if "Security Policy" in message.text else None)
    yield opened
    await opened.close()
    assert not wrong


async def is_saved(page: Page) -> None:
    for form in await page.locator("form[data-syncsessions-stash]").all():
        await expect(form).to_have_attribute("data-syncsessions-state", "saved")


async def fill_half(page: Page) -> None:
    """An order with a product, half an address and a brief."""
    await page.goto("/order/")
    await page.locator("[name=product][value=chapbook]").evaluate("(radio) => radio.click()")
    await page.fill("[name=quantity]", "2")
    await page.click("text=Go on to delivery")
    await page.fill("[name=name]", "Ada Example")
    await page.fill("[name=address]", "1 Type Street\nOslo")
    await is_saved(page)
    await page.goto("/order/brief/")
    await page.fill("[name=brief]", "Sixteen pages, sewn.")
    await is_saved(page)


def state(page: Page, name: str) -> Any:
    return expect(page.locator(f"[data-when={name}]")).to_be_visible()


async def show_code(page: Page) -> str:
    await page.goto("/order/elsewhere/")
    await state(page, "waiting")
    return "".join(await page.locator("#code span").all_inner_texts())


async def enter(page: Page, code: str) -> None:
    if not page.url.endswith("/continue/"):
        await page.goto("/continue/")
    await page.fill("#code", code)
    await page.click("button:has-text('Continue here')")


async def log_in(server: LiveServer, context: BrowserContext, name: str) -> Page:
    server.make_user(name)
    page = await context.new_page()
    await page.goto("/accounts/login/")
    await page.fill("[name=username]", name)
    await page.fill("[name=password]", PASSWORD)
    await page.press("[name=password]", "Enter")
    await page.wait_for_url("**/")
    return page


async def test_a_half_filled_order_goes_on_elsewhere(
    page: Page, context: BrowserContext, phone: BrowserContext
) -> None:
    await fill_half(page)
    other = await context.new_page()
    await other.goto("/order/brief/")
    await page.click("text=Continue on another device")
    await state(page, "waiting")
    groups = await page.locator("#code span").all_inner_texts()
    assert [len(group) for group in groups] == [4, 4]
    await expect(page.locator("#qr")).to_be_visible()
    for shown in ["Chapbook", "Ada Example", "3 words"]:
        await expect(page.locator(".parts")).to_contain_text(shown)

    hand = await phone.new_page()
    await enter(hand, "-".join(groups).lower())
    await state(hand, "waiting")
    await expect(hand.locator("#device")).to_have_text(re.compile("Chrome on "))
    await state(page, "joined")
    await expect(page.locator("#device")).to_have_text("Chrome on Android")
    await expect(page.locator("#login")).to_have_text("not logged in")
    await page.click("text=Send my order there")
    await state(page, "done")
    await hand.wait_for_url("**/order/delivery/")
    await expect(hand.locator("[name=name]")).to_have_value("Ada Example")
    await expect(hand.locator("[name=address]")).to_have_value("1 Type Street\nOslo")
    await hand.goto("/order/brief/")
    await expect(hand.locator("[name=brief]")).to_have_value("Sixteen pages, sewn.")
    await expect(hand.locator(".review")).to_contain_text("Chapbook")
    await expect(other.locator("[name=brief]")).to_have_value("")
    await page.click("text=Begin another order here")
    await expect(page.locator("[name=product]:checked")).to_have_count(0)


async def test_a_link_fills_the_field_and_nothing_else(server: LiveServer, page: Page, phone: BrowserContext) -> None:
    await fill_half(page)
    code = await show_code(page)
    hand = await phone.new_page()
    sockets: list[str] = []
    posts: list[str] = []
    hand.on("websocket", lambda line: sockets.append(line.url))
    hand.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    await hand.goto(f"/continue/#code={code}")
    await expect(hand.locator("#code")).to_have_value(f"{code[:4]}-{code[4:]}")
    await expect(hand.locator("#from-link")).to_be_visible()
    assert hand.url == f"{server.url}/continue/"
    await state(page, "waiting")
    assert (sockets, posts) == ([], [])
    assert code not in server.log

    await hand.click("button:has-text('Continue here')")
    await state(page, "joined")
    await state(hand, "waiting")
    before = slices(server)
    await page.click("text=That is not me")
    await state(hand, "ended")
    await expect(hand.locator("#ended")).to_contain_text("not you")
    await state(page, "ended")
    assert slices(server) == before
    await page.click("text=Show a new code")
    await state(page, "waiting")
    assert "".join(await page.locator("#code span").all_inner_texts()) != code
    assert code not in server.log


async def test_wrong_and_used_codes_and_the_own_browser(
    page: Page, context: BrowserContext, phone: BrowserContext
) -> None:
    await fill_half(page)
    code = await show_code(page)
    tab = await context.new_page()
    await enter(tab, code)
    await expect(tab.locator("#refusal")).to_contain_text("Enter it on the other device")
    hand = await phone.new_page()
    await enter(hand, "ZZZZ-ZZZZ" if code != "ZZZZZZZZ" else "YYYY-YYYY")
    await expect(hand.locator("#refusal")).to_contain_text("not valid")
    await enter(hand, code)
    await state(hand, "waiting")
    late = await phone.new_page()
    await enter(late, code)
    await expect(late.locator("#refusal")).to_contain_text("used already")
    await hand.click("text=Do not continue here")
    await state(hand, "ended")
    await state(page, "ended")
    await expect(page.locator("#ended")).to_contain_text("still here")


async def test_two_users_are_refused_and_the_same_one_is_not(
    server: LiveServer, context: BrowserContext, phone: BrowserContext
) -> None:
    page, hand = await log_in(server, context, "ann"), await log_in(server, phone, "bob")
    await fill_half(page)
    code = await show_code(page)
    await enter(hand, code)
    await expect(hand.locator("#refusal")).to_contain_text("somebody else")
    await hand.click("text=Log out")
    await hand.wait_for_url("**/")
    again = await log_in(server, phone, "ann")
    await enter(again, code)
    await state(page, "joined")
    await expect(page.locator("#login")).to_have_text("logged in")
    await page.click("text=Send my order there")
    await again.wait_for_url("**/order/delivery/")
    await expect(again.locator("[name=name]")).to_have_value("Ada Example")


async def test_the_owner_closes_the_tab(page: Page, context: BrowserContext, phone: BrowserContext) -> None:
    await fill_half(page)
    code = await show_code(page)
    hand = await phone.new_page()
    await enter(hand, code)
    await state(hand, "waiting")
    await page.close()
    await state(hand, "ended")
    await expect(hand.locator("#ended")).to_contain_text("closed the page")
    await hand.click("text=Enter a new code")
    await enter(hand, code)
    await expect(hand.locator("#refusal")).to_contain_text("not valid")
    again = await context.new_page()
    await again.goto("/order/brief/")
    await expect(again.locator("[name=brief]")).to_have_value("Sixteen pages, sewn.")


async def test_a_server_that_is_killed_loses_nothing(server: LiveServer, page: Page, phone: BrowserContext) -> None:
    await fill_half(page)
    before = slices(server)
    hand = await phone.new_page()
    await enter(hand, await show_code(page))
    await state(page, "joined")
    await page.locator("text=Send my order there").evaluate("(button) => button.click()")
    server.kill()
    for each in (page, hand):
        await expect(each.locator("[data-when=ended], [data-when=done]").locator("visible=true")).to_have_count(1)
    after = slices(server)
    assert {view: after.get(view) for view in before} == before
    server.start()
    if await page.locator("[data-when=ended]").is_visible():
        hand = await phone.new_page()
        code = await show_code(page) if "Nothing to" not in await page.content() else ""
        await enter(hand, code)
        await state(page, "joined")
        await page.click("text=Send my order there")
        await hand.wait_for_url("**/order/delivery/")
    await hand.goto("/order/delivery/")
    await expect(hand.locator("[name=name]")).to_have_value("Ada Example")


async def test_nothing_to_take_along(page: Page) -> None:
    await page.goto("/order/elsewhere/")
    await expect(page.locator("h2")).to_have_text("There is nothing to take along yet.")


async def test_nothing_scrolls_sideways_on_a_phone(phone: BrowserContext) -> None:
    hand = await phone.new_page()
    await fill_half(hand)
    for path in ["/order/elsewhere/", "/continue/", "/drawing/"]:
        await hand.goto(path)
        assert await hand.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path
