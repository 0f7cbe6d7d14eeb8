"""Sync sessions for the tests: in either form, and their parties as sockets through the whole ASGI stack."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from syncsessions.consumers.base import BaseConsumer
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.exceptions import NotFound
from syncsessions.pairing import sync_sessions
from tests.sockets import Frame, Page, new_session


class SyncSessions:
    """`sync_sessions` whose operations are all awaited."""

    def __init__(self, form: str) -> None:
        self.form = form

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if self.form == "async":
            return getattr(sync_sessions, f"a{name}")
        return sync_to_async(getattr(sync_sessions, name))


@pytest.fixture(params=["sync", "async"])
def sessions(request: Any) -> SyncSessions:
    """The operations in each form."""
    return SyncSessions(request.param)


@database_sync_to_async
def new_user() -> User:
    return User.objects.create_user(f"user-{secrets.token_hex(6)}", password="only in tests")


@asynccontextmanager
async def owner_page(
    consumer: type[BaseConsumer] = SyncSessionConsumer, user: User | None = None
) -> AsyncIterator[Page]:
    """The socket of somebody who is logged in."""
    async with Page(await new_session(user or await new_user()), consumer) as page:
        yield page


@asynccontextmanager
async def peer_page(
    consumer: type[BaseConsumer] = SyncSessionConsumer, address: str | None = None
) -> AsyncIterator[Page]:
    """The socket of somebody without a session, at an address that no other test has."""
    host = address or f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"
    async with Page(None, consumer, client=(host, 4711)) as page:
        yield page


async def opened(page: Page, direction: str = "send", **more: Any) -> Frame:
    """The session that this page has opened, as its frame shows it."""
    answer = await page.ask(type="session.open", direction=direction, **more)
    assert answer["type"] == "session.opened", answer
    session: Frame = answer["session"]
    return session


async def joined(owner: Page, peer: Page, **more: Any) -> str:
    """Open, join, and have both told; the code."""
    code: str = (await opened(owner))["code"]
    answer = await peer.ask(type="session.join", code=code, **more)
    assert answer["type"] == "session.joined", answer
    await owner.hear("session.peer_joined")
    return code


async def gone(code: str) -> bool:
    try:
        await sync_sessions.aget(code)
    except NotFound:
        return True
    return False
