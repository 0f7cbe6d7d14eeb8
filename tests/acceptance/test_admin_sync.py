"""The admin's page of live sync sessions in a browser: it keeps itself up to date, ends sessions, and does without."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from syncsessions import codes
from tests.acceptance.conftest import Servers
from tests.acceptance.staff import LIVE, POLLING, is_state, live_page, staff
from tests.live import LiveServer, manage
from tests.live_parties import Party, joined, opened, party
from tests.stores import configuration

PATH = "/admin/syncsessions/activesyncsession/"


def environment(store: str, **more: Any) -> dict[str, str]:
    told = {"STORES": {"default": configuration(store)}, **more}
    return {"DJANGO_SETTINGS_MODULE": "tests.live_settings", "TEST_LIVE_SYNCSESSIONS": json.dumps(told)}


@pytest.fixture(params=["memory", "redis", "sqlite"])
def server(request: Any) -> Iterator[LiveServer]:
    with LiveServer("daphne", env=environment(request.param)) as running:
        yield running


@pytest.fixture
def lasting() -> dict[str, str]:
    """The environment of a server whose sessions another process may open, for nobody renews them."""
    return environment("sqlite", PAIRING_LEASE=600)


async def staff_page(context: BrowserContext, path: str = PATH, state: str = LIVE) -> Page:
    return await live_page(context, path, state)


def rows(page: Page) -> Locator:
    return page.locator("[data-part=rows] tr")


def row(page: Page, code: str) -> Locator:
    return rows(page).filter(has_text=codes.grouped(code))


def open_sessions(server: LiveServer, env: dict[str, str], count: int) -> list[str]:
    """The codes of sessions that another process has opened, newest first."""
    work = (
        "from syncsessions.pairing import sync_sessions\n"
        f"for n in range({count}): print(sync_sessions.create('send', 'elsewhere', {{'n': n}}).code)"
    )
    return manage(server.database, "shell", "-v", "0", "-c", work, **env).split()[::-1]


def end_session(server: LiveServer, env: dict[str, str], code: str) -> None:
    work = f"from syncsessions.pairing import sync_sessions; sync_sessions.delete('{code}')"
    manage(server.database, "shell", "-v", "0", "-c", work, **env)


@contextlib.asynccontextmanager
async def parties(server: LiveServer) -> AsyncIterator[tuple[Party, Party]]:
    cookie = await asyncio.to_thread(server.log_in)
    async with party(server, cookie) as owner, party(server) as peer:
        yield owner, peer


async def test_it_follows_what_happens_and_ends_it(browser: Browser, server: LiveServer) -> None:
    async with staff(browser, server) as context, parties(server) as (owner, peer):
        page = await staff_page(context)
        await expect(page.locator("[data-part=empty]")).to_be_visible()
        code = await joined(owner, peer)
        await expect(row(page, code)).to_contain_text("connected")
        await expect(page.locator("[data-count=connected]")).to_have_text("1")
        await row(page, code).get_by_role("button").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text(f"{codes.grouped(code)}: connected")
        await dialog.get_by_text("No, take me back").click()
        await expect(row(page, code)).to_be_visible()
        await row(page, code).get_by_role("button").click()
        await dialog.get_by_text("Yes, end").click()
        for each in (owner, peer):
            closed = await each.hear("session.closed")
            assert (closed["status"], closed["reason"]) == ("failed", "ended_by_admin")
        await expect(page.locator("[data-part=told]")).to_have_text(f"Ended: {codes.grouped(code)}.")
        await expect(rows(page)).to_have_count(0)
        await expect(page.locator("[data-part=empty]")).to_be_visible()


async def test_what_is_chosen_and_open_stays_so(browser: Browser, servers: Servers, lasting: dict[str, str]) -> None:
    with servers.lend(lasting) as server:
        code, older = open_sessions(server, lasting, 2)
        async with staff(browser, server) as context, parties(server) as (owner, _peer):
            page = await staff_page(context)
            chosen = row(page, code).get_by_role("checkbox")
            await chosen.check()
            await row(page, code).locator("summary").click()
            await chosen.focus()
            left = await row(page, code).locator("[data-field=left]").inner_text()
            newest = await opened(owner, info={"name": "<b>Ann</b>"})
            await expect(rows(page)).to_have_count(3)
            await expect(rows(page).first).to_contain_text(codes.grouped(newest))
            await expect(chosen).to_be_checked()
            await expect(chosen).to_be_focused()
            await expect(row(page, code).locator("details")).to_have_attribute("open", "")
            await expect(row(page, code).locator("[data-field=left]")).not_to_have_text(left)
            await expect(row(page, newest).locator("[data-field=sender_info]")).to_contain_text("<b>Ann</b>")
            await page.get_by_text("End selected…").click()
            await expect(page.get_by_role("dialog").locator("li")).to_have_text([f"{codes.grouped(code)}: pending"])
            await page.keyboard.press("Escape")
            await page.get_by_label("Select all on this page").check()
            await page.get_by_text("End selected…").click()
            await expect(page.get_by_role("dialog").locator("li")).to_have_count(3)
            await page.get_by_role("dialog").get_by_text("Yes, end").click()
            await expect(rows(page)).to_have_count(0)
            assert (await owner.hear("session.closed"))["reason"] == "ended_by_admin"
            assert older


async def test_pages_are_turned_without_loading(browser: Browser, servers: Servers, lasting: dict[str, str]) -> None:
    with servers.lend(lasting) as server:
        found = open_sessions(server, lasting, 105)
        async with staff(browser, server, viewport={"width": 390, "height": 844}) as context:
            page = await staff_page(context)
            await page.evaluate("() => { window.same = true; }")
            await expect(rows(page)).to_have_count(100)
            await page.get_by_text("Older").click()
            await expect(rows(page)).to_have_count(5)
            await expect(rows(page).first).to_contain_text(codes.grouped(found[100]))
            assert page.url.endswith("?p=2")
            assert await page.evaluate("same")
            assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            await page.reload()
            await is_state(page, LIVE)
            await expect(rows(page)).to_have_count(5)
            await page.get_by_text("Newer").click()
            await expect(rows(page)).to_have_count(100)
            assert page.url.endswith(PATH)


async def test_it_polls_where_no_socket_is_and_ends_by_the_form(browser: Browser, lasting: dict[str, str]) -> None:
    with LiveServer("uvicorn", env=lasting, options=["--ws", "none"]) as server:
        async with staff(browser, server) as context:
            page = await staff_page(context, state=POLLING)
            code, other = await asyncio.to_thread(open_sessions, server, lasting, 2)
            await expect(row(page, code)).to_be_visible(timeout=15_000)
            await row(page, code).get_by_role("checkbox").check()
            await asyncio.to_thread(end_session, server, lasting, other)
            await expect(rows(page)).to_have_count(1, timeout=15_000)
            await expect(row(page, code).get_by_role("checkbox")).to_be_checked()
            await page.get_by_text("End selected…").click()
            await expect(page.locator("h1", has_text="End 1 sync session?")).to_be_visible()
            await page.get_by_text("Yes, end").click()
            await expect(page.get_by_text("1 sync session was ended.")).to_be_visible()
            await expect(rows(page)).to_have_count(0)


async def test_a_server_that_dies_and_comes_back(browser: Browser, servers: Servers, lasting: dict[str, str]) -> None:
    with servers.lend(lasting) as server:
        (code,) = open_sessions(server, lasting, 1)
        async with staff(browser, server) as context:
            page = await staff_page(context)
            server.kill()
            await is_state(page, "The server does not answer. Trying again…")
            await expect(row(page, code)).to_be_visible()
            await asyncio.to_thread(server.start)
            await is_state(page, LIVE)


async def test_a_logout_elsewhere_shows_the_page_out(
    browser: Browser, servers: Servers, lasting: dict[str, str]
) -> None:
    with servers.lend(lasting) as server:
        async with staff(browser, server) as context:
            page = await staff_page(context)
            other = await context.new_page()
            await other.goto("/admin/")
            await other.get_by_role("button", name="Log out").click()
            await expect(page.locator("[data-part=problem]")).to_contain_text("You were logged out")


async def test_without_scripts_the_page_is_a_list_with_a_form(
    browser: Browser, servers: Servers, lasting: dict[str, str]
) -> None:
    with servers.lend(lasting) as server:
        code, _other = open_sessions(server, lasting, 2)
        async with staff(browser, server, java_script_enabled=False) as context:
            page = await context.new_page()
            await page.goto(PATH)
            await expect(rows(page)).to_have_count(2)
            await row(page, code).get_by_role("button").click()
            await page.get_by_text("Yes, end").click()
            await expect(rows(page)).to_have_count(1)
            await expect(row(page, code)).to_have_count(0)
