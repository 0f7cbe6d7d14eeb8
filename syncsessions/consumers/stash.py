"""`ws/stash/`: a page reads and saves what its views declare, and hears what others write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from channels.db import database_sync_to_async

from syncsessions.consumers.base import BaseConsumer
from syncsessions.frames import Frame
from syncsessions.json_values import JSON
from syncsessions.stash import announce, latest
from syncsessions.stash.browser import Browser, SliceName, changed_frame, cleared_frame

MOST_SUBSCRIBED = 200


class Seen(NamedTuple):
    """The life and revision of a slice that the page knows; no life: that there is none."""

    life: str = ""
    revision: int = 0


class StashConsumer(BaseConsumer):
    """Answers the stash's frames and sends `stash.changed` and `stash.cleared` for what the page has subscribed to."""

    async def opened(self) -> None:
        self.browser = Browser.of_scope(self.scope)
        self.seen: dict[SliceName, Seen] = {}
        self.keys: dict[SliceName, list[str] | None] = {}

    async def received(self, frame: Frame) -> None:
        if frame["type"] == "stash.subscribe":
            # Before the slices are read: what is written meanwhile rings, and is read again.
            for owner in await database_sync_to_async(self.browser.owners)():
                await self.line.join(announce.group(owner))
        answers = await database_sync_to_async(self.browser.answer)(frame)
        if answers[-1]["type"] == "stash.subscribed":
            self._follow(answers[-1])
        for answer in answers:
            self._note(answer)
            await self.send_frame(answer)
            if answer["type"] == "stash.saved":
                await self._fill_gap(answer)

    async def heard(self, message: Mapping[str, Any]) -> None:
        if message["type"] != announce.RUNG:
            return
        name = SliceName(message["view"], message["vsn"], message["tab"])
        life, revision = message["life"], message["revision"]
        latest.note(latest.SliceKey(message["owner"], *name), life if revision else "", revision)
        seen = self.seen.get(name)
        if seen is None:
            return
        if not revision:
            if seen.life == life:
                await self._tell_cleared(name, life)
        elif seen.life != life or seen.revision < revision:
            await self._read(name)

    async def catch_up(self) -> None:
        for name in list(self.seen):
            await self._read(name)

    async def identity_lost(self, reason: str) -> None:
        if reason == "logged_out":
            # A save that was under way when the stash was purged may have come after the purge.
            await database_sync_to_async(self.browser.destroy_session)()

    async def _read(self, name: SliceName) -> None:
        """Tell the page what the slice is now, if it is not what the page knows."""
        row = await database_sync_to_async(self.browser.look)(name)
        seen = self.seen[name]
        if row is None:
            if seen.life:
                await self._tell_cleared(name, seen.life)
        elif (row.life, row.revision) != seen:
            self.seen[name] = Seen(row.life, row.revision)
            await self.send_frame(changed_frame(name, row, self.keys[name]))

    async def _tell_cleared(self, name: SliceName, life: str) -> None:
        self.seen[name] = Seen()
        await self.send_frame(cleared_frame(name, life))

    def _follow(self, subscribed: Frame) -> None:
        for view in subscribed["views"]:
            for part in view["slices"]:
                name = SliceName(view["view"], view["vsn"], part["tab"])
                if name in self.seen or len(self.seen) < MOST_SUBSCRIBED:
                    self.seen.setdefault(name, Seen())
                    self.keys[name] = part["keys"]

    def _note(self, answer: Frame) -> None:
        """Remember what the answer lets the page know."""
        if answer["type"] == "stash.changed" and _name(answer) in self.seen:
            self.seen[_name(answer)] = Seen(answer["life"], answer["revision"])
        elif answer["type"] == "stash.cleared" and _name(answer) in self.seen:
            self.seen[_name(answer)] = Seen()

    async def _fill_gap(self, saved: Frame) -> None:
        """A save that does not follow on what the page knew: somebody else's writes came between, and are read."""
        name, now = _name(saved), Seen(saved["life"], saved["revision"])
        seen = self.seen.get(name)
        if seen is None:
            return
        if now == Seen(seen.life or now.life, seen.revision + 1):
            self.seen[name] = now
        else:
            await self._read(name)


def _name(frame: Mapping[str, JSON]) -> SliceName:
    return SliceName(frame["view"], frame["vsn"], frame["tab"])
