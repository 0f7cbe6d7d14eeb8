"""`manage.py demo --sites 2`, as a newcomer follows what it prints: one admin watches the other site."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.acceptance.test_form import eventually
from tests.live import ROOT

LIST = "admin/syncsessions/connection/"
SLOW = 40_000  # milliseconds: a site is asked again, and told, by processes of its own


class TwoSites:
    """The command and what it has printed; `again` starts the second site alone, by the printed command."""

    def __init__(self, folder: Path) -> None:
        self.port = free_pair()
        self._log = folder / "demo.log"
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DEMO_")},
            "DEMO_DATABASE": str(folder / "demo.sqlite3"),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONUNBUFFERED": "1",
        }
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def told(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def run(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", *arguments],
                cwd=ROOT,
                env={**self._env, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        return process

    def again(self) -> None:
        (printed,) = re.findall(r"manage\.py demo (--site 2 .*)", self.told)
        database = Path(self._env["DEMO_DATABASE"])
        self.run(*shlex.split(printed), DEMO_DATABASE=str(database.with_stem("demo-2")))

    def end(self) -> None:
        for process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        print(self.told)


def free_pair() -> int:
    """A port that is free, and so is the next."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoSites]:
    sites = TwoSites(tmp_path)
    try:
        yield sites
    finally:
        sites.end()


def badges(page: Page) -> list[Locator]:
    """The one link's status here, and at the other site."""
    return [page.locator(f"tbody [data-shows={each}]") for each in ("status", "remote")]


async def shows(page: Page, here: str, there: str) -> None:
    for badge, word in zip(badges(page), (here, there), strict=True):
        await expect(badge).to_have_text(word, timeout=SLOW)


async def step(page: Page, name: str) -> None:
    """Take a step on the link's own page, and come back to the list."""
    await page.locator("tbody a", has_text="Print shops").click()
    await page.get_by_role("button", name=name).click()
    confirm = page.get_by_role("button", name=re.compile("^Yes"))
    if name.endswith("…"):
        await confirm.click()
    await expect(page.locator(".messagelist")).to_be_visible()
    await page.goto(page.url.split(LIST)[0] + LIST)


async def test_one_admin_watches_the_other_site(browser: Browser, two: TwoSites) -> None:
    two.run("--sites", "2", "--port", str(two.port))
    await eventually(lambda: "Stop both with Ctrl-C" in two.told, within=90)
    (password,) = re.findall(r"Password  (\S+)\n", two.told)
    assert "as printed" not in password
    addresses = re.findall(r"Site \d    (\S+)", two.told)
    assert [address.endswith(LIST) for address in addresses] == [True, True]
    context = await browser.new_context()  # one browser for both: their cookies do not meet
    context.set_default_timeout(30_000)
    try:
        pages = [await context.new_page() for _ in addresses]
        for page, address in zip(pages, addresses, strict=True):
            await page.goto(address)
            await page.fill("#id_username", "admin")
            await page.fill("#id_password", password)
            await page.click("[type=submit]")
        first, second = pages
        await shows(first, "pending", "pending")
        await step(second, "Approve")
        await shows(first, "active", "active")
        await step(second, "Suspend…")
        await shows(first, "suspended", "suspended")
        await step(second, "Reactivate")
        await shows(first, "active", "active")

        (pid,) = re.findall(r"kill -9 (\d+)", two.told)
        os.kill(int(pid), signal.SIGKILL)
        await expect(badges(first)[1]).to_have_text("active")
        await first.reload()
        await shows(first, "active", "offline")
        await step(first, "Suspend…")
        two.again()
        await eventually(lambda: answers(two.port + 1), within=60)
        await second.reload()
        await shows(second, "suspended", "suspended")
        await step(first, "Reactivate")
        await shows(second, "active", "active")

        await second.locator("tbody a", has_text="Print shops").click()
        await second.locator(".deletelink").click()
        await second.get_by_role("button", name=re.compile("^Yes")).click()
        await expect(second.locator("tbody a", has_text="Print shops")).to_have_count(0)
        await expect(badges(first)[0]).to_have_text("revoked", timeout=SLOW)
        await first.reload()
        await shows(first, "revoked", "not found")
    finally:
        await context.close()


def answers(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return True
    except OSError:
        return False
