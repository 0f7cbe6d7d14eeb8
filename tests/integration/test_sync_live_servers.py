"""`ws/sync/` on daphne and uvicorn in earnest, with real clients."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.live import LiveServer
from tests.live_parties import joined, party

ENV = {"DJANGO_SETTINGS_MODULE": "tests.live_settings"}
AT_ONCE = 1.0  # seconds


@pytest.mark.parametrize("name", ["daphne", "uvicorn"])
async def test_pair_relay_complete_and_an_owner_who_goes(name: Any) -> None:
    with LiveServer(name, env=ENV) as server:
        cookie = await asyncio.to_thread(server.log_in)
        async with party(server, cookie, origin=server.url) as owner, party(server) as peer:
            for _round in range(2):
                await joined(owner, peer)
                for sender, reader in ((owner, peer), (peer, owner)):
                    for seq in range(1, 20):
                        await sender.say(type="session.relay", payload={"n": seq, "ä": "😀"})
                        told = await reader.hear()
                        assert told == {"type": "session.relay", "seq": seq, "payload": {"n": seq, "ä": "😀"}}
                        await reader.say(type="session.ack", seq=seq)
                        assert await sender.hear() == {"type": "session.relayed", "seq": seq}
                closed = {"type": "session.closed", "status": "completed", "reason": None, "result": [1]}
                assert await peer.ask(type="session.complete", result=[1], ref="r") == {**closed, "ref": "r"}
                assert await owner.hear() == closed
            for abruptly in (False, True):
                async with party(server, cookie) as going:
                    code = await joined(going, peer)
                    gone_at = time.monotonic()
                    if abruptly:
                        going.socket.transport.abort()
                    else:
                        await going.socket.close()
                    told = await peer.hear("session.closed")
                    assert (told["status"], told["reason"]) == ("failed", "owner_gone")
                    assert time.monotonic() - gone_at < AT_ONCE
                    assert (await owner.ask(type="session.join", code=code))["code"] == "invalid_code"
        for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port}"):
            with pytest.raises(InvalidStatus) as refused:
                async with party(server, cookie, origin=origin):
                    pass
            assert refused.value.response.status_code == 403
        assert "Traceback" not in server.log
        assert code not in server.log
