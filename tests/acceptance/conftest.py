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
SITE = {"DJANGO_SETTINGS_MODULE": "tests.site.settings"}
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


@pytest.fixture(scope="session")
def _servers() -> Iterator[dict[str, LiveServer]]:
    """The one server that this worker's tests share, one after the other."""
    kept: dict[str, LiveServer] = {}
    yield kept
    for running in kept.values():
        running.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, _servers: dict[str, LiveServer]) -> Iterator[LiveServer]:
    """A running site without a row. Tests that leave something in its memory are marked `own_server`."""
    if request.node.get_closest_marker("own_server"):
        with LiveServer("daphne", env=SITE) as running:
            yield running
        return
    if "shared" not in _servers:
        _servers["shared"] = LiveServer("daphne", env=SITE)
        _servers["shared"].start()
    shared = _servers["shared"]
    read = len(shared.log)
    yield shared
    print(shared.log[read:])
    empty(shared)
    if not shared.running:
        shared.start()


def empty(server: LiveServer) -> None:
    """Remove the rows that a test has left: users, sessions, stashes."""
    connection = sqlite3.connect(server.database, timeout=20)
    try:
        with connection:
            for table in ("syncsessions_stashslice", "django_session", "django_admin_log", "auth_user"):
                connection.execute(f"DELETE FROM {table}")
    finally:
        connection.close()


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
    for each in (opened, *opened.pages):  # else a route that is still at work fails in the next test
        await each.unroute_all(behavior="ignoreErrors")
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
