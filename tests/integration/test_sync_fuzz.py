"""Random frames at `ws/sync/`, in and out of sessions: an answer to each that is wrong, never an exception."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from syncsessions.codes import ALPHABET
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.frames import FRAME_LIMIT
from syncsessions.pairing import sync_sessions
from tests.integration.test_stash_fuzz import ODD, quiet, random_, value_of  # noqa: F401 - fixtures
from tests.live import LiveServer
from tests.live_parties import Party, party
from tests.parties import joined, new_user, opened, owner_page, peer_page
from tests.sockets import DEADLINE, Page

pytestmark = pytest.mark.django_db(transaction=True)

FRAMES = 100_000
TOGETHER = 250
LIVE_FRAMES = 4_000
TYPES = [
    *("session.open", "session.join", "session.relay", "session.ack", "session.complete", "session.fail", "ping"),
    *("session.opened", "session.closed", "pairing.packet", "pairing.look", "alarm", "beat", "error", "x", ""),
]
LASTING = ["session.relay", "session.ack", "ping", "session.open", "session.join"]
"""Types that end no session."""
FIELDS = ["direction", "info", "code", "payload", "seq", "result", "reason", "ref", "type", "life", "status", "x", ""]
ANSWERS = {
    *("session.opened", "session.joined", "session.peer_joined", "session.relay", "session.relayed"),
    *("session.closed", "pong", "error"),
}
CODES = {
    *("bad_frame", "unknown_type", "too_large", "not_in_session", "already_open", "window_full", "rate_limited"),
    *("invalid_code", "already_used", "invalid_value", "invalid_transition", "not_allowed", "session_limit_reached"),
}
OWN = {
    "session.open": ["direction", "info"],
    "session.join": ["code", "info"],
    "session.relay": ["payload"],
    "session.ack": ["seq"],
    "session.complete": ["result"],
    "session.fail": ["reason"],
}
SITUATIONS = ["nobody", "user", "owner alone", "owner", "peer", "owner", "peer"]
LIKELY: dict[str, list[Any]] = {
    "direction": ["send", "receive", "both"],
    "info": [{}, {"device": "phone"}, None],
    "code": ["22222222", "a7x9-k2m4", "", ALPHABET],
    "payload": [{}, "text", None, [1]],
    "seq": [1, 2, 16, 17, 0, -1, 2**53, True],
    "result": [None, {}],
    "reason": ["done", "x" * 201],
    "ref": [1, "r", ""],
}
OVER = json.dumps({"type": "session.relay", "payload": ""})[:-2]
OVER += "x" * (FRAME_LIMIT - len(OVER) - 2) + '"}'
HUGE = [OVER, OVER[:-2] + 'x"}', OVER[:-3] + 'ü"}', "x" * (FRAME_LIMIT + 1), "[" * FRAME_LIMIT, OVER * 4]


class UnlimitedConsumer(SyncSessionConsumer):
    frame_rate: ClassVar[float] = 1e9
    frame_burst: ClassVar[float] = 1e9


def known(chance: random.Random, *, may_end: bool) -> str:
    """A frame of a known type with random fields; sometimes its text is broken too."""
    kind = chance.choice(TYPES if may_end else LASTING)
    frame: dict[str, Any] = {"type": kind, **{name: chance.choice(LIKELY[name]) for name in OWN.get(kind, ())}}
    for name in chance.sample(FIELDS, chance.choice([0, 0, 1, 2, 4])):
        if name != "type" or (may_end and chance.random() < 0.2):
            likely = LIKELY.get(name, ODD)
            frame[name] = chance.choice(likely) if chance.random() < 0.5 else value_of(chance)
    text = json.dumps(frame)
    if chance.random() < 0.1:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(['"', "{", "\\u0000", "\\ud800", "NaN", "1e999", "", "é"]) + text[at + 1 :]
    if chance.random() < 0.05:  # keys that come twice
        text = text[:-1] + chance.choice([', "type": "ping"}', ', "type": 1}', ', "ref": [], "ref": 1}'])
    return text


def nested(chance: random.Random) -> str:
    depth = chance.choice([10, 100, 900, 1_000, 1_100, 5_000, 50_000])
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}"), ("[{}, [", "]]")])
    value = opening * depth + chance.choice(["0", "{}", ""]) + closing * chance.choice([depth, 0])
    frame = '{"type": "session.relay", "payload": %s}', '{"type": "session.open", "info": {"a": %s}}', "%s"
    return chance.choice(frame) % value


def message(chance: random.Random, *, may_end: bool) -> str | bytes:
    kind = chance.random()
    if kind < 0.75:
        return known(chance, may_end=may_end)
    if kind < 0.83:
        return chance.randbytes(chance.randrange(200))
    if kind < 0.91:
        return chance.randbytes(chance.randrange(200)).decode(chance.choice(["latin-1", "utf-16", "utf-8"]), "replace")
    if kind < 0.985:
        return json.dumps(value_of(chance))
    if kind < 0.998:
        return nested(chance)
    return chance.choice(HUGE)


def judge(answer: dict[str, Any], seen: Counter[str]) -> None:
    assert answer["type"] in ANSWERS, answer
    seen[answer["type"]] += 1
    if answer["type"] == "error":
        assert answer["code"] in CODES, answer
        assert answer["message"]
        seen[answer["code"]] += 1


async def flood(page: Page, messages: list[str | bytes], seen: Counter[str]) -> None:
    """Send them all, then a ping, and judge all that comes until its answer."""
    for each in messages:
        kind = "bytes" if isinstance(each, bytes) else "text"
        await page.socket.send_input({"type": "websocket.receive", kind: each})
    await settle(page, seen)


async def settle(page: Page, seen: Counter[str]) -> None:
    await page.say(type="ping", ref="the last one")
    while True:
        output = await page.socket.receive_output(DEADLINE)
        assert output["type"] == "websocket.send", output
        output["text"].encode()
        answer = json.loads(output["text"])
        judge(answer, seen)
        if answer.get("ref") == "the last one":
            return


@asynccontextmanager
async def situation(name: str, user: Any) -> AsyncIterator[tuple[Page, Page | None]]:
    """A socket in this situation, and the other party's if there is one."""
    async with owner_page(UnlimitedConsumer, user) as owner, peer_page(UnlimitedConsumer) as peer:
        if name == "owner alone":
            await opened(owner)
        elif name in ("owner", "peer"):
            await joined(owner, peer)
        yield {"nobody": (peer, None), "peer": (peer, owner), "owner": (owner, peer)}.get(name, (owner, None))


@pytest.mark.parametrize("part", range(2))
async def test_fuzzed_frames(part: int, random_: random.Random, quiet: Any, settings: Any) -> None:  # noqa: F811
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_GUESS_RATE": "20/s", "PAIRING_MAX_PER_USER": 3}
    user, seen = await new_user(), Counter[str]()
    for number in range(FRAMES // 2 // TOGETHER):
        async with situation(SITUATIONS[number % len(SITUATIONS)], user) as (page, other):
            may_end = number % 2 == 0
            if other is not None:
                for payload in range(3):
                    await other.say(type="session.relay", payload=payload)
                await settle(other, seen)
            await flood(page, [message(random_, may_end=may_end) for _ in range(TOGETHER)], seen)
            if other is not None:
                await settle(other, seen)
    assert min(seen[name] for name in ANSWERS - {"session.joined", "session.peer_joined"}) > 10, seen
    assert min(seen[code] for code in CODES - {"already_used", "session_limit_reached"}) > 10, seen
    assert await sync_sessions.acount_active() == 0


async def test_frames_through_a_real_daphne(random_: random.Random) -> None:  # noqa: F811
    env = {"DJANGO_SETTINGS_MODULE": "tests.live_settings"}
    with LiveServer("daphne", env=env, application="tests.live_asgi:application") as server:
        cookie = await asyncio.to_thread(server.log_in)
        seen: Counter[str] = Counter()
        rounds = LIVE_FRAMES // 100
        async with party(server, cookie) as steady:
            for start in range(0, rounds, 10):
                await asyncio.gather(*(_live(server, cookie, random_, seen) for _ in range(min(10, rounds - start))))
            assert (await steady.ask(type="ping"))["type"] == "pong"
        assert min(seen[code] for code in ("bad_frame", "unknown_type", "not_in_session")) > 10, seen
        assert "Traceback" not in server.log
        assert "ERROR" not in server.log


async def _live(server: LiveServer, cookie: str, chance: random.Random, seen: Counter[str]) -> None:
    async with party(server, cookie) as page:
        for _ in range(100):
            each = message(chance, may_end=True)
            await page.socket.send(each.encode(errors="replace").decode() if isinstance(each, str) else each)
        await page.say(type="ping", ref="the last one")
        while (answer := await _next(page)).get("ref") != "the last one":
            judge(answer, seen)


async def _next(page: Party) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(page.socket.recv(), DEADLINE))
    return answer
