"""A real server and a real Chromium for the browser tests."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.live import LiveServer
from tests.servers import on_ci

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests share a worker's browser, and with it an event loop."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    if CHROMIUM is None:
        assert not on_ci(), "CI runs the browser tests: apt-get install chromium"
        pytest.skip("no Chromium here: install one, or name it in CHROMIUM")
    return CHROMIUM


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with LiveServer("daphne", env={"DJANGO_SETTINGS_MODULE": "tests.site.settings"}) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, server: LiveServer) -> AsyncIterator[BrowserContext]:
    """One person's browser. The test fails where a page of it broke the site's policy or raised."""
    opened = await browser.new_context(base_url=server.url)
    opened.set_default_timeout(15_000)
    wrong: list[str] = []
    opened.on("weberror", lambda error: wrong.append(str(error.error)))
    opened.on("console", lambda message: wrong.append(message.text) if "Security Policy" in message.text else None)
    yield opened
    await opened.close()
    assert not wrong


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    return await context.new_page()


def slices(server: LiveServer) -> dict[tuple[str, bool], Any]:
    """What the table holds: (view, whether it is a tab's) -> values."""
    connection = sqlite3.connect(server.database)
    try:
        rows = connection.execute("SELECT view, tab <> '', data FROM syncsessions_stashslice").fetchall()
    finally:
        connection.close()
    return {(view, bool(of_tab)): json.loads(data) for view, of_tab, data in rows}
