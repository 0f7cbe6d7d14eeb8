"""A form that keeps itself, as the person in front of it sees it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from playwright.async_api import BrowserContext, Page, expect

from tests.acceptance.conftest import slices
from tests.live import LiveServer


async def open_page(page: Page, path: str = "/plain/") -> Page:
    await page.goto(path)
    await is_saved(page)
    return page


async def is_saved(page: Page) -> None:
    await expect(page.locator("form")).to_have_attribute("data-syncsessions-state", "saved")


async def write(page: Page, name: str, text: str) -> None:
    """Type, and wait until the page says that it is saved."""
    await page.fill(f"[name={name}]", text)
    await is_saved(page)


def field(page: Page, name: str) -> Callable[[str], object]:
    return expect(page.locator(f"[name={name}]")).to_have_value


async def eventually(condition: Callable[[], bool], within: float = 10) -> None:
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)


async def test_what_was_saved_outlives_kill_9(server: LiveServer, page: Page) -> None:
    await open_page(page)
    await write(page, "draft", "a long draft")
    server.kill()
    await page.fill("[name=name]", "written while the server was down")
    await expect(page.locator("form")).to_have_attribute("data-syncsessions-state", "offline")
    server.start()
    await is_saved(page)
    await page.reload()
    await field(page, "draft")("a long draft")
    await field(page, "name")("written while the server was down")


async def test_two_tabs_at_once_keep_both_and_show_each_other_within_a_second(
    server: LiveServer, context: BrowserContext, page: Page
) -> None:
    await open_page(page)
    await write(page, "draft", "0")
    other = await open_page(await context.new_page())
    started = time.monotonic()
    await asyncio.gather(page.fill("[name=draft]", "from one"), other.fill("[name=name]", "from the other"))
    await asyncio.gather(field(page, "name")("from the other"), field(other, "draft")("from one"))
    assert time.monotonic() - started < 1
    await asyncio.gather(is_saved(page), is_saved(other))
    assert slices(server)["site.plain", False]["draft"] == "from one"
    assert slices(server)["site.plain", False]["name"] == "from the other"


async def test_login_keeps_and_logout_removes(server: LiveServer, context: BrowserContext, page: Page) -> None:
    await open_page(page)
    await write(page, "draft", "half-way")
    await context.request.get("/in/ann/")
    await write(page, "name", "written by a page that was open at login")
    await page.reload()
    await field(page, "draft")("half-way")
    await field(page, "name")("written by a page that was open at login")
    await is_saved(page)
    await context.request.get("/out/")
    await eventually(lambda: slices(server) == {})
    await field(page, "draft")("")
    await page.reload()
    await is_saved(page)
    await field(page, "draft")("")
    assert slices(server) == {}


async def test_without_a_socket_it_saves_by_fetch(server: LiveServer, context: BrowserContext, page: Page) -> None:
    await context.route_web_socket("**/ws/**", lambda socket: socket.close())
    await open_page(page)
    await write(page, "draft", "by fetch")
    await write(page, "draft", "by fetch again")
    other = await open_page(await context.new_page())
    await field(other, "draft")("by fetch again")
    assert slices(server)["site.plain", False] == {"draft": "by fetch again"}


async def test_thirty_seconds_offline_lose_nothing(server: LiveServer, context: BrowserContext, page: Page) -> None:
    await open_page(page)
    await write(page, "draft", "online")
    await context.set_offline(True)
    ends = time.monotonic() + 30
    words = 0
    while time.monotonic() < ends:
        words += 1
        await page.fill("[name=draft]", f"offline {words}")
        await page.wait_for_timeout(1000)
    await expect(page.locator("form")).not_to_have_attribute("data-syncsessions-state", "saved")
    await context.set_offline(False)
    await is_saved(page)
    assert slices(server)["site.plain", False]["draft"] == f"offline {words}"


async def test_every_kind_of_field_comes_back(context: BrowserContext, page: Page) -> None:
    await open_page(page)
    await page.check("[name=gift]")
    await page.check("[name=tags][value=a]")
    await page.check("[name=tags][value=c]")
    await page.check("[name=size][value=l]")
    await page.select_option("[name=sort]", "old")
    await page.select_option("[name=many]", ["x", "z"])
    await page.fill("[name=count]", "3")
    await write(page, "day", "2026-11-21")
    other = await open_page(await context.new_page())
    await field(other, "day")("2026-11-21")
    await field(other, "count")("3")
    await field(other, "sort")("old")
    await expect(other.locator("[name=many]")).to_have_values(["x", "z"])
    assert [await box.is_checked() for box in await other.locator("[name=tags]").all()] == [True, False, True]
    assert await other.is_checked("[name=gift]")
    assert await other.is_checked("[name=size][value=l]")


async def test_secrets_are_never_kept(server: LiveServer, page: Page) -> None:
    await open_page(page)
    await page.fill("[name=secret]", "password")
    await page.fill("[name=card]", "4111 1111")
    await page.fill("[name=otp]", "123456")
    await page.fill("[name=mine]", "skipped")
    await write(page, "draft", "kept")
    assert slices(server)["site.plain", False] == {"draft": "kept"}


async def test_a_form_with_errors_is_not_overwritten(server: LiveServer, context: BrowserContext, page: Page) -> None:
    await open_page(page)
    await write(page, "draft", "as stashed")
    other = await open_page(await context.new_page())
    await other.fill("[name=draft]", "as submitted")
    await other.click("text=Send >> nth=0")
    await expect(other.locator(".errorlist")).to_be_visible()
    await is_saved(other)
    await field(other, "draft")("as submitted")
    await field(page, "draft")("as submitted")
    assert slices(server)["site.plain", False]["draft"] == "as submitted"


async def test_a_successful_submit_clears(server: LiveServer, context: BrowserContext, page: Page) -> None:
    await open_page(page)
    await write(page, "draft", "to be sent")
    other = await open_page(await context.new_page())
    await field(other, "draft")("to be sent")
    await page.fill("[name=name]", "Ann")
    await page.click("text=Send >> nth=0")
    await expect(page).to_have_title("Done")
    await field(other, "draft")("")
    await eventually(lambda: slices(server) == {})
    await page.go_back()
    # The browser brings the text back by itself. The stash does not have it, and the page does not say that it has.
    await expect(page.locator("form")).to_have_attribute("data-syncsessions-state", "unsaved")
    assert slices(server) == {}
    await page.fill("[name=draft]", "once more")
    await is_saved(page)
    assert slices(server)["site.plain", False] == {"draft": "once more", "name": "Ann"}


async def test_a_page_without_the_module_clears_nothing_until_the_next_one(server: LiveServer, page: Page) -> None:
    await open_page(page)
    await write(page, "draft", "to be sent")
    await page.fill("[name=name]", "Ann")
    await page.click("text=Send to a bare page")
    await expect(page.locator("body")).to_have_text("a page without the module")
    assert slices(server) != {}
    await page.goto("/done/")
    await eventually(lambda: slices(server) == {})


async def test_two_first_saves_of_a_browser_without_a_cookie_end_in_one_session(
    server: LiveServer, context: BrowserContext, page: Page
) -> None:
    other = await context.new_page()
    await asyncio.gather(open_page(page), open_page(other))
    assert "sessionid" not in [cookie.get("name") for cookie in await context.cookies()]
    await asyncio.gather(page.fill("[name=draft]", "one"), other.fill("[name=name]", "other"))
    await asyncio.gather(is_saved(page), is_saved(other))
    await page.reload()
    await field(page, "draft")("one")
    await field(page, "name")("other")
    assert list(slices(server).values()) == [{"draft": "one", "name": "other"}]


async def test_a_tab_that_was_there_before_the_session_follows_too(context: BrowserContext, page: Page) -> None:
    other = await context.new_page()
    await asyncio.gather(open_page(page), open_page(other))
    await write(page, "draft", "the first save of all")
    await field(other, "draft")("the first save of all")
    await write(other, "name", "and back")
    await field(page, "name")("and back")
