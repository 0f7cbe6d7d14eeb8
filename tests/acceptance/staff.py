"""Staff in a browser, on the admin's live pages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.live import LiveServer

LIVE, POLLING = "Live", "Updated every few seconds"
SAID_BY_CHROMIUM = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "WebSocket connection")


@contextlib.asynccontextmanager
async def staff(browser: Browser, server: LiveServer, **options: Any) -> AsyncIterator[BrowserContext]:
    """The browser of a superuser, in which nothing may go wrong."""
    context = await browser.new_context(base_url=server.url, **options)
    context.set_default_timeout(15_000)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    context.on("dialog", lambda dialog: wrong.append(dialog.message))
    for cookie in (await asyncio.to_thread(server.log_in, "boss")).split("; "):
        name, _, value = cookie.partition("=")
        await context.add_cookies([{"name": name, "value": value, "url": server.url}])
    yield context
    await context.close()
    assert not [text for text in wrong if not any(known in text for known in SAID_BY_CHROMIUM)]


async def live_page(context: BrowserContext, path: str, state: str = LIVE) -> Page:
    page = await context.new_page()
    await page.goto(path)
    await is_state(page, state)
    return page


async def is_state(page: Page, text: str) -> None:
    await expect(page.locator("[data-part=state-text]")).to_have_text(text, timeout=30_000)
