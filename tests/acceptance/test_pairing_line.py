"""What the page's end of a sync session makes of a line that refuses, goes dumb or cannot be had."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, Page, WebSocketRoute

from syncsessions import frames
from syncsessions.exceptions import RateLimited

Frame = dict[str, Any]
OPENED = {"direction": "send", "status": "connected", "code": "A7X9K2M4", "sender_info": None, "receiver_info": None}
OPEN = "() => { window.session = syncsessions.pairing.open({ direction: 'send' }); }"
ENDED = "async () => await session.closed"


class Server:
    """Stands for the consumer: opens a session that has a peer already. `relay` says what to do with a relay."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.relay: Callable[[Frame], None] = lambda frame: None
        self.pongs = True

    def connected(self, line: WebSocketRoute) -> None:
        self.line = line
        line.on_message(self._hear)

    def say(self, **frame: Any) -> None:
        self.line.send(json.dumps(frame))

    def _hear(self, text: str | bytes) -> None:
        frame = json.loads(text)
        self.frames.append(frame)
        if frame["type"] == "session.open":
            self.say(type="session.opened", ref=frame["ref"], session=OPENED)
        elif frame["type"] == "ping" and self.pongs:
            self.say(type="pong", ref=frame["ref"])
        elif frame["type"] == "session.relay":
            self.relay(frame)
        elif frame["type"] == "page.ask":
            self.say(type="page.answer", ref=frame["ref"], to=frame["question"])


@pytest_asyncio.fixture(loop_scope="session")
async def line(context: BrowserContext, page: Page) -> Server:
    made = Server()
    await context.route_web_socket("**/ws/sync/", made.connected)
    await page.goto("/pairing/")
    return made


RELAY_SOME = """async (length) => {
    const relays = Array.from({ length }, (_, n) => session.relay({ n: n + 1 }));
    return (await Promise.all(relays)).map(({ seq }) => seq);
}"""
TRIP = 0.08  # seconds from the page to a server that is far away
HUNDRED = list(range(1, 101))


async def test_a_smaller_window_is_filled_in_order(line: Server, page: Page) -> None:
    taken: list[int] = []
    relayed = refused = 0

    def relay(frame: Frame) -> None:
        nonlocal relayed, refused
        if len(taken) - relayed < 4:
            taken.append(frame["payload"]["n"])
        else:
            refused += 1
            line.say(type="error", ref=frame["ref"], code="window_full", message="")
        if len(taken) + refused >= 16 and len(taken) % 4 == 0:
            relayed = len(taken)
            line.say(type="session.relayed", seq=relayed)

    line.relay = relay
    await page.evaluate(OPEN)
    assert await page.evaluate(RELAY_SOME, 100) == taken == HUNDRED
    assert refused == 12  # of the first burst: the window is known then


async def test_what_is_refused_for_its_rate_waits_and_keeps_its_place(line: Server, page: Page) -> None:
    taken: list[int] = []
    refused: dict[int, float] = {}
    waited: list[float] = []

    def relay(frame: Frame) -> None:
        n = frame["payload"]["n"]
        if n >= 30 and 30 not in taken and not (n == 30 and 30 in refused):
            refused[n] = time.monotonic()
            line.say(type="error", ref=frame["ref"], code="rate_limited", message="", retry_after=0.3)
            return
        taken.append(n)
        line.say(type="session.relayed", seq=len(taken))
        if n == 30:
            waited.append(time.monotonic() - refused[30])

    line.relay = relay
    await page.evaluate(OPEN)
    assert await page.evaluate(RELAY_SOME, 100) == taken == HUNDRED
    assert 1 <= len(refused) <= 16
    assert waited[0] >= 0.3


async def test_nothing_new_is_sent_before_what_was_refused(line: Server, page: Page) -> None:
    """What was under way at a refusal is the server's to refuse; the page sends nothing more, however late it hears."""
    taken: list[int] = []
    inbox: asyncio.Queue[Frame] = asyncio.Queue()

    async def serve() -> None:
        refusing = {5, 8}
        while len(taken) < 100:
            frame = await inbox.get()
            n = frame["payload"]["n"]
            if n in refusing:
                refusing.remove(n)
                await asyncio.sleep(0.15)
                line.say(type="error", ref=frame["ref"], code="rate_limited", message="", retry_after=0.001)
            else:
                taken.append(n)
                line.say(type="session.relayed", seq=len(taken))

    line.relay = inbox.put_nowait
    serving = asyncio.create_task(serve())
    await page.evaluate(OPEN)
    assert sorted(await page.evaluate(RELAY_SOME, 100)) == HUNDRED
    await serving
    late = [5, 8]
    under_way = taken.index(5) + 2
    assert taken == [n for n in range(1, under_way + 1) if n not in late] + late + list(range(under_way + 1, 101))


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (40, 16)])
async def test_the_order_is_kept_over_a_long_line_to_a_slower_server(
    line: Server, page: Page, rate: float, burst: float
) -> None:
    taken: list[int] = []
    refused: list[int] = []
    allowance, turn = frames.Allowance(rate, burst, time.monotonic()), frames.Turn()
    loop = asyncio.get_running_loop()

    def arrive(frame: Frame) -> None:
        n, now = frame["payload"]["n"], time.monotonic()
        wait = turn.wait(frame, now) or allowance.take(now)
        if wait:
            turn.refused(frame, now)
            refused.append(n)
            loop.call_later(TRIP, lambda: line.say(**frames.error_frame(RateLimited(retry_after=wait), frame)))
        else:
            taken.append(n)
            seq = len(taken)
            loop.call_later(TRIP, lambda: line.say(type="session.relayed", seq=seq))

    line.relay = lambda frame: loop.call_later(TRIP, arrive, frame)
    await page.evaluate(OPEN)
    began = time.monotonic()
    assert await page.evaluate(RELAY_SOME, 50) == taken == list(range(1, 51))
    assert 0 < len(refused) < 150
    assert time.monotonic() - began < 50 / rate + 3


async def test_a_payload_is_relayed_as_it_was(line: Server, page: Page) -> None:
    line.relay = lambda frame: line.say(type="session.relayed", seq=1)
    await page.evaluate(OPEN)
    await page.evaluate(
        "async () => { const payload = { n: 1 }; const relay = session.relay(payload); payload.n = 2; await relay; }"
    )
    assert [frame["payload"] for frame in line.frames if frame["type"] == "session.relay"] == [{"n": 1}]


async def test_relays_are_acknowledged_by_the_half_window_and_before_any_frame(line: Server, page: Page) -> None:
    await page.clock.install(time=0)
    await page.goto("/pairing/")
    await page.clock.pause_at(60_000)  # in a tab that is not seen, timers come late
    await page.evaluate(OPEN)
    await page.evaluate(
        """async () => {
            await session.opened;
            session.onrelay = () => {};
            window.news = new Promise((resolve) => session.addEventListener("message", resolve));
        }"""
    )
    for seq in range(1, 20):
        line.say(type="session.relay", payload={"n": seq}, seq=seq)
    line.say(type="page.news")
    await page.evaluate("async () => { await news; }")
    await page.evaluate("() => session.send({ type: 'page.ask', question: 1 })")
    told = [frame.get("seq", frame["type"]) for frame in line.frames]
    assert told == ["session.open", 8, 16, 19, "page.ask"]


async def test_a_pages_own_frames_pass(line: Server, page: Page) -> None:
    await page.evaluate(OPEN)
    await page.evaluate(
        """() => {
            window.messages = [];
            session.addEventListener("message", ({ detail }) => messages.push(detail));
        }"""
    )
    asked = await page.evaluate("() => session.send({ type: 'page.ask', question: 7, ref: 'the page has none' })")
    assert (asked["type"], asked["to"]) == ("page.answer", 7)
    line.say(type="page.news", n=1)
    line.say(type="session.news", n=2)
    line.say(type="page.news", n=3)
    await page.wait_for_function("() => messages.length === 2")
    assert await page.evaluate("messages") == [{"type": "page.news", "n": 1}, {"type": "page.news", "n": 3}]


async def test_another_consumers_path(line: Server, context: BrowserContext, page: Page) -> None:
    handover = Server()
    await context.route_web_socket("**/ws/handover/", handover.connected)
    await page.goto("/pairing/")
    await page.evaluate("() => syncsessions.pairing.open({ direction: 'send', path: 'handover/' }).opened")
    assert line.frames == []
    assert [frame["type"] for frame in handover.frames] == ["session.open"]


async def test_a_line_that_goes_dumb_ends_the_session(line: Server, page: Page) -> None:
    await page.clock.install()
    await page.goto("/pairing/")
    await page.evaluate(OPEN)
    await page.evaluate("async () => await session.opened")
    await page.clock.run_for(26_000)
    assert [frame["type"] for frame in line.frames] == ["session.open", "ping"]
    line.pongs = False
    await page.clock.run_for(31_000)
    assert await page.evaluate(ENDED) == {"status": "failed", "reason": "connection_lost"}


async def test_a_page_that_stood_still_hears_what_has_come_before_it_gives_up(line: Server, page: Page) -> None:
    await page.clock.install()
    await page.goto("/pairing/")
    await page.evaluate(OPEN)
    await page.evaluate("async () => await session.opened")
    line.pongs = False
    await page.clock.run_for(26_000)
    await page.evaluate("() => session.addEventListener('message', () => { window.heard = true; })")
    ping = line.frames[-1]
    await page.clock.fast_forward(10_000)  # as a dialog does, or a lid: timers that are due run at once
    line.say(type="pong", ref=ping["ref"])
    line.say(type="page.news")
    await page.wait_for_function("() => window.heard")
    await page.clock.run_for(6_000)
    assert await page.evaluate("session.status") == "connected"


@pytest.mark.parametrize(
    ("close_code", "reason"), [(4401, "logged_out"), (1011, "connection_lost"), (1006, "connection_lost")]
)
async def test_a_line_that_closes_ends_the_session(line: Server, page: Page, close_code: int, reason: str) -> None:
    await page.evaluate(OPEN)
    pending = page.evaluate("() => session.relay({}).catch((error) => [error.code, error.reason])")
    await page.evaluate("async () => await session.opened")
    await line.line.close(code=close_code if close_code != 1006 else None)
    assert await page.evaluate(ENDED) == {"status": "failed", "reason": reason}
    assert await pending == ["closed", reason]


async def test_a_line_that_never_answers_is_unreachable(context: BrowserContext, page: Page) -> None:
    await context.route_web_socket("**/ws/sync/", lambda route: route.on_message(lambda text: None))
    await page.clock.install()
    await page.goto("/pairing/")
    await page.evaluate(OPEN)
    await page.clock.run_for(6_000)
    refused = "async () => await session.opened.catch((error) => [error instanceof Error, error.code])"
    assert await page.evaluate(refused) == [True, "unreachable"]
