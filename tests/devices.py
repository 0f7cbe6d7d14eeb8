"""Two devices for the tests of the handover: each a browser session and its socket."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.contrib.auth.models import User

from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.handover import HandoverConsumer
from tests.sockets import NOTE, Frame, Page, in_thread, new_session, slices, stash_of

FIREFOX = b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = b"Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"


class Device:
    """A browser: its session, its socket."""

    def __init__(self, key: str, page: Page) -> None:
        self.key, self.page = key, page
        self.ask, self.hear, self.say = page.ask, page.hear, page.say

    async def stash(self, view: str, values: Frame, **more: Any) -> None:
        await in_thread(lambda: stash_of(self.key).merge(view, values, **more))

    async def data(self, view: str = NOTE) -> Frame:
        found: Frame = await in_thread(lambda: stash_of(self.key).get_view(view))
        return found

    async def rows(self, view: str = NOTE) -> Frame:
        found: Frame = await in_thread(lambda: slices(self.key, view))
        return found


@asynccontextmanager
async def device(
    agent: bytes = FIREFOX,
    user: User | None = None,
    key: str | None = None,
    consumer: type[SyncSessionConsumer] = HandoverConsumer,
    address: str | None = None,
) -> AsyncIterator[Device]:
    key = key or await new_session(user)
    host = address or f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
    async with Page(key, consumer, ((b"user-agent", agent),), (host, 4711)) as page:
        yield Device(key, page)


@asynccontextmanager
async def two(**more: Any) -> AsyncIterator[tuple[Device, Device]]:
    """A laptop with a note, and a phone."""
    async with device(**more) as laptop, device(PHONE, **more) as phone:
        await laptop.stash(NOTE, {"text": "from the laptop", "size": 3})
        yield laptop, phone


async def opened(owner: Device) -> str:
    answer = await owner.ask(type="session.open")
    assert answer["type"] == "session.opened", answer
    code: str = answer["session"]["code"]
    return code


async def meet(owner: Device, peer: Device) -> str:
    """Open, join, both told; what the owner confirms with."""
    code = await opened(owner)
    assert (await peer.ask(type="session.join", code=code))["type"] == "session.joined"
    await owner.hear("session.peer_joined")
    joiner: str = (await owner.hear("handover.joined"))["joiner"]
    return joiner


async def confirm(owner: Device, joiner: Any) -> Frame:
    return await owner.ask(type="handover.confirm", joiner=joiner)


async def moved(owner: Device, peer: Device) -> Frame:
    """Wait for a handover to end well on both sides; its result."""
    await peer.hear("handover.copied")
    ends = [await each.hear("session.closed") for each in (owner, peer)]
    assert ends[0] == ends[1]
    assert ends[0]["status"] == "completed"
    result: Frame = ends[0]["result"]
    return result
