"""Staff for the tests of the admin's live pages: users with some of the permissions, and stores in turn."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from syncsessions.processes import overview
from syncsessions.stores import stores
from tests.stores import configuration

SYNC_SESSIONS = ("view_activesyncsession", "see_code_activesyncsession", "end_activesyncsession")
VIEW, SEE_CODE, END = SYNC_SESSIONS
PROCESSES = ("view_activeprocess", "touch_activeprocess", "terminate_activeprocess")
VIEW_PROCESSES, TOUCH, TERMINATE = PROCESSES
GONE = {
    "BACKEND": "syncsessions.stores.redis.RedisStore",
    "LOCATION": "redis://127.0.0.1:1/0",
}
"""A store that does not answer: nobody listens there."""


def member(*codenames: str, **fields: Any) -> User:
    """A user, of the staff where nothing else is said, with these permissions."""
    user = User.objects.create_user(f"staff-{secrets.token_hex(6)}", **{"is_staff": True, **fields})
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def sync_url(page: str = "changelist") -> str:
    return reverse(f"admin:syncsessions_activesyncsession_{page}")


def key_of(session: Any) -> str:
    """What a page of processes knows this session by."""
    return overview.Place(*session.key).key


def put(settings: Any, **more: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, **more}


@pytest.fixture(params=["memory", "redis", "sqlite"])
async def pairing_store(request: Any, settings: Any, own_store: None) -> AsyncIterator[None]:
    """The pairing store on each kind of store in turn, empty."""
    put(settings, STORES={"default": configuration(request.param)})
    yield
    stores.close_all()  # on the loop that its connections belong to
