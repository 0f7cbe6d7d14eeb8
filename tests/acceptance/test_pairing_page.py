"""Two browsers that are brought together by a code: each shows what the other says, for as long as both are there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.live import LiveServer

MANY = 500

KEEP_ALL = """() => {
    window.heard = [];
    window.refusals = [];
    session.onrelay = (payload, seq) => { heard.push([seq, payload.n]); };
    session.addEventListener("error", ({ detail }) => refusals.push(detail.code));
}"""
RELAY_MANY = """async (many) => {
    const relays = Array.from({ length: many }, (_, n) => session.relay({ n: n + 1 }));
    return (await Promise.all(relays)).map(({ seq }) => seq);
}"""
ENDED = "async () => await session.closed"
REFUSED = "async () => await session.opened.then(() => null, (error) => ({ ...error, message: error.message }))"


@pytest_asyncio.fixture(loop_scope="session")
async def other_context(browser: Browser, server: LiveServer) -> AsyncIterator[BrowserContext]:
    """Another person's browser."""
    opened = await browser.new_context(base_url=server.url)
    opened.set_default_timeout(15_000)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="session")
async def owner(context: BrowserContext, page: Page) -> Page:
    await context.request.get("/in/ann/")
    await page.goto("/pairing/")
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def peer(other_context: BrowserContext) -> Page:
    page = await other_context.new_page()
    await page.goto("/pairing/")
    return page


def state(page: Page, text: str) -> Any:
    return expect(page.locator("#state")).to_have_text(text)


async def show_code(owner: Page) -> str:
    await owner.click("#open")
    await state(owner, "pending")
    return await owner.locator("#code").inner_text()


async def join(peer: Page, code: str) -> None:
    await peer.fill("[name=code]", code)
    await peer.click("text=Join")


async def pair(owner: Page, peer: Page) -> None:
    await join(peer, await show_code(owner))
    await state(owner, "joined by peer")
    await state(peer, "connected")


def heard(page: Page, *texts: str) -> Any:
    return expect(page.locator("#heard li")).to_have_text(list(texts))


async def say(page: Page, text: str) -> None:
    await page.fill("[name=text]", text)
    await page.click("text=Say")


async def test_a_code_brings_two_browsers_together(owner: Page, peer: Page) -> None:
    code = await show_code(owner)
    assert code[4] == "-"
    await say(owner, "said before anybody was there")
    await join(peer, f" {code.lower()} ")
    await state(owner, "joined by peer")
    await heard(peer, "said before anybody was there")
    await say(peer, "hello")
    await say(peer, "again")
    await heard(owner, "hello", "again")
    await owner.click("#complete")
    for page in (owner, peer):
        end = await page.evaluate(ENDED)
        assert end["status"] == "completed"


async def test_what_both_send_at_once_arrives_in_order(owner: Page, peer: Page) -> None:
    await pair(owner, peer)
    for page in (owner, peer):
        await page.evaluate(KEEP_ALL)
    numbers = list(range(1, MANY + 1))
    answers = await asyncio.gather(owner.evaluate(RELAY_MANY, MANY), peer.evaluate(RELAY_MANY, MANY))
    assert answers == [numbers, numbers]
    for page in (owner, peer):
        assert await page.evaluate("heard") == [[n, n] for n in numbers]
        assert await page.evaluate("refusals") == []
        assert await page.evaluate("session.backlog") == 0


async def test_a_handler_that_waits_holds_the_sender_back(owner: Page, peer: Page) -> None:
    sent: list[str] = []
    owner.on("websocket", lambda line: line.on("framesent", lambda text: sent.append(str(text))))
    await pair(owner, peer)
    await peer.evaluate(
        """() => {
            window.heard = [];
            const go = new Promise((resolve) => { window.go = resolve; });
            session.onrelay = async ({ n }) => { heard.push(n); await go; };
        }"""
    )
    await owner.evaluate("() => { window.relays = Array.from({ length: 40 }, (_, n) => session.relay({ n })); }")
    await peer.wait_for_function("() => heard.length === 1")
    # The pong comes after whatever the server had to say to what was sent before.
    await owner.evaluate("() => session.send({ type: 'no.such.type' }).catch(() => {})")
    assert len([text for text in sent if "session.relay" in text]) == 16
    assert await owner.evaluate("session.backlog") == 40
    assert await peer.evaluate("heard") == [0]
    await peer.evaluate("go()")
    assert await owner.evaluate("async () => (await relays.at(-1)).seq") == 40
    assert await peer.evaluate("heard") == list(range(40))


async def test_what_was_relayed_is_handled_before_the_session_is_complete(owner: Page, peer: Page) -> None:
    await pair(owner, peer)
    await peer.evaluate(
        """() => {
            window.order = [];
            session.onrelay = async ({ n }) => { await new Promise((on) => setTimeout(on, 20)); order.push(n); };
            session.addEventListener("closed", () => order.push("closed"));
        }"""
    )
    end = await owner.evaluate(
        """async () => {
            for (const n of [1, 2, 3]) session.relay({ n });
            return await session.complete({ moved: 3 });
        }"""
    )
    assert end["status"] == "completed"
    await peer.evaluate(ENDED)
    assert await peer.evaluate("order") == [1, 2, 3, "closed"]


async def test_an_error_in_the_handler_is_reported_and_the_next_relay_comes(peer: Page, owner: Page) -> None:
    await pair(owner, peer)
    await peer.evaluate(
        """() => {
            window.reported = [];
            window.addEventListener("error", (event) => { reported.push(event.message); event.preventDefault(); });
            session.onrelay = ({ n }) => { if (n === 1) throw new Error("the first one"); };
        }"""
    )
    assert await owner.evaluate(RELAY_MANY, 2) == [1, 2]
    assert await peer.evaluate("reported") == ["Uncaught Error: the first one"]


async def test_a_reason_is_told_to_both(owner: Page, peer: Page) -> None:
    await pair(owner, peer)
    assert (await peer.evaluate("() => session.fail('no room left')"))["reason"] == "no room left"
    assert await owner.evaluate(ENDED) == {"status": "failed", "reason": "no room left"}
    pending = "() => session.relay({}).catch(({ code, reason }) => [code, reason])"
    assert await owner.evaluate(pending) == ["closed", "no room left"]


@pytest.mark.parametrize(("goer", "reason"), [("owner", "owner_gone"), ("peer", "peer_gone")])
@pytest.mark.parametrize("how", ["tab", "link", "close"])
async def test_who_goes_is_missed_within_a_second(owner: Page, peer: Page, goer: str, reason: str, how: str) -> None:
    await pair(owner, peer)
    goes, stays = (owner, peer) if goer == "owner" else (peer, owner)
    started = time.monotonic()
    if how == "tab":
        await goes.close()
    elif how == "link":
        await goes.goto("/done/")
    else:
        await goes.evaluate("session.close()")
        assert await goes.evaluate(ENDED) == {"status": "failed", "reason": reason}
    await state(stays, f"failed: {reason}")
    assert time.monotonic() - started < (2 if how == "link" else 1)


async def test_a_relay_that_was_handled_counts_when_its_receiver_leaves(owner: Page, peer: Page) -> None:
    await pair(owner, peer)
    await peer.evaluate("() => { session.onrelay = () => { setTimeout(() => session.close()); }; }")
    assert await owner.evaluate("() => session.relay({ last: true })") == {"seq": 1}


async def test_a_wrong_code_and_a_used_one(owner: Page, peer: Page, other_context: BrowserContext) -> None:
    code = await show_code(owner)
    await join(peer, "ZZZZ-ZZZZ" if code != "ZZZZ-ZZZZ" else "YYYY-YYYY")
    await state(peer, "failed: invalid_code")
    assert (await peer.evaluate(REFUSED))["code"] == "invalid_code"
    await join(peer, code)
    await state(peer, "connected")
    third = await other_context.new_page()
    await third.goto("/pairing/")
    await join(third, code)
    await state(third, "failed: already_used")


@pytest.mark.own_server
async def test_guessing_is_limited(owner: Page, peer: Page) -> None:
    code = await show_code(owner)
    guess = """async (n) => {
        const code = `GUESS${n.toString().padStart(3, "2")}`.replace(/[01]/g, "9");
        return await syncsessions.pairing.join(code).opened.then(() => "joined", (error) => error.code);
    }"""
    answers = [await peer.evaluate(guess, n) for n in range(200, 212)]
    assert answers == ["invalid_code"] * 10 + ["rate_limited"] * 2
    await join(peer, code)
    await state(peer, "failed: rate_limited")
    assert 0 < (await peer.evaluate(REFUSED))["retry_after"] <= 60


async def test_a_stranger_may_not_open(page: Page) -> None:
    await page.goto("/pairing/")
    await page.click("#open")
    assert (await page.evaluate(REFUSED))["code"] == "not_allowed"


@pytest.mark.parametrize(
    ("fragment", "field", "left"),
    [
        ("#code=a7x9k2m4", "A7X9-K2M4", ""),
        ("#A7X9-K2M4", "A7X9-K2M4", ""),
        ("#code=A7X9%20K2M4", "A7X9-K2M4", ""),
        ("#database", "", "#database"),
        ("#code=A7X9", "", "#code=A7X9"),
        ("#code=%E0%A4", "", "#code=%E0%A4"),
    ],
)
async def test_a_links_code_fills_the_field_only(page: Page, fragment: str, field: str, left: str) -> None:
    sockets: list[str] = []
    page.on("websocket", lambda line: sockets.append(line.url))
    await page.goto(f"/pairing/?from=link{fragment}")
    await expect(page.locator("[name=code]")).to_have_value(field)
    assert page.url.endswith(f"/pairing/?from=link{left}")
    assert sockets == []


async def test_logout_in_another_tab_closes_for_both(owner: Page, peer: Page, context: BrowserContext) -> None:
    await pair(owner, peer)
    tab = await context.new_page()
    await tab.goto("/out/")
    await asyncio.gather(state(owner, "failed: logged_out"), state(peer, "failed: logged_out"))


async def test_a_server_that_is_gone(server: LiveServer, owner: Page, peer: Page) -> None:
    await pair(owner, peer)
    server.kill()
    await asyncio.gather(state(owner, "failed: connection_lost"), state(peer, "failed: connection_lost"))
    await owner.click("#open")
    await state(owner, "failed: unreachable")
    assert (await owner.evaluate(REFUSED))["code"] == "unreachable"


async def test_what_is_too_large_is_refused_alone(owner: Page, peer: Page) -> None:
    await pair(owner, peer)
    await peer.evaluate(KEEP_ALL)
    outcomes = await owner.evaluate(
        """async () => {
            const text = "x".repeat(300_000);
            const relays = [{ n: 1 }, { n: 2, text }, { n: 3 }].map((payload) => session.relay(payload));
            return (await Promise.allSettled(relays)).map(({ value, reason }) => value?.seq ?? reason.code);
        }"""
    )
    assert outcomes == [1, "too_large", 2]
    assert await peer.evaluate("heard") == [[1, 1], [2, 3]]
