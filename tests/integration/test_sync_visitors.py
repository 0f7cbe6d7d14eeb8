"""A sync session of two who have no browser session at all, where a consumer lets them."""

from __future__ import annotations

import time

import pytest

from syncsessions.consumers.sync_session import SyncSessionConsumer
from tests.parties import joined, peer_page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("error")]


class ForAll(SyncSessionConsumer):
    open_requires_login = False


@pytest.mark.parametrize("goer", ["owner", "peer"])
async def test_who_leaves_is_missed_at_once(goer: str) -> None:
    async with peer_page(ForAll) as owner, peer_page(ForAll) as peer:
        await joined(owner, peer)
        leaves, stays = (owner, peer) if goer == "owner" else (peer, owner)
        started = time.monotonic()
        await leaves.socket.disconnect()
        assert (await stays.hear("session.closed"))["reason"] == f"{goer}_gone"
        assert time.monotonic() - started < 3  # and not at the next look at the lease
