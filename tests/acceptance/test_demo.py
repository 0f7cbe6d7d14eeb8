"""The demo as a visitor walks through it: a whole order, a crash half-way, and what must not be kept."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.acceptance.test_form import eventually
from tests.live import ROOT, free_port


class Demo:
    """`manage.py demo`, as the README says to start it."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.told = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._log = self.database.with_suffix(".log")
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--port", str(self.port)],
                cwd=ROOT,
                env={**os.environ, "DEMO_DATABASE": str(self.database), "DJANGO_SETTINGS_MODULE": "project.settings"},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def answers(self) -> bool:
        self.told = self._log.read_text()
        try:
            return bool(urllib.request.urlopen(self.url, timeout=5).status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def table(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path / "demo.sqlite3")
    try:
        yield running
    finally:
        running.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(demo: Demo, browser: Browser) -> AsyncIterator[BrowserContext]:
    demo.start()
    await eventually(demo.answers, within=40)
    context = await browser.new_context(base_url=demo.url, viewport={"width": 390, "height": 844})
    context.set_default_timeout(15_000)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on("console", lambda message: wrong.append(message.text) if "Security Policy" in message.text else None)
    yield context
    await context.close()
    assert not wrong


async def is_saved(page: Page) -> None:
    for form in await page.locator("form[data-syncsessions-stash]").all():
        await expect(form).to_have_attribute("data-syncsessions-state", "saved")


async def test_an_order_with_a_crash_half_way(demo: Demo, visitor: BrowserContext) -> None:
    page = await visitor.new_page()
    await page.goto("/")
    for path in ["/order/", "/note/", "/admin/"]:
        assert await page.locator(f"a[href='{path}']").count()

    await page.goto("/order/")
    await is_saved(page)
    await page.fill("[name=q]", "card")
    product = page.locator("[name=product]:enabled").first
    await product.check(force=True)
    await page.fill("[name=quantity]", "3")
    await is_saved(page)
    await page.click("text=Go on to delivery")

    await page.fill("[name=name]", "Ada Example")
    await page.fill("[name=email]", "ada@example.com")
    await page.fill("[name=address]", "1 Type Street")
    cards = page.locator("[autocomplete^=cc-], [type=password]")
    assert await cards.count() >= 2
    for field in await cards.all():
        await field.fill("4242424242424242")
    await is_saved(page)
    demo.kill()
    demo.start()
    await eventually(demo.answers, within=40)
    await page.reload()
    await is_saved(page)
    await expect(page.locator("[name=name]")).to_have_value("Ada Example")
    for field in await page.locator("[autocomplete^=cc-], [type=password]").all():
        await expect(field).to_have_value("")
    assert not demo.table("SELECT 1 FROM syncsessions_stashslice WHERE data LIKE '%4242%'")
    delivery = page.locator("[name=delivery_date]")
    await page.select_option("[name=country]", label="Denmark")
    await delivery.fill(await delivery.get_attribute("min") or "2030-01-15")
    await page.click("text=/^Go on/")

    await expect(page.locator("[name=brief]")).to_be_visible()
    await page.fill("[name=brief]", "Words for the printers. " * 100)
    await is_saved(page)
    other = await visitor.new_page()
    await other.goto("/order/brief/")
    await expect(other.locator("[name=brief]")).to_have_value(re.compile("Words for the printers"))
    await page.click("text=Place the order")
    await expect(page.locator("h1")).to_contain_text(re.compile("thank", re.IGNORECASE))
    assert demo.table("SELECT COUNT(*) FROM demo_order") == [(1,)]
    await expect(other.locator("[name=brief]")).to_have_value("")


async def test_the_note_follows_and_nothing_scrolls_sideways(demo: Demo, visitor: BrowserContext) -> None:
    pages = [await visitor.new_page() for _ in range(2)]
    for page in pages:
        await page.goto("/note/")
        await is_saved(page)
    await pages[0].fill("textarea", "typed in one")
    await expect(pages[1].locator("textarea")).to_have_value("typed in one")
    for path in ["/", "/order/", "/order/delivery/", "/order/brief/", "/note/", "/accounts/login/"]:
        await pages[0].goto(path)
        assert await pages[0].evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path


async def test_the_printed_password_opens_the_admin(demo: Demo, visitor: BrowserContext) -> None:
    found = re.search(r"Password\s+(\S+)", demo.told)
    assert found
    page = await visitor.new_page()
    await page.goto("/admin/")
    await page.fill("[name=username]", "admin")
    await page.fill("[name=password]", found[1])
    await asyncio.gather(page.wait_for_url("**/admin/"), page.press("[name=password]", "Enter"))
    for name in ["stashowner", "stashslice"]:
        await page.goto(f"/admin/syncsessions/{name}/")
        assert await page.locator("#result_list tbody tr").count() >= 10
