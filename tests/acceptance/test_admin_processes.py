"""The admin's pages of session processes in a browser: they follow what happens, touch, terminate, and do without."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.acceptance.conftest import Servers
from tests.acceptance.staff import staff
from tests.acceptance.test_admin_sync import environment, rows, staff_page
from tests.live import LiveServer, manage

PATH = "/admin/syncsessions/activeprocess/"
POLLING = "Updated every few seconds"
IMPORTS = "from syncsessions.processes import DefaultProcess\n"


@pytest.fixture
def env() -> dict[str, str]:
    """Of a server whose processes another process starts."""
    return environment("sqlite")


def work(server: LiveServer, env: dict[str, str], code: str) -> str:
    """What another process of the site prints that does this with its session processes."""
    return manage(server.database, "shell", "-v", "0", "-c", IMPORTS + code, **env)


def start(server: LiveServer, env: dict[str, str], *ids: str) -> None:
    work(
        server, env, f"for id in {ids!r}: DefaultProcess.start(id).cast('put', 'basket', {{'of': id, 'items': [1, 2]}})"
    )


def row(page: Page, name: str) -> Locator:
    return rows(page).filter(has_text=name)


async def test_a_list_follows_and_terminates(browser: Browser, servers: Servers, env: dict[str, str]) -> None:
    with servers.lend(env) as server:
        async with staff(browser, server) as context:
            page = await staff_page(context, PATH)
            await expect(page.locator("[data-part=empty]")).to_be_visible()
            await asyncio.to_thread(start, server, env, "first-session", "second-session", "third-session")
            await expect(rows(page)).to_have_count(3)
            await row(page, "second-s…").get_by_role("checkbox").check()
            await row(page, "first-se…").get_by_role("button", name="Touch").click()
            await expect(page.locator("[data-part=told]")).to_have_text("Touched: DefaultProcess first-se….")
            await row(page, "first-se…").get_by_role("button", name="Terminate…").click()
            dialog = page.get_by_role("dialog")
            await expect(dialog.locator("li")).to_have_text(["DefaultProcess first-se…"])
            await dialog.get_by_text("No, take me back").click()
            await expect(row(page, "second-s…").get_by_role("checkbox")).to_be_checked()
            await page.get_by_label("Select all on this page").check()
            await row(page, "third-se…").get_by_role("checkbox").uncheck()
            await page.get_by_text("Terminate selected…").click()
            await expect(dialog.locator("li")).to_have_text(["DefaultProcess second-s…", "DefaultProcess first-se…"])
            await dialog.get_by_text("Yes, terminate").click()
            await expect(rows(page)).to_have_count(1)
            await page.get_by_role("link", name="syncsessions.processes.default.DefaultProcess").click()
            await expect(page.locator("[data-part=matching]")).to_contain_text("1 of the 1")
            await row(page, "third-se…").get_by_role("link").click()
            await expect(page.locator("h1", has_text="Process DefaultProcess third-se…")).to_be_visible()
            assert "third-session" not in page.url


async def test_a_process_is_followed_until_it_ends(browser: Browser, servers: Servers, env: dict[str, str]) -> None:
    with servers.lend(env) as server:
        start(server, env, "first-session")
        async with staff(browser, server, viewport={"width": 390, "height": 844}) as context:
            page = await staff_page(context, PATH)
            await page.get_by_role("link", name="first-se…").click()
            tree = page.locator("[data-part=tree]")
            await expect(page.locator("[data-part=state-text]")).to_have_text("Live")
            await expect(tree.locator("details details > summary")).to_have_text(["items [2]"])
            await tree.get_by_text("items").click()
            await expect(tree.locator("details details")).to_have_attribute("open", "")
            later = "s = DefaultProcess.get('first-session'); s.cast('put', 'basket', {'items': [7], 'n': '<b>ö</b>'})"
            await asyncio.to_thread(work, server, env, later)
            await expect(page.locator("[data-part=revision]")).to_have_text("2")
            await expect(tree.get_by_text('"<b>ö</b>"')).to_be_visible()
            await expect(page.locator("[data-part=no-history]")).to_be_visible()
            assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
            await page.get_by_role("button", name="Touch").click()
            await expect(page.locator("[data-part=told]")).to_have_text("Touched: DefaultProcess first-se….")
            await page.get_by_role("button", name="Terminate…").click()
            await page.get_by_role("dialog").get_by_text("Yes, terminate").click()
            await expect(page.locator("[data-part=told] li").last).to_have_text("Terminated: DefaultProcess first-se….")
            await expect(page.locator("[data-part=problem]")).to_contain_text("This process has ended.")
            await expect(page.get_by_role("button", name="Touch")).to_be_disabled()
            await expect(tree.get_by_text('"<b>ö</b>"')).to_be_visible()


async def test_they_poll_where_no_socket_is_and_act_by_the_form(browser: Browser, env: dict[str, str]) -> None:
    with LiveServer("uvicorn", env=env, options=["--ws", "none"]) as server:
        async with staff(browser, server) as context:
            page = await staff_page(context, PATH, state=POLLING)
            await asyncio.to_thread(start, server, env, "first-session", "second-session")
            await expect(rows(page)).to_have_count(2, timeout=15_000)
            await row(page, "first-se…").get_by_role("checkbox").check()
            await page.get_by_role("button", name="Touch selected").click()
            await expect(page.get_by_text("1 process was touched.")).to_be_visible()
            await page.get_by_role("link", name="first-se…").click()
            await asyncio.to_thread(
                work, server, env, "DefaultProcess.get('first-session').cast('put', 'new', 'value')"
            )
            await expect(page.get_by_text('"value"')).to_be_visible(timeout=15_000)
            await page.get_by_role("button", name="Terminate…").click()
            await expect(page.locator("h1", has_text="Terminate 1 process?")).to_be_visible()
            await page.get_by_text("Yes, terminate").click()
            await expect(page.get_by_text("1 process was terminated.")).to_be_visible()
            await expect(rows(page)).to_have_count(1)
            await page.get_by_role("link", name="second-s…").click()
            ended = "DefaultProcess.get('second-session').terminate()"
            await asyncio.to_thread(work, server, env, ended)
            await expect(page.locator("[data-part=problem]")).to_contain_text("has ended", timeout=15_000)


async def test_without_scripts_there_are_pages_with_forms(
    browser: Browser, servers: Servers, env: dict[str, str]
) -> None:
    with servers.lend(env) as server:
        start(server, env, "first-session", "second-session")
        async with staff(browser, server, java_script_enabled=False) as context:
            page = await context.new_page()
            await page.goto(PATH)
            await expect(rows(page)).to_have_count(2)
            await page.get_by_role("link", name="first-se…").click()
            await page.get_by_text("items").click()
            await expect(page.locator("[data-part=tree] details details li")).to_have_count(2)
            await page.get_by_role("button", name="Touch").click()
            await expect(page.get_by_text("1 process was touched.")).to_be_visible()
            await page.get_by_role("button", name="Terminate…").click()
            await page.get_by_text("Yes, terminate").click()
            await expect(rows(page)).to_have_count(1)
            await expect(row(page, "first-se…")).to_have_count(0)
