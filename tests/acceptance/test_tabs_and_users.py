"""Drafts that belong to a tab, stashes that belong to a user."""

from __future__ import annotations

from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.acceptance.conftest import slices
from tests.acceptance.test_form import eventually, field, is_saved, open_page, write
from tests.live import LiveServer


async def test_a_tabs_draft_comes_back_by_reload_and_is_cleared_by_a_fresh_visit(
    server: LiveServer, context: BrowserContext, page: Page
) -> None:
    await open_page(page, "/review/")
    await page.fill("[name=title]", "for the session")
    await write(page, "draft", "for the tab")
    await page.reload()
    await is_saved(page)
    await field(page, "draft")("for the tab")

    second = await open_page(await context.new_page(), "/review/")
    await field(second, "title")("for the session")
    await field(second, "draft")("")
    await write(second, "draft", "the second tab's")
    await field(page, "draft")("for the tab")

    await open_page(page, "/review/")
    await field(page, "title")("for the session")
    await field(page, "draft")("")
    await field(second, "draft")("the second tab's")
    assert slices(server)["site.review", True] == {"draft": "the second tab's"}


async def test_a_tabs_draft_outlives_kill_9(server: LiveServer, page: Page) -> None:
    await open_page(page, "/review/")
    await write(page, "draft", "for the tab")
    server.kill()
    server.start()
    await page.reload()
    await is_saved(page)
    await field(page, "draft")("for the tab")


async def test_a_duplicated_tab_draws_an_id_of_its_own(context: BrowserContext, page: Page) -> None:
    await open_page(page, "/review/")
    await write(page, "draft", "the first tab's")
    async with context.expect_page() as opened:
        # A window that a page opens has a copy of its sessionStorage, as a duplicated tab has.
        await page.evaluate("() => { window.open('/review/'); }")
    copy = await opened.value
    await is_saved(copy)
    await field(copy, "draft")("")
    await write(copy, "draft", "the copy's")
    await page.reload()
    await is_saved(page)
    await field(page, "draft")("the first tab's")


async def test_a_valid_form_resets_the_tabs_draft_too(server: LiveServer, page: Page) -> None:
    await open_page(page, "/review/")
    await page.fill("[name=title]", "title")
    await write(page, "draft", "draft")
    assert len(slices(server)) == 2
    await page.click("text=Send")
    await expect(page).to_have_title("Done")
    await eventually(lambda: slices(server) == {})


async def test_a_users_stash_follows_from_browser_to_browser(browser: Browser, server: LiveServer) -> None:
    contexts = [await browser.new_context(base_url=server.url) for _ in range(2)]
    pages = []
    for context in contexts:
        await context.request.get("/in/ann/")
        pages.append(await open_page(await context.new_page(), "/profile/"))
    await write(pages[0], "bio", "typed on the first")
    await field(pages[1], "bio")("typed on the first")
    await contexts[0].request.get("/out/")
    await contexts[0].request.get("/in/ann/")
    await open_page(pages[0], "/profile/")
    await field(pages[0], "bio")("typed on the first")
    for context in contexts:
        await context.close()
