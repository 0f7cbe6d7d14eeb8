"""What a person, a site's own script or a bad line may do to a form that keeps itself: nothing typed is lost by it."""

from __future__ import annotations

import asyncio
import json

import pytest
from playwright.async_api import BrowserContext, Page, Route, WebSocketRoute, expect

from tests.acceptance.conftest import slices
from tests.acceptance.test_form import eventually, field, is_saved, open_page, write
from tests.live import LiveServer

STASH = "**/syncsessions/stash/**"


async def put_before_draft(context: BrowserContext, html: str) -> None:
    async def change(route: Route) -> None:
        response = await route.fetch()
        body = (await response.text()).replace('<textarea name="draft"', f'{html}<textarea name="draft"')
        await route.fulfill(response=response, body=body)

    await context.route("**/plain/", change)


async def test_a_field_may_have_any_name(server: LiveServer, context: BrowserContext, page: Page) -> None:
    names = ["elements", "dataset", "method", "constructor", "__proto__"]
    await put_before_draft(context, "".join(f'<input name="{name}">' for name in names))
    await open_page(page)
    for name in names:
        await page.fill(f"[name={name}]", f"in {name}")
    await is_saved(page)
    other = await open_page(await context.new_page())
    for name in names:
        await field(other, name)(f"in {name}")
    await page.fill("[name=name]", "Ann")
    async with page.expect_request(lambda request: request.method == "POST" and "/plain/" in request.url) as sent:
        await page.click("text=Send >> nth=0")
    assert "syncsessions-tab" in ((await sent.value).post_data or "")


async def test_what_was_typed_offline_stays_when_another_tab_began_anew(context: BrowserContext, page: Page) -> None:
    down = cut = False
    lines: list[WebSocketRoute] = []

    async def line(socket: WebSocketRoute) -> None:
        if down:
            await socket.close()
        else:
            socket.connect_to_server()
            lines.append(socket)

    async def fetched(route: Route) -> None:
        await (route.abort() if cut else route.continue_())

    await page.route_web_socket("**/ws/**", line)
    await page.route(STASH, fetched)
    await open_page(page)
    await write(page, "draft", "kept")
    other = await open_page(await context.new_page())
    await field(other, "draft")("kept")
    down = cut = True  # fetch stays away: the socket tells first what has become of the slice
    for each in lines:
        await each.close()
    await page.fill("[name=draft]", "kept, and more")
    await other.fill("[name=name]", "Ann")
    await other.click("text=Send >> nth=0")
    await expect(other).to_have_title("Done")
    await open_page(other)
    await write(other, "name", "anew")
    down = False
    await field(page, "name")("anew")
    await field(page, "draft")("kept, and more")
    await field(other, "draft")("kept, and more")


async def test_a_late_answer_does_not_empty_what_was_saved_meanwhile(page: Page) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    hold = False

    async def fetched(route: Route) -> None:
        response = await route.fetch()
        if hold and route.request.method == "GET":
            asked.set()
            await answer.wait()
        await route.fulfill(response=response)

    await page.route_web_socket("**/ws/**", lambda socket: socket.close(code=4401))
    await page.route(STASH, fetched)
    await open_page(page)
    hold = True
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await asked.wait()
    await write(page, "draft", "typed at once")
    async with page.expect_event("requestfinished", lambda request: "view=" in request.url):
        answer.set()
    await write(page, "name", "and this")
    await field(page, "draft")("typed at once")


@pytest.mark.parametrize("length", [70_000, 300_000])
async def test_too_much_in_one_field_is_said_and_costs_no_other_field(
    server: LiveServer, page: Page, length: int
) -> None:
    await open_page(page)
    await write(page, "draft", "short")
    await page.fill("[name=draft]", "x" * length)
    await page.fill("[name=name]", "Ann")
    await eventually(lambda: slices(server)["site.plain", False].get("name") == "Ann")
    await page.select_option("[name=sort]", "old")
    await eventually(lambda: slices(server)["site.plain", False].get("sort") == "old")
    await expect(page.locator("form")).to_have_attribute("data-syncsessions-state", "error")
    await write(page, "draft", "shortened")
    assert slices(server)["site.plain", False] == {"draft": "shortened", "name": "Ann", "sort": "old"}


async def test_the_last_words_on_a_page_without_a_token_arrive(
    server: LiveServer, context: BrowserContext, page: Page
) -> None:
    await context.request.get("/in/ann/")
    await open_page(page, "/profile/")
    await page.fill("[name=bio]", "last words")
    await page.close()
    await eventually(lambda: slices(server).get(("site.profile", False)) == {"bio": "last words"})


async def test_a_sites_own_guard_hears_of_a_submit_once(server: LiveServer, page: Page) -> None:
    async def slow(route: Route) -> None:
        if route.request.method == "POST":
            await asyncio.sleep(0.5)
        await route.continue_()

    await page.route(STASH, slow)
    await open_page(page)
    await page.evaluate(
        "() => { let sent; document.forms[0].addEventListener('submit', (event) => {"
        " if (sent) event.preventDefault(); sent = true; }); }"
    )
    await page.fill("[name=name]", "Ann")
    await expect(page.locator("form")).to_have_attribute("data-syncsessions-state", "saving")
    await page.press("[name=name]", "Enter")
    await expect(page).to_have_title("Done")
    await eventually(lambda: slices(server) == {})


async def test_typing_after_a_submit_that_left_the_page_withdraws_it(server: LiveServer, page: Page) -> None:
    async def nothing(route: Route) -> None:
        await (route.fulfill(status=204) if route.request.method == "POST" else route.continue_())

    await open_page(page)
    await write(page, "draft", "one")
    await page.route("**/plain/", nothing)
    await page.fill("[name=name]", "Ann")
    async with page.expect_response("**/plain/"):
        await page.click("text=Send >> nth=0")
    await page.locator("[name=draft]").press_sequentially(", two")
    await page.goto("/done/")
    await eventually(lambda: slices(server).get(("site.plain", False), {}).get("draft") == "one, two")
    await open_page(page)
    await field(page, "draft")("one, two")
    await field(page, "name")("Ann")


async def test_a_store_that_fails_at_a_reconnect_costs_nothing(server: LiveServer, page: Page) -> None:
    failing = False
    lines: list[WebSocketRoute] = []

    def line(socket: WebSocketRoute) -> None:
        server_side = socket.connect_to_server()
        lines.append(socket)

        def pass_on(message: str | bytes) -> None:
            nonlocal failing
            frame = json.loads(message)
            if not failing or frame["type"] != "stash.subscribe":
                server_side.send(message)
                return
            failing = False
            ref = {"ref": frame["ref"]}
            error = {"type": "error", **ref, "code": "store_unavailable", "message": "", "view": "site.plain"}
            socket.send(json.dumps(error))
            socket.send(json.dumps({"type": "stash.subscribed", **ref, "views": []}))

        socket.on_message(pass_on)

    await page.route_web_socket("**/ws/**", line)
    await open_page(page)
    await write(page, "draft", "one")
    await page.reload()
    await is_saved(page)
    failing = True
    await lines[-1].close()
    await page.fill("[name=draft]", "one, two")
    await eventually(lambda: not failing)
    await eventually(lambda: slices(server)["site.plain", False]["draft"] == "one, two")
    await is_saved(page)


async def test_it_works_where_the_browser_has_little(context: BrowserContext, page: Page) -> None:
    await context.add_init_script(
        "delete window.BroadcastChannel; Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });"
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('private'); } });"
    )
    await open_page(page)
    await write(page, "draft", "kept")
    await page.reload()
    await field(page, "draft")("kept")


async def test_leaving_a_field_does_not_save_it_again(page: Page) -> None:
    await page.route_web_socket("**/ws/**", lambda socket: socket.close(code=4401))
    await open_page(page)
    await write(page, "draft", "saved already")
    async with page.expect_request(lambda request: request.method == "POST") as sent:
        await page.fill("[name=name]", "Ann")
    assert (await sent.value).post_data_json["changes"] == {"name": "Ann"}
