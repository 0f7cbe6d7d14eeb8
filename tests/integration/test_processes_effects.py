"""Effects of session processes: they run after their action, at most once, and end with their session."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from syncsessions.exceptions import InvalidValue, RateLimited, SessionNotFound, UnknownAction
from syncsessions.processes import Reducer, SessionProcess, action, registry, watching
from syncsessions.signals import message_failed
from tests.processes import Form, Kiosk, Site, State, away_in_the_background, each_place, hearing, until

pytestmark = each_place
PATIENCE = 10.0
THROTTLE = 30.0
runs: list[str] = []


class Loader(Reducer):
    name = "loader"
    initial_state = {"loaded": [], "status": "new"}

    @action
    def loaded(self, state: State, payload: Any) -> State:
        return {**state, "loaded": [*state["loaded"], payload]}

    @action
    def status(self, state: State, payload: Any) -> State:
        return {**state, "status": payload}

    @action(effect=True)
    async def load(self, ctx: Any, payload: Any) -> Any:
        runs.append(f"{self.session_id} {ctx.session_id} {threading.current_thread().name}")
        revision = await ctx.dispatch("loader.loaded", payload)
        assert ctx.state["loader"]["loaded"][-1] == payload
        assert await ctx.state(lambda state: state["loader"]["loaded"][-1]) == payload
        return revision

    @action(effect=True)
    async def send(self, ctx: Any, payload: Any) -> None:
        for number in range(3):
            ctx.dispatch("loader.loaded", number)  # not awaited, and it goes out all the same

    @action(effect=True)
    async def wait(self, ctx: Any, payload: Any) -> None:
        runs.append("begun")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            runs.append("cancelled")
            raise

    @action(effect=True)
    async def fail(self, ctx: Any, payload: Any) -> None:
        raise RuntimeError("no such page")

    @action(effect=True)
    async def return_slice(self, ctx: Any, payload: Any) -> Any:
        return {"loaded": "not a slice"}

    @action(effect=True, debounce=0.05)
    async def load_later(self, ctx: Any, payload: Any) -> None:
        await ctx.dispatch("loader.loaded", payload)

    @action(effect=True, throttle=THROTTLE)
    async def load_seldom(self, ctx: Any, payload: Any) -> Any:
        return payload


class Mirror(Loader):
    name = "mirror"
    prefix = ""

    @action
    def load(self, state: State, payload: Any) -> State:  # type: ignore[override]
        return {**state, "status": "seen"}


class Page(SessionProcess):
    reducers = [Loader]
    history = 5


class Pages(SessionProcess):
    reducers = [Loader, Mirror]


class Closed(SessionProcess):
    reducers = [Loader]
    middleware = [lambda session_id, action, state, further: state]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    runs.clear()
    monkeypatch.setattr(watching, "LOOK_EVERY", 0.1)


async def loaded(page: Form) -> Any:
    return (await page.state())["loader"]["loaded"]


async def test_run_gives_the_effect(site: Site) -> None:
    page = await site.start(cls=Page)
    effect = await page.run("loader.load", "tea")
    assert await effect == 2  # the effect's action is one message, the one that it dispatched another
    assert (effect.done(), effect.cancelled()) == (True, False)
    assert runs == ["a a syncsessions-processes"]
    assert await loaded(page) == ["tea"]
    assert [each["type"] for each in await page.history()] == ["loader.loaded", "loader.load"]
    assert (await page.run("load", "more")).result(PATIENCE) == 4


async def test_dispatch_starts_it_too(site: Site) -> None:
    page = await site.start(cls=Page)
    assert await page.dispatch("loader.load", "tea") == 1
    await until(lambda: _is(page, ["tea"]))
    await page.dispatch("loader.send")
    await until(lambda: _count(page, 4))
    assert sorted((await loaded(page))[1:]) == [0, 1, 2]
    assert len(runs) == 1


async def test_what_it_returns_is_no_slice(site: Site) -> None:
    page = await site.start(cls=Page)
    before = await page.state()
    assert await (await page.run("loader.return_slice")) == {"loaded": "not a slice"}
    assert await page.state() == before


async def test_another_action_cannot_be_run(site: Site) -> None:
    page = await site.start(cls=Page)
    with pytest.raises(InvalidValue):
        await page.run("loader.status", "x")
    with pytest.raises(UnknownAction):
        await page.run("loader.nonsense")
    with pytest.raises(InvalidValue):
        await page.run("loader.load", {1})
    assert await page.revision() == 0
    kiosk = await site.start(cls=Kiosk)
    with pytest.raises(UnknownAction):
        await kiosk.run("loader.load")


async def test_an_effect_beside_an_action_of_the_same_name(site: Site) -> None:
    pages = await site.start(cls=Pages)
    assert await (await pages.run("loader.load", "tea")) == 2
    state = await pages.state()
    assert (state["mirror"]["status"], state["loader"]["loaded"]) == ("seen", ["tea"])


async def test_a_debounced_effect(site: Site) -> None:
    page = await site.start(cls=Page)
    assert await page.dispatch("loader.load_later", "tea") == 0
    await until(lambda: _is(page, ["tea"]))


async def test_a_debounced_effect_cannot_be_run(site: Site) -> None:
    page = await site.start(cls=Page)
    with pytest.raises(InvalidValue, match="debounced"):
        await page.run("loader.load_later", "tea")
    assert (await page.revision(), await page.history(), page.plain._timer) == (0, [], None)


async def test_a_throttled_effect_runs_or_is_refused(site: Site) -> None:
    page = await site.start(cls=Page)
    assert await (await page.run("loader.load_seldom", "tea")) == "tea"
    with pytest.raises(RateLimited) as caught:
        await page.run("loader.load_seldom", "more")
    assert 0 < caught.value.retry_after <= THROTTLE
    assert await page.dispatch("loader.load_seldom", "more") == await page.revision() == 1
    other = await site.start("b", cls=Page)
    assert await (await other.run("loader.load_seldom", "cup")) == "cup"


async def test_an_effect_that_a_middleware_drops(site: Site) -> None:
    page = await site.start(cls=Closed)
    effect = await page.run("loader.load_seldom", "tea")
    assert effect.done()
    assert await page.revision() == 0


async def test_a_raising_effect_harms_nothing(site: Site, caplog: Any) -> None:
    page = await site.start(cls=Page)
    with hearing(message_failed) as heard:
        effect = await page.run("loader.fail")
        with pytest.raises(RuntimeError):
            await effect
        await until(lambda: heard)
    (sent,) = heard
    assert (sent["sender"], sent["session_id"], sent["kind"]) == (Page, "a", "effect")
    assert "no such page" in caplog.text
    assert await page.dispatch("loader.loaded", 1) == 2


async def test_an_effect_can_be_cancelled(site: Site) -> None:
    page = await site.start(cls=Page)
    effect = await page.run("loader.wait")
    await until(lambda: runs == ["begun"])
    with pytest.raises(TimeoutError):
        effect.result(0.01)
    assert not effect.done()
    effect.cancel()
    await until(lambda: runs == ["begun", "cancelled"])
    assert (effect.done(), effect.cancelled()) == (True, True)
    assert await page.dispatch("loader.loaded", 1) == 2


async def test_an_effect_is_cancelled_when_its_session_stops(site: Site) -> None:
    page = await site.start(cls=Page)
    effect = await page.run("loader.wait")
    await until(lambda: runs)
    await page.terminate()
    await until(lambda: runs == ["begun", "cancelled"])
    assert effect.cancelled()
    with pytest.raises(SessionNotFound):
        await page.run("loader.load")


async def test_wherever_it_is_stopped(site: Site) -> None:
    page = await site.start(cls=Page)
    effect = await page.run("loader.wait")
    await until(lambda: runs)
    elsewhere = await site.elsewhere(page)
    if elsewhere.plain is not page.plain:  # another process knows nothing of who listens in this one
        registry.local.clear()
    await elsewhere.terminate()
    await until(lambda: runs == ["begun", "cancelled"])
    await until(effect.cancelled)


async def test_though_the_store_is_away_when_it_begins(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BACKOFF", (0.01, 0.05))
    page = await site.start(cls=Page)
    away = away_in_the_background(monkeypatch, page, times=3)
    effect = await page.run("loader.wait")
    await until(lambda: runs and not any(away))
    elsewhere = await site.elsewhere(page)
    if elsewhere.plain is not page.plain:
        registry.local.clear()
    await elsewhere.terminate()
    await until(lambda: runs == ["begun", "cancelled"])
    await until(effect.cancelled)


async def test_an_effect_of_an_expired_session_is_cancelled(site: Site) -> None:
    page = await site.start(cls=Page)
    await page.run("loader.wait")
    await until(lambda: runs)
    await site.let_expire(page)
    await until(lambda: runs == ["begun", "cancelled"])


async def _is(page: Form, value: Any) -> bool:
    return bool(await loaded(page) == value)


async def _count(page: Form, count: int) -> bool:
    return len(await loaded(page)) == count
