"""The admin's connections in a browser: badges that turn from checking to live, steps, invitations; with and without
a socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.acceptance.staff import LIVE, POLLING, live_page, staff
from tests.connection_staff import Remote, told_remote
from tests.live import LiveServer, free_port, manage

PATH = "/admin/syncsessions/connection/"


def env(site_url: str) -> dict[str, str]:
    told = {"ALLOW_PRIVATE_SITE_URLS": True, "SITE_URL": site_url}
    return {"DJANGO_SETTINGS_MODULE": "tests.live_settings", "TEST_LIVE_SYNCSESSIONS": json.dumps(told)}


ENV = env("http://127.0.0.1:9/sync")
MAKE = """
import json, sys
from django.utils import timezone
from syncsessions.connections import tokens
from syncsessions.models import Connection
for fields in json.loads({rows!r}):
    row = Connection(handed_over_at=timezone.now(), **fields)
    row.peer_token = tokens.draw() if row.site_url else None
    row.save()
    print(row.pk)
"""


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with LiveServer("daphne", env=ENV) as running:
        yield running


@pytest.fixture
def remote() -> Iterator[Remote]:
    with told_remote() as made:
        yield made


def make(server: LiveServer, *rows: dict[str, Any]) -> list[str]:
    """Rows of connections, made by another process; their ids."""
    full = [{"direction": "sender", "status": "active", **row} for row in rows]
    return manage(server.database, "shell", "-v", "0", "-c", MAKE.format(rows=json.dumps(full)), **ENV).split()


def run(server: LiveServer, code: str) -> str:
    imports = "from syncsessions.models import Connection\n"
    return manage(server.database, "shell", "-v", "0", "-c", imports + code, **ENV).strip()


async def opened(context: BrowserContext, path: str = PATH, state: str = LIVE) -> Page:
    return await live_page(context, path, state)


def badge(page: Page, pk: str, shows: str = "remote") -> Locator:
    return page.locator(f'[data-connection="{pk}"][data-shows={shows}]')


def shown(page: Page, shows: str) -> Locator:
    """The badge of a connection's own page."""
    return page.locator(f".syncsessions-standing [data-shows={shows}]")


async def seen(remote: Remote, count: int) -> None:
    await asyncio.to_thread(remote.site.wait_for, lambda site: len(site.talks) >= count)


async def fits(page: Page) -> bool:
    return bool(await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"))


async def test_badges_turn_live_one_by_one_and_a_closed_page_hangs_up(
    browser: Browser, server: LiveServer, remote: Remote
) -> None:
    rows = [{"name": name, "site_url": remote.url(name)} for name in "abcd"]
    *ids, laptop = make(server, *rows, {"name": "Laptop", "has_callback": False})
    async with staff(browser, server) as context:
        page = await opened(context)
        await seen(remote, 4)
        for pk in ids:
            await expect(badge(page, pk)).to_have_text("checking")
        await expect(badge(page, laptop)).to_have_text("not reachable")
        for index, word in ((1, "suspended"), (0, "active"), (2, "revoked")):
            remote.answer("abcd"[index], word)
            await expect(badge(page, ids[index])).to_have_text(word)
            assert f"is {word} there" in (await badge(page, ids[index]).get_attribute("title") or "")
        await expect(badge(page, ids[3])).to_have_text("checking")
        await page.close()
        await asyncio.to_thread(remote.wait_for_lost, "d")


async def test_a_step_taken_elsewhere_is_shown(browser: Browser, server: LiveServer, remote: Remote) -> None:
    (pk,) = make(server, {"name": "Customer", "site_url": remote.url("a")})
    remote.answer("a", "active")
    async with staff(browser, server) as context:
        page, own = await opened(context), await opened(context, f"{PATH}{pk}/change/")
        await expect(badge(page, pk)).to_have_text("active")
        remote.answer("a", "suspended")
        await asyncio.to_thread(run, server, f"Connection.objects.get(pk='{pk}').suspend()")
        for each in (page, own):
            await expect(badge(each, pk, "status")).to_have_text("suspended", timeout=30_000)
            await expect(badge(each, pk)).to_have_text("suspended", timeout=30_000)
        await expect(own.locator("[data-part=changed]")).to_contain_text("has changed meanwhile")
        await expect(page.locator("[data-part=changed]")).to_be_hidden()
        await asyncio.to_thread(make, server, {"name": "New", "site_url": remote.url("b")})
        await expect(page.locator("[data-part=changed]")).to_be_visible(timeout=30_000)
        await page.get_by_text("Load it again").click()
        await expect(page.get_by_role("link", name="New", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
async def test_steps_are_taken_and_refused_with_words(
    browser: Browser, server: LiveServer, remote: Remote, width: int
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    first, asked = make(
        server,
        {"name": evil, "site_url": remote.url("a"), "status": "pending"},
        {"name": "Asked", "site_url": remote.url("b"), "status": "pending", "asked_here": True},
    )
    for name in "ab":
        remote.answer(name, "pending")
    async with staff(browser, server, viewport={"width": width, "height": 844}) as context:
        page = await opened(context)
        assert await fits(page)
        await page.locator("#action-toggle").evaluate("toggle => toggle.click()")
        await page.select_option("select[name=action]", "approve")
        await page.locator("button[name=index], [type=submit][name=index]").first.click()
        messages = page.locator(".messagelist")
        await expect(messages).to_contain_text("1 connection was approved.")
        await expect(messages).to_contain_text("“Asked”: Only the other site can approve it.")
        await expect(badge(page, first, "status")).to_have_text("active")
        await page.goto(f"{PATH}{first}/change/")
        assert await fits(page)
        await page.get_by_role("button", name="Suspend…").click()
        await expect(page.locator("h1", has_text="Suspend 1 connection?")).to_be_visible()
        await page.get_by_label("Reason").fill(evil)
        await page.get_by_role("button", name="Yes, suspend").click()
        await expect(page.locator(".messagelist")).to_contain_text("1 connection was suspended.")
        await expect(badge(page, first, "status")).to_have_text("suspended")
        await expect(page.locator(".syncsessions-past")).to_contain_text(evil)
        await page.get_by_role("button", name="Reactivate").click()
        await expect(badge(page, first, "status")).to_have_text("active")
        await page.goto(f"{PATH}{asked}/change/")
        await expect(page.get_by_text("Only the other site can approve it.")).to_be_visible()
        await expect(page.get_by_role("button", name="Approve")).to_have_count(0)


async def test_it_polls_where_no_socket_is(browser: Browser, remote: Remote) -> None:
    with LiveServer("uvicorn", env=ENV, options=["--ws", "none"]) as server:
        one, two = make(server, *({"name": name, "site_url": remote.url(name)} for name in "ab"))
        async with staff(browser, server) as context:
            page, other = await opened(context, state=POLLING), await opened(context, state=POLLING)
            await seen(remote, 2)
            remote.answer("b", "suspended")
            for each in (page, other):
                await expect(badge(each, two)).to_have_text("suspended", timeout=20_000)
                await expect(badge(each, one)).to_have_text("checking")
            remote.answer("a", "active")
            for each in (page, other):
                await expect(badge(each, one)).to_have_text("active", timeout=20_000)
            assert len(remote.site.talks) == 2
            await asyncio.to_thread(run, server, f"Connection.objects.filter(pk='{one}').update(status='revoked')")
            await expect(badge(page, one, "status")).to_have_text("revoked", timeout=20_000)


async def test_without_scripts_steps_work_all_the_same(browser: Browser, server: LiveServer, remote: Remote) -> None:
    (pk,) = make(server, {"name": "Customer", "site_url": remote.url("a")})
    async with staff(browser, server, java_script_enabled=False) as context:
        page = await context.new_page()
        await page.goto(PATH)
        await expect(badge(page, pk, "status")).to_have_text("active")
        await page.get_by_role("link", name="Customer").click()
        await page.get_by_role("button", name="Revoke…").click()
        await page.get_by_role("button", name="Yes, revoke").click()
        await expect(badge(page, pk, "status")).to_have_text("revoked")
        await expect(page.get_by_role("button", name="Revoke…")).to_have_count(0)
    assert {talk.head.split(" ")[0] for talk in remote.site.talks} <= {"PATCH"}  # nobody asks how it stands


async def test_an_invitation_is_made_shown_once_and_withdrawn(browser: Browser, server: LiveServer) -> None:
    async with staff(browser, server, viewport={"width": 390, "height": 844}) as context:
        page = await context.new_page()
        await page.goto(PATH)
        await page.get_by_text("Connect to a site, invite one").click()
        assert await fits(page)
        await page.locator("[name=invite-name]").fill("Ann's laptop")
        await page.get_by_role("button", name="Make an invitation").click()
        code = await page.locator("[data-part=code]").inner_text()
        assert re.fullmatch(r"\w{4}-\w{4}", code)
        await expect(page.locator("[data-part=command]")).to_contain_text(f"http://127.0.0.1:9/sync --code {code}")
        assert await fits(page) and code not in page.url
        await page.goto(f"{PATH}add/")
        await expect(page.locator("body")).not_to_contain_text(code)
        await page.get_by_role("button", name="Withdraw").click()
        await expect(page.locator(".messagelist")).to_contain_text("was withdrawn")
        await expect(page.get_by_role("button", name="Withdraw")).to_have_count(0)
    assert code not in server.log


async def test_two_sites_are_linked_by_their_admins(browser: Browser) -> None:
    """One asks and the other approves; then a laptop that nobody can reach redeems an invitation."""
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}/sync" for port in ports]
    with LiveServer(port=ports[0], env=env(urls[0])) as asking, LiveServer(port=ports[1], env=env(urls[1])) as asked:
        async with staff(browser, asking) as here, staff(browser, asked) as there:
            page = await here.new_page()
            await page.goto(f"{PATH}add/")
            await page.locator("[name=connect-url]").fill("nonsense")
            await page.get_by_role("button", name="Connect", exact=True).click()
            await expect(page.get_by_text("This is not the address of a site.")).to_be_visible()
            await page.locator("[name=connect-url]").fill(urls[1])
            await page.locator("[name=connect-name]").fill("The customer")
            await page.get_by_role("button", name="Connect", exact=True).click()
            await expect(page.locator(".messagelist")).to_contain_text("awaits its approval at the other site")
            mine, remote = shown(page, "status"), shown(page, "remote")
            await expect(remote).to_have_text("pending")
            await expect(page.get_by_text("Only the other site can approve it.")).to_be_visible()
            theirs = await opened(there)
            await theirs.get_by_role("link", name="The customer").click()
            await theirs.get_by_role("button", name="Approve").click()
            await expect(shown(theirs, "status")).to_have_text("active")
            for each in (mine, remote):
                await expect(each).to_have_text("active", timeout=30_000)
            await page.get_by_text("Load it again").click()
            await expect(page.locator(".syncsessions-past")).to_contain_text("by the other site")
            # The other way round: the asked one invites, and the asking one has no address for it.
            await theirs.goto(f"{PATH}add/")
            await theirs.locator("[name=invite-name]").fill("Laptop")
            await theirs.get_by_role("button", name="Make an invitation").click()
            code = await theirs.locator("[data-part=code]").inner_text()
            await page.goto(f"{PATH}add/")
            await page.locator("[name=redeem-url]").fill(urls[1])
            await page.locator("[name=redeem-code]").fill(code.lower())
            await page.locator("[name=redeem-callback]").uncheck()
            await page.get_by_role("button", name="Redeem", exact=True).click()
            await expect(page.locator(".messagelist")).to_contain_text("is active.")
            await expect(shown(page, "remote")).to_have_text("active")
            await theirs.goto(PATH)
            await expect(theirs.locator("[data-shows=remote]", has_text="not reachable")).to_have_count(1)
            await theirs.goto(f"{PATH}add/")
            await expect(theirs.get_by_role("button", name="Withdraw")).to_have_count(0)
            await page.goto(f"{PATH}add/")
            await page.locator("[name=redeem-url]").fill(urls[1])
            await page.locator("[name=redeem-code]").fill(code)
            await page.get_by_role("button", name="Redeem", exact=True).click()
            await expect(page.locator(".errornote")).to_be_visible()
        for each in (asking, asked):
            assert code not in each.log and code.replace("-", "") not in each.log


async def test_who_may_only_look_sees_no_way_to_act(browser: Browser, server: LiveServer, remote: Remote) -> None:
    (pk,) = make(server, {"name": "Customer", "site_url": remote.url("a")})
    remote.answer("a", "active")
    async with staff(browser, server) as context:
        await asyncio.to_thread(
            run,
            server,
            "from django.contrib.auth.models import Permission, User\n"
            "boss = User.objects.get(username='boss'); boss.is_superuser = False; boss.save()\n"
            "boss.user_permissions.set(Permission.objects.filter(codename='view_connection'))",
        )
        page = await opened(context)
        await expect(badge(page, pk)).to_have_text("active")
        await expect(page.locator("select[name=action]")).to_have_count(0)
        await page.get_by_role("link", name="Customer").click()
        await expect(badge(page, pk)).to_have_text("active")
        for name in ("action", "_save"):
            await expect(page.locator(f"[name={name}]")).to_have_count(0)
        # What a page lets nobody press is refused all the same.
        token = await page.evaluate("() => document.querySelector('[name=csrfmiddlewaretoken]')?.value ?? ''")
        answer = await context.request.post(
            f"{PATH}{pk}/action/", form={"action": "revoke", "confirmed": "yes", "csrfmiddlewaretoken": token}
        )
        assert token and answer.status == 403 and "CSRF" not in await answer.text()
        listed = await opened(context)
        await asyncio.to_thread(
            run,
            server,
            "from django.contrib.auth.models import User; User.objects.get(username='boss').user_permissions.clear()",
        )
        await expect(listed.locator("[data-part=problem]")).to_contain_text(
            "You may no longer see this list.", timeout=30_000
        )
