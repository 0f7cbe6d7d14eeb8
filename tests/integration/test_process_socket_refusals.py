"""`ws/process/<name>/`: frames, actions, selectors and floods that are refused, and that harm nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import pytest

from syncsessions.consumers.session_process import SessionProcessConsumer
from syncsessions.exceptions import StoreUnavailable
from syncsessions.processes import SessionProcess
from syncsessions.signals import message_failed, rate_limited
from tests.process_shop import (
    EMPTY,
    PEN,
    Cart,
    Shop,
    ShopConsumer,
    dispatched,
    id_of,
    subscribed,
)
from tests.sockets import Page, new_session

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("process_store"),
]


class Fragile(SessionProcess):
    def init(self, args: Any) -> Any:
        raise RuntimeError("the password is sesame")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "subscribe"}, "bad_frame"),
        ({"type": "subscribe", "selectors": "cart_count"}, "bad_frame"),
        ({"type": "subscribe", "selectors": {"cart_count": 1}}, "bad_frame"),
        ({"type": "subscribe", "selectors": [1]}, "bad_frame"),
        ({"type": "subscribe", "selectors": [["cart_count"]]}, "bad_frame"),
        ({"type": "subscribe", "selectors": [None]}, "bad_frame"),
        ({"type": "subscribe", "selectors": ["cart_count", "nothing"]}, "invalid_value"),
        ({"type": "subscribe", "selectors": ["__class__"]}, "invalid_value"),
        ({"type": "subscribe", "selectors": ["Cart_count"]}, "invalid_value"),
        ({"type": "subscribe", "selectors": ["\ud800"]}, "invalid_value"),
        ({"type": "dispatch"}, "bad_frame"),
        ({"type": "dispatch", "action": None}, "bad_frame"),
        ({"type": "dispatch", "action": ["cart.add_item"]}, "bad_frame"),
        ({"type": "dispatch", "action": {"type": "cart.add_item"}}, "bad_frame"),
        ({"type": "dispatch", "action": ""}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.nothing"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.add_item\n"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.__init__"}, "unknown_action"),
        ({"type": "dispatch", "action": "init"}, "unknown_action"),
        ({"type": "dispatch", "action": "write"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.unheard_of"}, "unknown_action"),
        ({"type": "dispatch", "action": "\ud800"}, "unknown_action"),
        ({"type": "dispatch", "action": "cart.discount"}, "not_allowed"),
        ({"type": "dispatch", "action": "discount"}, "not_allowed"),
        ({"type": "dispatch", "action": "add_item"}, "not_allowed"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": "\ud800"}, "invalid_value"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": {"a\0": 1}}, "invalid_value"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": None}, "cast_failed"),
        ({"type": "dispatch", "action": "cart.add_item", "payload": {"price": "3"}}, "cast_failed"),
        ({"type": "call", "name": "whoami"}, "unknown_type"),
        ({"type": "state", "values": {"cart_count": 9}}, "unknown_type"),
        ({"type": "process.changed", "revision": 9}, "unknown_type"),
    ],
)
async def test_frames_that_cannot_be_taken(frame: Any, code: str) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await page.ask(**frame)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert answer["message"]
        assert (await subscribed(page)) | {"ref": 0} == {
            "type": "state",
            "ref": 0,
            "values": {"cart_count": 0},
            "revision": 0,
        }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" ", "bad_frame"),
        ("no json", "bad_frame"),
        ("[]", "bad_frame"),
        ("null", "bad_frame"),
        ("{}", "bad_frame"),
        ('{"type": 1}', "bad_frame"),
        ('{"type": "dispatch", "action": "cart.add_item", "payload": NaN}', "bad_frame"),
        ('{"type": "dispatch", "action": "cart.add_item", "payload": 1e999}', "invalid_value"),
        ('{"type": "dispatch", "action": "cart.add_item", "payload": ' + "[" * 900 + "]" * 900 + "}", "invalid_value"),
        ("[" * 100_000, "bad_frame"),
        ('{"type": "subscribe", "selectors": [' + '"cart_count",' * 30_000 + '"cart_count"]}', "too_large"),
    ],
)
async def test_text_that_is_no_frame(text: str, code: str) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await page.socket.send_to(text_data=text)
        answer = await page.hear("error")
        assert answer["code"] == code
        await page.socket.send_to(bytes_data=b'{"type": "ping"}')
        assert (await page.hear("error"))["code"] == "bad_frame"
        assert (await page.ask(type="ping"))["type"] == "pong"


async def test_what_is_refused_starts_no_session() -> None:
    key = await new_session()
    async with Page(key, ShopConsumer) as page:
        await page.ask(type="subscribe", selectors=["nothing"])
        await dispatched(page, "cart.discount")
        await dispatched(page, "nothing")
        assert not await Shop.astarted(await id_of(key))


async def test_an_unknown_selector_subscribes_to_none_of_its_frame() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await page.ask(type="subscribe", selectors=["total", "nothing"])
        assert (answer["code"], answer["key"]) == ("invalid_value", "nothing")
        assert (await subscribed(page))["values"] == {"cart_count": 0}


async def test_no_other_session_can_be_named() -> None:
    victim, key = await new_session(), await new_session()
    other = await Shop.astart(await id_of(victim))
    async with Page(key, ShopConsumer, headers=((b"x-session-id", other.id.encode()),)) as page:
        for name in ("session_id", "session", "id", "process", "args"):
            await page.ask(type="subscribe", selectors=["cart_count"], **{name: other.id})
            await page.ask(type="dispatch", action="cart.add_item", payload=PEN, **{name: other.id})
        assert (await subscribed(page))["values"] == {"cart_count": 5}
    assert (await other.astate())["cart"] == EMPTY
    assert await (await Shop.aget(await id_of(key))).acall("whoami") == await id_of(key)


async def test_without_a_session_there_is_nothing() -> None:
    socket = Page(None, ShopConsumer)
    await socket.socket.connect()
    assert await socket.close_code() == 4401

    class Open(ShopConsumer):
        session_required = False

    async with Page(None, Open) as page:
        assert (await page.ask(type="subscribe", selectors=["note"]))["code"] == "not_allowed"
        assert (await page.ask(type="ping"))["type"] == "pong"


async def test_a_foreign_origin_is_refused() -> None:
    page = Page(await new_session(), ShopConsumer, headers=((b"origin", b"https://evil.example"),))
    accepted, code = await page.socket.connect()
    assert (accepted, code) == (False, 403)


async def test_nothing_is_open_by_default_and_one_name_is_not_a_part_of_it() -> None:
    class Closed(SessionProcess):
        reducers = [Cart]

    class One(SessionProcess):
        reducers = [Cart]
        client_actions = "cart.add_item"

    class ClosedConsumer(SessionProcessConsumer):
        process_class = Closed

    class OneConsumer(SessionProcessConsumer):
        process_class = One

    async with Page(await new_session(), ClosedConsumer) as page:
        assert (await dispatched(page, "cart.add_item", PEN))["code"] == "not_allowed"
        assert (await page.ask(type="subscribe", selectors=[]))["values"] == {}
    async with Page(await new_session(), OneConsumer) as page:
        assert (await dispatched(page, "add_item", PEN))["code"] == "not_allowed"
        assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 1


async def test_what_a_handler_raised_is_not_told_to_the_page(caplog: Any) -> None:
    class FragileConsumer(SessionProcessConsumer):
        process_class = Fragile

    async with Page(await new_session(), FragileConsumer) as page:
        answer = await page.ask(type="subscribe", selectors=[])
        assert answer["code"] == "call_failed"
        assert "sesame" not in json.dumps(answer)
        assert "sesame" in caplog.text
    async with Page(await new_session(), ShopConsumer) as page:
        answer = await dispatched(page, "cart.add_item", {"cost": 1})
        assert answer["code"] == "cast_failed"
        assert "price" not in answer["message"]
        assert (await dispatched(page, "cart.add_item", PEN))["revision"] == 1


async def test_a_selector_that_fails_is_reported_and_left_out() -> None:
    failures: list[Any] = []

    def hear(**said: Any) -> None:
        failures.append((said["kind"], type(said["error"]).__name__))

    message_failed.connect(hear)
    try:
        async with Page(await new_session(), ShopConsumer) as page:
            assert (await subscribed(page, "broken", "cart_count", "unfit"))["values"] == {"cart_count": 0}
            await dispatched(page, "cart.add_item", PEN)
            assert (await page.hear("state"))["values"] == {"cart_count": 1}
    finally:
        message_failed.disconnect(hear)
    assert failures == [("selector", "KeyError"), ("selector", "InvalidValue")] * 2


async def test_a_flood_is_answered_and_the_socket_stays() -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await subscribed(page)
        for number in range(250):
            await page.say(type="dispatch", action="cart.keep", ref=number + 1000)
        answers = [await page.hear() for _number in range(250)]
        while (await page.ask(type="ping"))["type"] != "pong":
            await asyncio.sleep(0.05)
        refused = [answer for answer in answers if answer.get("code") == "rate_limited"]
        assert len(refused) > 50
        assert all(0 < answer["retry_after"] <= 1 and answer["ref"] >= 1000 for answer in refused)


async def test_a_client_address_starts_so_many(settings: Any) -> None:
    class Slow(ShopConsumer):
        start_rate = "2/m"

    told: list[float] = []

    def hear(**said: Any) -> None:
        told.append(said["retry_after"])

    rate_limited.connect(hear)
    host = f"2001:db8:{secrets.token_hex(2)}::1"
    try:
        keys = [await new_session() for _number in range(3)]
        for key in keys[:2]:
            async with Page(key, Slow, client=(host, 1)) as page:
                await subscribed(page)
        async with Page(keys[2], Slow, client=(host, 2)) as page:
            answer = await page.ask(type="subscribe", selectors=["total"])
            assert answer["code"] == "rate_limited"
            assert 0 < answer["retry_after"] <= 60
        async with Page(keys[0], Slow, client=(host, 3)) as page:  # its session runs: nothing is started
            await subscribed(page)
        async with Page(keys[2], Slow, client=("192.0.2.7", 4)) as page:
            await subscribed(page)
    finally:
        rate_limited.disconnect(hear)
    assert len(told) == 1


async def test_a_full_site_is_told_as_such(settings: Any) -> None:
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "MAX_PROCESSES": 1}
    async with Page(await new_session(), ShopConsumer) as one, Page(await new_session(), ShopConsumer) as other:
        await subscribed(one)
        assert (await other.ask(type="subscribe", selectors=["total"]))["code"] == "session_limit_reached"
        assert (await dispatched(other, "cart.add_item", PEN))["code"] == "session_limit_reached"


async def test_a_store_that_fails_is_told_and_the_socket_goes_on(monkeypatch: Any) -> None:
    async with Page(await new_session(), ShopConsumer) as page:
        await subscribed(page)

        async def refuse(store: Any, steps: Any) -> Any:
            raise StoreUnavailable

        with monkeypatch.context() as patch:
            patch.setattr("syncsessions.consumers.session_process.arun", refuse)
            assert (await dispatched(page, "cart.add_item", PEN))["code"] == "store_unavailable"
            assert (await page.ask(type="subscribe", selectors=["total"]))["code"] == "store_unavailable"
            await asyncio.sleep(0.2)
        await dispatched(page, "cart.add_item", PEN)
        assert (await page.hear("state"))["values"] == {"cart_count": 1}
