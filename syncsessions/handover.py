"""Continue on another device: what a browser session has stashed moves into the browser session that joins by a code.

The owner opens and shows the code, the other device joins, the owner confirms the joiner that it was shown, and only
then anything moves: the owner's consumer copies, the joiner's acknowledges the copy, the owner's drops. How far the two
are stands in the store, under the session's life; the doorbell is rung again until the other side has gone on.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from syncsessions import conf, doorbell
from syncsessions.client import limit_key_of
from syncsessions.consumers import identity
from syncsessions.consumers.sync_session import SyncSessionConsumer
from syncsessions.devices import device_of
from syncsessions.exceptions import (
    AccessRefused,
    Conflict,
    FrameError,
    InvalidCode,
    InvalidSessionId,
    InvalidTransition,
    NotFound,
    StoreUnavailable,
    SyncSessionsError,
)
from syncsessions.frames import Frame, ref_of
from syncsessions.json_values import JSON
from syncsessions.pairing import SyncSession, announce, steps, sync_sessions
from syncsessions.pairing.session import COMPLETED, DIFFERENT_USERS, PEER_GONE, SAME_BROWSER, Ending, Lease
from syncsessions.pairing.steps import HANDOVERS
from syncsessions.stash import StashSession
from syncsessions.stash.moving import Copy, copy_slices, drop_copied, movable
from syncsessions.stash.rows import Owner
from syncsessions.stores import Record, operations
from syncsessions.stores.steps import Steps

OPEN, JOINED, CONFIRMED, READY, COPIED, RECEIVED = "open", "joined", "confirmed", "ready", "copied", "received"
STEP = "handover.step"
AGAIN = 1.0  # seconds from one ring to the next while the other side has not gone on
REGISTER_WITHIN = 10.0  # seconds that whoever has claimed the code has to show that it can take a handover

REFUSALS = {
    SAME_BROWSER: gettext_lazy("This is the browser that shows the code. Enter it on the other device."),
    DIFFERENT_USERS: gettext_lazy(
        "The other device is logged in as somebody else. Log in as the same user on both, or log out on one."
    ),
}
"""Why nothing moves between two browsers, as reason and as a sentence."""

Party = dict[str, JSON]
"""Whose stash, as its hash, and which user: known to the store and the two consumers, told to no client."""


class HandoverConsumer(SyncSessionConsumer):
    """To be routed by the project. `handover.confirm {joiner}` from the owner, after `handover.joined`, moves."""

    open_requires_login: ClassVar[bool] = False
    views: ClassVar[Collection[str] | Literal["__all__"]] = "__all__"
    """The views whose slices move: what the browser session has, but for what belongs to one tab alone."""

    async def opened(self) -> None:
        await super().opened()
        self._me: Party = {}
        self._held: Lease | None = None
        self._joiner: str | None = None
        self._copies: list[Copy] | None = None
        self._register_by = 0.0

    async def received(self, frame: Frame) -> None:
        kind = frame["type"]
        if kind == "handover.confirm":
            await self._confirm(frame)
            return
        if kind in ("session.relay", "session.complete"):
            raise AccessRefused("not_allowed", _("A handover carries nothing else, and completes by itself."))
        if kind in ("session.open", "session.join") and self.session is None:
            # What one is shown of the other is the server's word, as far as the server knows.
            frame = {"direction": "send", **frame, "info": self.describe()}
            self._me = await self._look_at_self()
            if kind == "session.join":
                await self._look_before_joining(frame.get("code"))
        await super().received(frame)

    async def authorize(self, direction: str) -> bool:
        if direction != "send":
            raise FrameError("bad_frame", _("The owner of a handover is who sends."))
        return await super().authorize(direction)

    def describe(self) -> dict[str, JSON]:
        """What the other device is shown of this one."""
        agent = next((value for name, value in self.scope["headers"] if name.lower() == b"user-agent"), b"")
        return {"device": device_of(agent.decode("latin-1")), "logged_in": self.logged_in}

    async def on_joined(self, session: SyncSession) -> None:
        self._register_by = self._loop.time() + REGISTER_WITHIN
        await self._step()

    async def on_closed(self, status: str, reason: str | None) -> None:
        held, self._held = self._held, None
        self._joiner = self._copies = None
        self.line.wake(STEP, None)
        if held is not None:
            await self._give_back(held)

    async def heard(self, message: Mapping[str, Any]) -> None:
        if message["type"] != STEP:
            await super().heard(message)
        elif self.session is not None and message["session"] == self.session.life:
            await self._step()

    async def alarm(self, name: str) -> None:
        if name == STEP:
            await self._step(again=True)
        else:
            await super().alarm(name)

    async def catch_up(self) -> None:
        await super().catch_up()
        await self._step()

    async def identity_lost(self, reason: str) -> None:
        joined = self.session is not None and not self.owns
        await super().identity_lost(reason)
        if joined and reason == "logged_out":
            # A copy that was under way when the stash was purged may have come after the purge.
            await database_sync_to_async(_stash_of(self._me).destroy)()

    # Before the two meet

    async def _begin(self, session: SyncSession, before: float) -> None:
        await super()._begin(session, before)
        if not self.owns:
            return
        data = {"step": OPEN, "owner": self._me, "peer": None}
        try:
            self._held = await sync_sessions.atake(steps.take_lease(HANDOVERS, session.life, data))
        except StoreUnavailable:
            await self._leave(StoreUnavailable.code)
            raise

    async def _renewed(self, session: SyncSession) -> SyncSession:
        found = await super()._renewed(session)
        if self._held is not None:
            await sync_sessions.atake(steps.renew_lease(self._held))
        return found

    async def _look_at_self(self) -> Party:
        """Who this is now. Raises `InvalidSessionId`; closes the socket where it is another than at its opening."""

        def look() -> tuple[identity.Identity, Owner | None]:
            return identity.look_again(self.scope, self.identity), StashSession.for_scope(self.scope).peek()

        seen, owner = await database_sync_to_async(look)()
        if seen != self.identity:
            await self._lose_identity("changed" if seen.session_key else "expired")
        if owner is None:
            raise InvalidSessionId(_("This browser has no session yet. Allow cookies, reload the page and try again."))
        return {"stash": owner.hash, "user": seen.user_pk}

    async def _look_before_joining(self, code: object) -> None:
        """A refusal leaves the code as it was: unused."""
        owner = await sync_sessions.atake(_owner_of(code, limit_key_of(self.scope)))
        reason = None if owner is None else _refusal(owner, self._me)
        if reason is not None:
            raise AccessRefused("not_allowed", REFUSALS[reason], reason=reason)

    # What the owner says

    async def _confirm(self, frame: Frame) -> None:
        if self.session is None:
            raise FrameError("not_in_session")
        if not self.owns:
            raise AccessRefused("not_allowed", _("Only the device that shows the code can confirm."))
        if self._joiner is None:
            raise InvalidTransition(_("Nobody has joined yet."))
        if frame.get("joiner") != self._joiner:
            raise Conflict(_("This is not who has joined. Look again, then confirm."))
        self._me = await self._look_at_self()
        if not await database_sync_to_async(movable)(_stash_of(self._me), self._only()):
            raise NotFound(_("There is nothing to hand over yet."))
        record = await self._record()
        if record.data["step"] != JOINED:
            raise InvalidTransition(_("The handover is under way."))
        self._copies = None
        await self._advance(record, CONFIRMED, owner=self._me)
        await self.send_frame({"type": "handover.moving", **ref_of(frame)})

    # One step after the other

    async def _step(self, *, again: bool = False) -> None:
        """Do what is this side's to do next, if anything is."""
        if self.session is None:
            return
        self.line.wake(STEP, None)
        try:
            record = await self._record()
            waits = await (self._step_of_owner(record) if self.owns else self._step_of_peer(record))
        except NotFound:
            return  # the session has ended, which the watch tells
        except (Conflict, StoreUnavailable):
            waits = True
        if waits and self.session is not None:
            if again:
                self._ring(self.session)
            self.line.wake(STEP, self._loop.time() + AGAIN)

    async def _step_of_owner(self, record: Record) -> bool:
        """Whether the other side is to go on, soon."""
        if self._other is None:
            return False
        step, peer = record.data["step"], record.data["peer"]
        if step == OPEN:
            if self._loop.time() > self._register_by:
                await self._leave(PEER_GONE)
            return True
        reason = _refusal(self._me, peer)
        if reason is not None:
            await self._leave(reason)
        elif step == JOINED:
            await self._show(peer)
        elif step == READY:
            await self._copy(record)
        elif step == RECEIVED:
            await self._drop()
        return bool(step != JOINED)

    async def _step_of_peer(self, record: Record) -> bool:
        step = record.data["step"]
        if step in (OPEN, CONFIRMED, COPIED):
            me = await self._look_at_self()
            if step == OPEN:
                await self._advance(record, JOINED, peer={**me, "shown": self.describe()})
            elif step == CONFIRMED:
                await self._advance(record, READY, peer={**me, "shown": self.describe()})
            elif me["stash"] == record.data["peer"]["stash"]:
                await self._advance(record, RECEIVED)
                await self.send_frame({"type": "handover.copied"})
        return False

    async def _show(self, peer: Party) -> None:
        if self._joiner is None:
            self._joiner = secrets.token_hex(8)
            await self.send_frame({**peer["shown"], "type": "handover.joined", "joiner": self._joiner})

    async def _copy(self, record: Record) -> None:
        self._me = await self._look_at_self()
        try:
            if self._copies is None:
                source, target = _stash_of(self._me), _stash_of(record.data["peer"])
                self._copies = await database_sync_to_async(copy_slices)(source, target, self._only())
        except SyncSessionsError as error:
            await self._advance(record, JOINED)
            await self.send_frame({"type": "error", **error.as_dict()})
            return
        await self._advance(record, COPIED)

    async def _drop(self) -> None:
        session, copies = self.session, self._copies
        if session is None or copies is None:
            return
        kept = await database_sync_to_async(drop_copied)(_stash_of(self._me), copies)
        moved = len({(copy.view, key) for copy in copies for key in copy.row.data})
        ending = Ending(COMPLETED, None, {"moved": moved, "kept": kept})
        with contextlib.suppress(StoreUnavailable):
            await sync_sessions.aend(session, *ending)
        await self._end(ending)  # whatever the other side said last: it has moved

    # The record

    async def _record(self) -> Record:
        if self.session is None:
            raise NotFound
        return await sync_sessions.store.aget(HANDOVERS, self.session.life)

    async def _advance(self, record: Record, step: str, **changes: JSON) -> None:
        """Raises `Conflict` where the other side was first."""
        data = {**record.data, **changes, "step": step}
        await sync_sessions.store.areplace(HANDOVERS, record.id, data, revision=record.revision, life=record.life)
        if self.session is not None:
            self._ring(self.session)
            self.line.wake(STEP, self._loop.time() + AGAIN)

    def _ring(self, session: SyncSession) -> None:
        doorbell.ring(announce.group(session.life), {"type": STEP, "session": session.life}, bell=STEP)

    def _only(self) -> Collection[str] | None:
        return None if self.views == "__all__" else self.views


def _owner_of(code: object, address: str) -> Steps[Party | None]:
    """The owner of the handover with this code; None where a claim will say more. Raises `InvalidCode`, `RateLimited`.

    Who has spent the guess rate is told nothing: else a refusal would tell which codes are right.
    """
    key = steps.guess_key(address)
    token: str = yield operations.hit(key, conf.current().PAIRING_GUESS_RATE)
    owner: Party | None = None
    found = False
    try:
        session = yield from steps.get(code)
        found = True
        record = yield operations.get(HANDOVERS, session.life)
        owner = record.data["owner"]
    except NotFound:
        pass
    yield operations.unhit(key, token)
    if found and owner is None:
        raise InvalidCode(_("This code is for something else."))
    return owner


def _refusal(owner: Party, joiner: Party) -> str | None:
    """Why nothing moves between these two, if so: one of `REFUSALS`."""
    if owner["stash"] == joiner["stash"]:
        return SAME_BROWSER
    if None not in (owner["user"], joiner["user"]) and owner["user"] != joiner["user"]:
        return DIFFERENT_USERS
    return None


def _stash_of(party: Party) -> StashSession:
    return StashSession.for_owner(Owner(party["stash"]))
