"""Who tries codes is stopped, and nobody else: by address, whatever the client says of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from typing import Any

import pytest

from tests.live import LiveServer
from tests.live_parties import Party, joined, opened, party
from tests.parties import opened as opened_page
from tests.parties import owner_page, peer_page

RATE = 10
SERVERS = pytest.mark.parametrize(
    ("name", "options"), [("daphne", ()), ("uvicorn", ("--no-proxy-headers",))], ids=["daphne", "uvicorn"]
)
ENV = {"DJANGO_SETTINGS_MODULE": "tests.live_settings"}
ANOTHER = {"local_addr": ("127.0.0.2", 0)}
WRONG = "22222222"


async def guess(server: LiveServer, forwarded: str, guesses: int = 1) -> Counter[str]:
    """What a new socket with this X-Forwarded-For is answered; each refusal says when to come again."""
    codes: Counter[str] = Counter()
    async with party(server, headers=[("X-Forwarded-For", forwarded)]) as guesser:
        for _ in range(guesses):
            answer = await guesser.ask(type="session.join", code=WRONG)
            codes[answer["code"]] += 1
            if answer["code"] == "rate_limited":
                assert 0 < answer["retry_after"] <= 60
    return codes


def random_address() -> str:
    return f"198.51.100.{secrets.randbelow(250)}"


@SERVERS
async def test_a_guesser_is_stopped_whatever_it_claims_to_be(name: Any, options: Any) -> None:
    with LiveServer(name, env=ENV, options=options) as server:
        cookie = await asyncio.to_thread(server.log_in)
        codes: Counter[str] = Counter()
        for _ in range(RATE + 5):
            codes += await guess(server, random_address())
        assert codes == {"invalid_code": RATE, "rate_limited": 5}
        async with party(server, cookie) as owner, party(server) as same, party(server, **ANOTHER) as another:
            right = await opened(owner)
            assert (await same.ask(type="session.join", code=right))["code"] == "rate_limited"
            stop = asyncio.Event()
            guessing = [asyncio.create_task(_keep_guessing(server, stop)) for _ in range(3)]
            assert (await another.ask(type="session.join", code=right))["type"] == "session.joined"
            await owner.hear("session.peer_joined")
            for _ in range(10):
                await _completed(owner, another)
                await joined(owner, another)
            stop.set()
            assert min(await asyncio.gather(*guessing)) > 0
        assert WRONG not in server.log


async def _keep_guessing(server: LiveServer, stop: asyncio.Event) -> int:
    """As fast as it is answered, with one address after another; how often it was refused."""
    refused = 0
    while not stop.is_set():
        codes = await guess(server, random_address(), 50)
        assert codes == {"rate_limited": 50}
        refused += codes.total()
    return refused


async def _completed(owner: Party, peer: Party) -> None:
    await peer.ask(type="session.complete")
    await owner.hear("session.closed")


@SERVERS
async def test_behind_a_trusted_proxy_each_real_client_has_a_limit_of_its_own(name: Any, options: Any) -> None:
    env = {**ENV, "TEST_LIVE_SYNCSESSIONS": '{"TRUSTED_PROXIES": ["127.0.0.1"]}'}
    with LiveServer(name, env=env, options=options) as server:
        assert await guess(server, "203.0.113.1", RATE + 1) == {"invalid_code": RATE, "rate_limited": 1}
        for claimed in ("203.0.113.1", f"{random_address()}, 203.0.113.1", "unix, 10.0.0.1,203.0.113.1:4711"):
            assert await guess(server, claimed) == {"rate_limited": 1}
        assert await guess(server, "203.0.113.2", RATE + 1) == {"invalid_code": RATE, "rate_limited": 1}
        async with party(server, await asyncio.to_thread(server.log_in)) as owner:
            code = await opened(owner)
            async with party(server, headers=[("X-Forwarded-For", "203.0.113.3")]) as honest:
                assert (await honest.ask(type="session.join", code=code))["type"] == "session.joined"


@pytest.mark.django_db(transaction=True)
async def test_the_addresses_of_one_ipv6_network_share_a_limit(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS}
    async with owner_page() as owner:
        code = (await opened_page(owner))["code"]
        for number in range(RATE):
            async with peer_page(address=f"2001:db8:1:1:{secrets.token_hex(2)}::{number:x}") as guesser:
                assert (await guesser.ask(type="session.join", code=WRONG))["code"] == "invalid_code"
        async with peer_page(address="2001:db8:1:1:ffff:ffff:ffff:ffff") as guesser:
            assert (await guesser.ask(type="session.join", code=code))["code"] == "rate_limited"
        async with peer_page(address="2001:db8:1:2::") as neighbour:
            assert (await neighbour.ask(type="session.join", code=code))["type"] == "session.joined"
