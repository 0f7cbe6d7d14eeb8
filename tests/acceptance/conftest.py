"""A real server and a real Chromium for the browser tests."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.live import APPLICATION, LiveServer, manage, migrated_database
from tests.servers import on_ci

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SITE = {"DJANGO_SETTINGS_MODULE": "tests.site.settings"}
DEMO = {"DJANGO_SETTINGS_MODULE": "tests.live_settings"}
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


class Servers:
    """The servers that this worker's tests share, one of a kind, one test after the other."""

    def __init__(self) -> None:
        self._kept: dict[str, LiveServer] = {}

    @contextmanager
    def lend(self, env: Mapping[str, str] = DEMO, application: str = APPLICATION) -> Iterator[LiveServer]:
        """A running server of this kind with the demo's products and no other row. Its memory is not its first."""
        kind = json.dumps([env, application], sort_keys=True)
        if kind not in self._kept:
            self._kept[kind] = LiveServer("daphne", env=env, application=application)
            shutil.copy(filled_database(), self._kept[kind].database)
        server = self._kept[kind]
        if not server.running:
            server.start()
        read = len(server.log)
        try:
            yield server
        finally:
            print(server.log[read:])
            empty(server)

    def close(self) -> None:
        for server in self._kept.values():
            server.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    shared = Servers()
    yield shared
    shared.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[LiveServer]:
    """A running site without a row. Tests that leave something in its memory are marked `own_server`."""
    own = request.node.get_closest_marker("own_server")
    with LiveServer("daphne", env=SITE) if own else servers.lend(SITE) as running:
        yield running


@functools.cache
def filled_database() -> Path:
    """A migrated database with the demo's products, made once in a process, to be copied."""
    database = migrated_database().with_name("filled.sqlite3")
    shutil.copy(migrated_database(), database)
    manage(database, "shell", "--command", "from project.demo import catalogue; catalogue.fill()")
    return database


def empty(server: LiveServer) -> None:
    """Remove the rows that a test has left: users, sessions, and all that is the library's."""
    connection = sqlite3.connect(server.database, timeout=20)
    try:
        with connection:
            ours = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'syncsessions%'"
            )
            for table in (*(name for (name,) in ours.fetchall()), "django_session", "django_admin_log", "auth_user"):
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
