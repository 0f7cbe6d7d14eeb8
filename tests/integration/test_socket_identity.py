"""Who may have a socket, and when it is taken away: origin, login, logout, expiry, a user who changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth import login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from syncsessions import doorbell
from syncsessions.consumers.stash import StashConsumer
from syncsessions.middleware import SessionIdMiddleware
from syncsessions.stash.browser import Browser
from syncsessions.stash.models import StashSlice
from tests.sockets import NOTE, Page, application, in_thread, new_session

SESSIONS = SessionStore.get_model_class().objects
pytestmark = [
    pytest.mark.parametrize("database", ["default"], indirect=True),
    pytest.mark.usefixtures("database", "clean"),
]


class QuickConsumer(StashConsumer):
    beat_every = 0.05


@pytest.fixture
def clean(database: str) -> Iterator[None]:
    yield
    User.objects.all().delete()
    SESSIONS.all().delete()


@pytest.fixture
def silent_doorbell(monkeypatch: Any) -> None:
    monkeypatch.setattr(doorbell, "ring", lambda *args, **kwargs: None)


@pytest.fixture
def user(clean: None) -> User:
    return User.objects.create_user("ada", password="first")


def request_of(key: str | None) -> Any:
    """A request of the browser with this session, as the project's middleware makes it."""
    request = RequestFactory().get("/")
    request.session = SessionStore(key)  # type: ignore[attr-defined]
    request.user = AnonymousUser()
    SessionIdMiddleware(lambda request: request)(request)  # type: ignore[arg-type, return-value]
    return request


def log_in(key: str, user: User) -> str:
    request = request_of(key)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    new_key: str = request.session.session_key
    return new_key


def log_out(key: str) -> None:
    logout(request_of(key))


# Opening


@pytest.mark.parametrize("key", [None, "unknown" * 4, "", "x"])
async def test_without_a_session_it_is_accepted_and_closed_with_4401(key: str | None) -> None:
    page = Page(key)
    assert await page.socket.connect() == (True, None)
    assert await page.close_code() == 4401
    await page.socket.wait()


async def test_with_an_expired_session_it_is_closed_with_4401() -> None:
    key = await new_session()
    await in_thread(lambda: SESSIONS.filter(pk=key).update(expire_date=timezone.now()))
    async with Page(key) as page:
        assert await page.close_code() == 4401


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (None, True),
        (b"http://testserver", True),
        (b"https://shop.example", True),
        (b"http://evil.example", False),
        (b"https://testserver", False),
        (b"null", False),
        (b"http://[", False),
        (b"\xff", False),
    ],
)
async def test_a_foreign_origin_is_refused_before_it_is_accepted(
    origin: bytes | None, accepted: bool, settings: Any
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example"]
    page = Page(await new_session(), headers=((b"origin", origin),) if origin else ())
    answer = await page.socket.connect()
    assert answer[0] is accepted
    if accepted:
        await page.socket.disconnect()
    else:
        assert answer == (False, 403)
        await page.socket.wait()


async def test_a_consumer_that_needs_no_session() -> None:
    beats = []

    class OpenConsumer(QuickConsumer):
        session_required = False

        async def catch_up(self) -> None:
            beats.append(1)

    async with Page(None, OpenConsumer) as page:
        assert (await page.save(NOTE, {"a": 1}))["code"] == "invalid_session_id"
        while len(beats) < 2:  # beats do not take it for a socket that lost its session
            await asyncio.sleep(0.01)
        assert await page.heard_nothing()


async def test_a_database_that_fails_at_the_opening_closes_with_1011(monkeypatch: Any) -> None:
    def fail(scope: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("syncsessions.consumers.identity.of_scope", fail)
    communicator = WebsocketCommunicator(application(), "/ws/stash/")
    assert await communicator.connect() == (False, 1011)
    await communicator.wait()


# Login and logout, told through the layer


async def test_login_closes_the_sockets_that_were_open_before_it(user: User) -> None:
    key, other = await new_session(), await new_session()
    async with Page(key) as one, Page(key) as two, Page(other) as stranger:
        await one.save(NOTE, {"a": 1})
        new_key = await in_thread(lambda: log_in(key, user))
        assert (await one.close_code(), await two.close_code()) == (4401, 4401)
        assert await stranger.heard_nothing()
    async with Page(new_key) as page:
        changed, _subscribed = await page.subscribe({"view": NOTE})
        assert changed["data"] == {"a": 1}


async def test_a_login_that_changes_nothing_closes_nothing(user: User) -> None:
    key = await new_session(user)
    async with Page(key) as page:
        assert await in_thread(lambda: log_in(key, user)) == key
        assert await page.heard_nothing()


async def test_another_users_login_in_the_same_browser_closes_the_first_ones_sockets(user: User) -> None:
    key = await new_session(user)
    other = await in_thread(lambda: User.objects.create_user("bob"))

    def switch() -> None:
        request = request_of(key)
        request.user = user
        login(request, other, backend="django.contrib.auth.backends.ModelBackend")
        request.session.save()

    async with Page(key) as page:
        await in_thread(switch)
        assert await page.close_code() == 4401


@pytest.mark.parametrize("known", [True, False])
async def test_logout_closes_the_sockets_and_purges_the_stash(user: User, known: bool) -> None:
    key = await new_session(user if known else None)
    async with Page(key) as one, Page(key) as two, Page(await new_session(user)) as device:
        await one.save(NOTE, {"a": 1})
        await device.save(NOTE, {"mine": 1})
        await in_thread(lambda: log_out(key))
        assert (await one.close_code(), await two.close_code()) == (4401, 4401)
        assert await device.heard_nothing()
    assert await in_thread(lambda: list(StashSlice.objects.values_list("data", flat=True))) == [{"mine": 1}]


async def test_a_save_that_races_with_the_logout_leaves_nothing(monkeypatch: Any) -> None:
    key = await new_session()
    answer = Browser.answer

    def overtaken(self: Browser, frame: Any) -> Any:
        log_out(key)
        answers = answer(self, frame)
        assert StashSlice.objects.exists()
        return answers

    monkeypatch.setattr(Browser, "answer", overtaken)
    async with Page(key) as page:
        await page.say(type="stash.save", view=NOTE, changes={"late": 1})
        assert await page.close_code() == 4401
    assert not await in_thread(StashSlice.objects.exists)


async def test_saves_in_a_stream_while_logging_out_leave_nothing() -> None:
    for _ in range(5):
        key = await new_session()
        async with Page(key) as page:
            for number in range(10):
                await page.say(type="stash.save", view=NOTE, changes={"n": number})
            await in_thread(lambda: log_out(key))  # noqa: B023 - done before the next turn
            assert await page.close_code() == 4401
    assert not await in_thread(StashSlice.objects.exists)


# What nobody tells: seen at the next beat


@pytest.mark.usefixtures("silent_doorbell")
@pytest.mark.parametrize(
    "change",
    [
        "session_deleted",
        "session_expired",
        "logged_out",
        "logged_in",
        "user_deleted",
        "user_deactivated",
        "password_changed",
    ],
)
async def test_each_change_is_seen_at_the_next_beat(user: User, change: str) -> None:
    key = await new_session(None if change == "logged_in" else user)

    def new_password() -> None:
        user.set_password("second")
        user.save()

    changes = {
        "session_deleted": lambda: SESSIONS.filter(pk=key).delete(),
        "session_expired": lambda: SESSIONS.filter(pk=key).update(expire_date=timezone.now()),
        "logged_out": lambda: log_out(key),
        "logged_in": lambda: log_in(key, user),
        "user_deleted": user.delete,
        "user_deactivated": lambda: User.objects.filter(pk=user.pk).update(is_active=False),
        "password_changed": new_password,
    }
    async with Page(key, QuickConsumer) as page:
        assert (await page.save(NOTE, {"a": 1}))["type"] == "stash.saved"
        await in_thread(changes[change])
        assert await page.close_code() == 4401


async def test_beats_leave_a_good_socket_open_and_other_data_alone(user: User) -> None:
    key, beats = await new_session(user), []

    class CountingConsumer(QuickConsumer):
        async def catch_up(self) -> None:
            beats.append(1)

    async with Page(key, CountingConsumer) as page:

        def more_data() -> None:
            session = SessionStore(key)
            session["basket"] = [1]
            session.save()

        await in_thread(more_data)
        while len(beats) < 3:
            await asyncio.sleep(0.01)
        assert await page.heard_nothing()


async def test_a_database_that_fails_at_a_beat_does_not_end_the_socket(user: User, monkeypatch: Any) -> None:
    key, failed = await new_session(user), []

    def fail(*args: Any) -> None:
        failed.append(1)
        raise connection.Database.OperationalError("no database")

    async with Page(key, QuickConsumer) as page:
        with monkeypatch.context() as patch:
            patch.setattr("syncsessions.consumers.identity.look_again", fail)
            while len(failed) < 2:
                await asyncio.sleep(0.01)
            assert (await page.ask(type="ping"))["type"] == "pong"
        await in_thread(user.delete)
        assert await page.close_code() == 4401
