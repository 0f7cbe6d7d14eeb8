"""Two browsers draw on one sheet: strokes and words go both ways, numbered, also over a line that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.acceptance.conftest import Servers
from tests.live import LiveServer

INK = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let inked = 0;
    for (let n = 3; n < data.length; n += 4) inked += data[n] > 0;
    return inked;
}"""


@pytest.fixture
def server(servers: Servers) -> Iterator[LiveServer]:
    """The demo."""
    with servers.lend() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def other_context(browser: Browser, server: LiveServer) -> AsyncIterator[BrowserContext]:
    opened = await browser.new_context(base_url=server.url, viewport={"width": 390, "height": 844}, has_touch=True)
    opened.set_default_timeout(15_000)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def two(page: Page, other_context: BrowserContext) -> tuple[Page, Page]:
    await page.goto("/drawing/")
    await page.click("text=Show a code")
    code = "".join(await page.locator("#code span").all_inner_texts())
    await expect(page.locator("#qr")).to_be_visible()
    code = "".join(await page.locator("#code span").all_inner_texts())
    other = await other_context.new_page()
    await other.goto(f"/drawing/#code={code}")
    await expect(other.locator("#code-field")).to_have_value(f"{code[:4]}-{code[4:]}")
    await expect(page.locator("#state")).to_have_text("Waiting for the other one")
    await other.click("button:has-text('Join')")
    for each in (page, other):
        await expect(each.locator("#state")).to_have_text("Connected")
    return page, other


async def draw(page: Page, at: float, steps: int = 20) -> None:
    canvas = page.locator("#canvas")
    await canvas.scroll_into_view_if_needed()
    box = await canvas.bounding_box()
    assert box is not None
    left, top, width, height = box["x"], box["y"], box["width"], box["height"]
    await page.mouse.move(left + width * at, top + height * 0.2)
    await page.mouse.down()
    await page.mouse.move(left + width * at, top + height * 0.8, steps=steps)
    await page.mouse.up()


async def count(page: Page, name: str) -> int:
    return int(await page.locator(f"#{name}").inner_text())


async def all_arrived(sender: Page, reader: Page) -> None:
    made = await sender.locator("#made").inner_text()
    await expect(sender.locator("#acknowledged")).to_have_text(made)
    await expect(sender.locator("#backlog")).to_have_text("0")
    await expect(reader.locator("#received")).to_have_text(made)


async def ink(page: Page) -> int:
    found: int = await page.locator("#canvas").evaluate(INK)
    return found


async def test_strokes_and_words_go_both_ways(two: tuple[Page, Page]) -> None:
    for sender, reader, at in ((*two, 0.3), (*reversed(two), 0.6)):
        before = await ink(reader)
        await draw(sender, at)
        assert await count(sender, "made") >= 2
        await all_arrived(sender, reader)
        assert await ink(reader) > before + 500
        assert abs(await ink(sender) - await ink(reader)) < 0.05 * await ink(reader)
        await sender.fill("#words", f"Look at {at}")
        await sender.press("#words", "Enter")
        await expect(sender.locator("#chat li").last).to_have_text(f"You Look at {at}")
        await expect(reader.locator("#chat li").last).to_have_text(f"They Look at {at}")
        await all_arrived(sender, reader)
    await two[0].click("text=Clean the sheet")
    await all_arrived(*two)
    assert [await ink(page) for page in two] == [0, 0]


async def test_what_the_line_does_not_take_waits_in_the_page(two: tuple[Page, Page]) -> None:
    """The reader's page stands still: the sender's keeps what is beyond the window, and all of it arrives."""
    sender, reader = two
    await reader.evaluate(
        """() => {
            const put = WebSocket.prototype.send;
            WebSocket.prototype.send = function (text) {
                if (window.still && text.includes("session.ack")) window.held = () => put.call(this, text);
                else put.call(this, text);
            };
            window.still = true;
        }"""
    )
    for number in range(40):
        await sender.fill("#words", f"line {number}")
        await sender.press("#words", "Enter")
    await expect(reader.locator("#received")).to_have_text("16")
    assert await count(sender, "made") == 40
    assert await count(sender, "backlog") == 40
    assert await count(sender, "acknowledged") == 0
    await reader.evaluate("() => { window.still = false; window.held(); }")
    await all_arrived(sender, reader)
    await expect(reader.locator("#chat li")).to_have_text([f"They line {number}" for number in range(40)])


async def test_payloads_that_are_no_strokes_do_no_harm(two: tuple[Page, Page]) -> None:
    sender, reader = two
    page_of_its_own = """async () => {
        const { pairing } = window.syncsessions;
        const opened = pairing.open({ direction: "send", path: "drawing/" });
        return (await opened.opened).code;
    }"""
    await sender.goto("/drawing/")
    await expect(reader.locator("#refusal")).to_have_text("The other one has left.")
    await sender.evaluate(f"() => {{ window.code = ({page_of_its_own})(); }}")
    code = await sender.evaluate("() => window.code")
    assert len(code) == 8
    await sender.evaluate(
        """() => {
            const { pairing } = window.syncsessions;
            window.mine = pairing.open({ direction: "send", path: "drawing/" });
        }"""
    )
    code = await sender.evaluate("async () => (await window.mine.opened).code")
    await reader.fill("#code-field", code)
    await reader.click("button:has-text('Join')")
    await expect(reader.locator("#state")).to_have_text("Connected")
    await sender.evaluate(
        """async () => {
            const odd = [null, 1, "x", [], {}, { stroke: 1 }, { stroke: [] }, { stroke: [[1]] },
                         { stroke: [["a", null]] }, { text: 1 }, { text: "<img src=x onerror=alert(1)>" }];
            await Promise.all(odd.map((payload) => window.mine.relay(payload)));
        }"""
    )
    await expect(reader.locator("#received")).to_have_text("11")
    await expect(reader.locator("#chat li").last).to_have_text("They <img src=x onerror=alert(1)>")


async def test_the_other_leaves(two: tuple[Page, Page]) -> None:
    page, other = two
    await other.close()
    await expect(page.locator("#refusal")).to_have_text("The other one has left.")
    await expect(page.locator("#words")).to_be_disabled()
    await page.click("text=Show a code")
    await expect(page.locator("#state")).to_have_text("Waiting for the other one")
