"""A handover that is disturbed between the copy and the drop: nothing is lost, and repeating it is harmless."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore

from syncsessions import doorbell, handover
from syncsessions.exceptions import StoreUnavailable
from syncsessions.handover import HandoverConsumer
from syncsessions.stash.moving import drop_copied
from syncsessions.stores import Record
from tests.devices import PHONE, Device, confirm, device, meet, moved, two
from tests.sockets import NOTE, Page, in_thread, stash_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("error")]

LAPTOPS = {"text": "from the laptop", "size": 3}


class Held(HandoverConsumer):
    """Its joiner acknowledges the copy when it is let to."""

    reached: asyncio.Event
    released: asyncio.Event

    async def _step_of_peer(self, record: Record) -> bool:
        if record.data["step"] == handover.COPIED:
            self.reached.set()
            await self.released.wait()
        return await super()._step_of_peer(record)


@pytest.fixture
def held() -> type[Held]:
    class Fresh(Held):
        reached = asyncio.Event()
        released = asyncio.Event()

    return Fresh


async def copied(held: type[Held], laptop: Device, phone: Device) -> None:
    """Go as far as the copy."""
    await confirm(laptop, await meet(laptop, phone))
    await held.reached.wait()
    assert await phone.data() == LAPTOPS
    assert await laptop.data() == LAPTOPS


async def test_what_is_written_meanwhile_stays(held: type[Held]) -> None:
    async with two(consumer=held) as (laptop, phone):
        await copied(held, laptop, phone)
        await laptop.stash(NOTE, {"text": "newer", "more": 1})
        held.released.set()
        assert await moved(laptop, phone) == {"moved": 2, "kept": 2}
        assert await laptop.data() == {"text": "newer", "more": 1}
        assert await phone.data() == LAPTOPS


async def test_what_was_cleared_and_begun_anew_is_left_alone(held: type[Held]) -> None:
    async with two(consumer=held) as (laptop, phone):
        await copied(held, laptop, phone)
        await in_thread(lambda: stash_of(laptop.key).reset_view(NOTE))
        await laptop.stash(NOTE, {"size": 3})
        held.released.set()
        assert await moved(laptop, phone) == {"moved": 2, "kept": 0}
        assert await laptop.data() == {"size": 3}


async def test_the_owners_process_is_killed_and_the_handover_repeated(
    held: type[Held], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_is_there(**more: Any) -> None: ...

    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "PAIRING_LEASE": 1}
    async with two(consumer=held) as (laptop, phone):
        await copied(held, laptop, phone)
        laptop.page.socket.future.cancel()  # no goodbye, no disconnect
        monkeypatch.setattr(laptop.page.socket, "disconnect", nobody_is_there)
        held.released.set()
        await phone.hear("handover.copied")
        assert (await phone.hear("session.closed"))["reason"] == "lease_expired"
        assert await laptop.data() == await phone.data() == LAPTOPS
        async with device(key=laptop.key) as again:
            await confirm(again, await meet(again, phone))
            assert await moved(again, phone) == {"moved": 2, "kept": 0}
            assert await again.rows() == {}
            assert await phone.data() == LAPTOPS


@pytest.mark.parametrize("leaver", ["laptop", "phone"])
async def test_one_side_leaves_before_the_copy_is_acknowledged(held: type[Held], leaver: str) -> None:
    async with two(consumer=held) as (laptop, phone):
        await copied(held, laptop, phone)
        if leaver == "laptop":
            await laptop.say(type="session.fail", reason="changed my mind")
            await laptop.hear("session.closed")
            held.released.set()
            assert (await phone.hear("session.closed"))["reason"] == "changed my mind"
        else:
            await in_thread(lambda: SessionStore(phone.key).flush())
            held.released.set()
            assert (await laptop.hear("session.closed"))["reason"] == "logged_out"
        assert await laptop.data() == LAPTOPS


async def test_lost_rings_are_repaired_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: dict[str, int] = {}
    ring = doorbell.ring

    def ring_the_second_time(group: str, message: Any, bell: object = None) -> None:
        if message["type"] == handover.STEP:
            lost[group] = lost.get(group, 0) + 1
            if lost[group] % 3:
                return
        ring(group, message, bell)

    monkeypatch.setattr(doorbell, "ring", ring_the_second_time)
    monkeypatch.setattr(handover, "AGAIN", 0.1)
    async with two() as (laptop, phone):
        await confirm(laptop, await meet(laptop, phone))
        assert await moved(laptop, phone) == {"moved": 2, "kept": 0}
    assert sum(lost.values()) > 4


async def test_a_database_that_fails_at_the_drop_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [StoreUnavailable(), StoreUnavailable()]

    def drop(*args: Any) -> int:
        if failures:
            raise failures.pop()
        return drop_copied(*args)

    monkeypatch.setattr(handover, "drop_copied", drop)
    monkeypatch.setattr(handover, "AGAIN", 0.1)
    async with two() as (laptop, phone):
        await confirm(laptop, await meet(laptop, phone))
        assert await moved(laptop, phone) == {"moved": 2, "kept": 0}
        assert await laptop.rows() == {}


async def test_open_pages_of_both_follow() -> None:
    async with two() as (laptop, phone), Page(laptop.key) as left, Page(phone.key) as right:
        for page in (left, right):
            await page.subscribe({"view": NOTE})
        await confirm(laptop, await meet(laptop, phone))
        await moved(laptop, phone)
        assert (await right.hear("stash.changed"))["data"] == LAPTOPS
        assert (await left.hear())["type"] == "stash.cleared"


async def test_two_handovers_at_once_to_two_phones(held: type[Held]) -> None:
    async with two(consumer=held) as (laptop, phone), device(key=laptop.key) as tab, device(PHONE) as other:
        await copied(held, laptop, phone)
        await confirm(tab, await meet(tab, other))
        assert await moved(tab, other) == {"moved": 2, "kept": 0}
        held.released.set()
        assert await moved(laptop, phone) == {"moved": 2, "kept": 0}
        assert await laptop.rows() == {}
        assert await phone.data() == await other.data() == LAPTOPS
