"""Random frames and requests: an answer to each, never an exception, never a socket that gives up."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import include, path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from syncsessions import frames
from syncsessions.exceptions import FrameError
from syncsessions.stash.browser import Browser
from tests.live import LiveServer
from tests.sockets import MIXED, MOVED, NOTE, PERSON, ServerStash

urlpatterns = [path("syncsessions/", include("syncsessions.urls"))]
ANSWERS = {"stash.saved", "stash.changed", "stash.cleared", "stash.subscribed", "pong", "error"}
CODES = {
    "bad_frame",
    "unknown_type",
    "too_large",
    "not_allowed",
    "invalid_value",
    "conflict",
    "rate_limited",
}
TYPES = ["stash.save", "stash.subscribe", "stash.save", "stash.clear", "stash.save", "ping", "nonsense", ""]
VIEWS = [NOTE, MIXED, NOTE, MIXED, NOTE, MOVED, PERSON, ServerStash.view, "unheard.of", ""]
KEYS = ["type", "ref", "view", "vsn", "tab", "changes", "base", "views", "fresh", "life", "theme", "draft", "secret"]
ODD = [
    None, True, False, 0, -1, 1, 2, 2**31, 10**400, 1.5, -0.0, 1e308, [], {}, [[]], {"": ""},
    {"\ud800": 1}, {"a\x00": 1}, {"life": None}, {"life": "\ud800"}, {"life": "gone", "revision": 1},
    "", "x", "ü", "\x00", "\ud800", "x" * 300, "x" * 70_000, '"', "'", "\\", "%s", "$.a", "{}", "\u202e", "😀",
]  # fmt: skip

pytestmark = [
    pytest.mark.parametrize("database", ["default"], indirect=True),
    pytest.mark.usefixtures("database"),
]


def value_of(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if kind < 0.6 or depth > 4:
        return copy.deepcopy(chance.choice(ODD))
    if kind < 0.8:
        return [value_of(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {key_of(chance): value_of(chance, depth + 1) for _ in range(chance.randrange(4))}


def key_of(chance: random.Random) -> str:
    return chance.choice(KEYS) if chance.random() < 0.8 else "".join(chance.choices(string.printable, k=3))


def valid_frame(chance: random.Random) -> dict[str, Any]:
    entry = {"view": chance.choice(VIEWS), "vsn": chance.choice([1, 2, 3]), "tab": chance.choice(["", "t", "u"])}
    kind = chance.choice(TYPES)
    frame: dict[str, Any] = {"type": kind, "ref": chance.randrange(100), **entry}
    if kind == "stash.subscribe":
        frame["views"] = [{**entry, "fresh": chance.random() < 0.2} for _ in range(chance.randrange(3))]
    elif kind == "stash.save":
        frame["changes"] = {chance.choice(["theme", "draft", "secret", "a"]): value_of(chance)}
    if chance.random() < 0.2:
        frame["base"] = chance.choice([{"life": "gone", "revision": 1}, {"life": None}, {}, None])
    return frame


def mutated(chance: random.Random) -> str:
    """A valid frame, with something in it replaced, added or taken away; sometimes its text is broken too."""
    frame = valid_frame(chance)
    for _ in range(chance.randrange(4)):
        target = frame
        if isinstance(frame.get("views"), list) and frame["views"] and chance.random() < 0.5:
            target = frame["views"][0] if isinstance(frame["views"][0], dict) else frame
        if chance.random() < 0.3:
            target.pop(key_of(chance), None)
        else:
            target[key_of(chance)] = value_of(chance)
    text = json.dumps(frame)
    if chance.random() < 0.1:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(['"', "{", "]", "\x00", "\\u0000", "", "NaN", "1e999", "é"]) + text[at + 1 :]
    return text


def judge(answers: list[dict[str, Any]]) -> None:
    assert answers
    for answer in answers:
        assert answer["type"] in ANSWERS
        if answer["type"] == "error":
            assert answer["code"] in CODES, answer
            assert answer["message"]
        assert "secret" not in (answer.get("data") or {}) or answer["view"] == NOTE
    json.dumps(answers).encode()


def handle(browser: Browser, text: str) -> list[str]:
    """The types and codes that the text is answered with."""
    try:
        answers = browser.answer(frames.parse(text, frames.FRAME_LIMIT))
    except FrameError as error:
        answers = [frames.error_frame(error)]
    judge(answers)
    return [answer[name] for answer in answers for name in ("type", "code") if name in answer]


@pytest.fixture
def quiet(caplog: Any) -> Iterator[Callable[[], None]]:
    def check() -> None:
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text

    yield check
    check()


@pytest.fixture
def random_() -> random.Random:
    seed = random.SystemRandom().randrange(2**32)
    print(f"the seed of this run: {seed}")
    return random.Random(seed)


def test_fifteen_thousand_mutated_frames(random_: random.Random, session_id: str, quiet: Any) -> None:
    browser = Browser.of_scope({"session_id": session_id})
    seen: Counter[str] = Counter()
    for _ in range(15_000):
        seen.update(handle(browser, mutated(random_)))
    assert min(seen[name] for name in ANSWERS - {"pong"}) > 100, seen
    assert min(seen[code] for code in CODES - {"too_large", "rate_limited"}) > 10, seen


def test_six_thousand_frames_of_nonsense(random_: random.Random, session_id: str, quiet: Any) -> None:
    browser = Browser.of_scope({"session_id": session_id})
    for _ in range(6_000):
        frame = {key_of(random_): value_of(random_) for _ in range(random_.randrange(6))}
        handle(browser, json.dumps({"type": random_.choice(TYPES), **frame}))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
named = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={
        "view": st.sampled_from(VIEWS) | values,
        "vsn": st.integers(-1, 3) | values,
        "tab": st.sampled_from(["", "t"]) | values,
        "changes": st.dictionaries(st.sampled_from(["theme", "draft", "a"]), values, max_size=3) | values,
        "base": st.fixed_dictionaries({}, optional={"life": values, "revision": values}) | values,
        "views": st.lists(st.fixed_dictionaries({"view": st.sampled_from(VIEWS)}, optional={"tab": values})) | values,
        "ref": values,
    },
)


def test_what_hypothesis_finds(session_id: str, quiet: Any) -> None:
    browser = Browser.of_scope({"session_id": session_id})

    @settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(named)
    def send(frame: dict[str, Any]) -> None:
        handle(browser, json.dumps(frame))
        judge(browser.answer(frame))

    send()


def test_two_thousand_requests(random_: random.Random, quiet: Any, settings: Any, caplog: Any) -> None:
    """What is logged of a 4xx is Django's own word on it, at WARNING."""
    settings.ROOT_URLCONF = __name__
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100_000
    client = Client(raise_request_exception=True)
    content_types = [
        "application/json", "text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "multipart/form-data", "multipart/form-data; boundary=é", "application/json; charset=utf-16",
        "x/y; charset=\x01", "/",
    ]  # fmt: skip
    url = "/syncsessions/stash/"
    for _ in range(1_500):
        text = mutated(random_)
        body = random_.choice(
            [
                text.encode(),
                random_.randbytes(50),
                b"\xff" + text.encode(),
                text.encode("utf-16"),
                b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n" + text.encode() + b"\r\n--x--",
                b"a=" + text.encode(),
                b"{" * random_.randrange(3000),
            ]
        )
        answer = client.generic("POST", url, body, random_.choice(content_types), secure=random_.random() < 0.1)
        assert answer.status_code in (200, 400, 403, 409, 413), answer.content
        if answer.headers["Content-Type"] == "application/json":
            judge(answer.json().get("frames", [answer.json()]))
    for _ in range(500):
        query = {key_of(random_): str(value_of(random_))[:1000].encode(errors="replace") for _ in range(4)}
        answer = client.get(url, {**query, "view": random_.choice(VIEWS)} if random_.random() < 0.5 else query)
        assert answer.status_code == 200
        judge(answer.json().get("frames") or [{"type": "pong"}])
    for size in (99_999, 100_001, 262_144, 262_145, 3_000_000):
        for content_type in content_types:
            assert client.generic("POST", url, b"x" * size, content_type).status_code in (400, 413)
    SessionStore.get_model_class().objects.all().delete()


async def test_two_thousand_frames_through_a_real_daphne(random_: random.Random) -> None:
    with LiveServer("daphne") as server:
        cookies = server.new_session()
        answered = await asyncio.gather(*[_flood(server, cookies, random_, 80) for _ in range(25)])
        assert sum(answered) == 2_000
        assert "Traceback" not in server.log
        assert "ERROR" not in server.log


async def _flood(server: LiveServer, cookie: str, chance: random.Random, count: int) -> int:
    """Within a burst: `count` frames of text or bytes, then a ping that must be answered."""
    headers = {"Cookie": cookie, "Origin": server.url}
    async with connect(f"{server.ws_url}/ws/stash/", additional_headers=headers, max_size=None) as socket:
        for _ in range(count):
            text = mutated(chance)
            await socket.send(text.encode() if chance.random() < 0.05 else text)
        await socket.send('{"type": "ping", "ref": "the last one"}')
        while True:
            answer = json.loads(await asyncio.wait_for(socket.recv(), 30))
            judge([answer])
            if answer.get("ref") == "the last one":
                return count
