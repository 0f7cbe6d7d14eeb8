"""`ws/sync/`: both parties of a sync session, each at a socket of its own, in whatever processes these are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from django.utils.translation import gettext as _

from syncsessions import conf
from syncsessions.client import limit_key_of
from syncsessions.consumers.base import BaseConsumer
from syncsessions.exceptions import (
    AccessRefused,
    FrameError,
    InvalidTransition,
    InvalidValue,
    NotFound,
    SessionLimitReached,
    StoreUnavailable,
)
from syncsessions.frames import Frame, Turn, ref_of
from syncsessions.json_values import JSON, judge
from syncsessions.pairing import SyncSession, announce, steps, sync_sessions
from syncsessions.pairing.link import Link, Packet
from syncsessions.pairing.session import (
    COMPLETED,
    CONNECTED,
    DIRECTIONS,
    FAILED,
    LEASE_EXPIRED,
    LOGGED_OUT,
    NEXT,
    OWNER_GONE,
    PEER_GONE,
    RESERVED,
    Ending,
    Lease,
)

PACKET = "pairing.packet"
WATCH, LINK, CLOSING = "watch", "link", "closing"
RETRY_STORE = 1.0  # seconds
SILENCE = 1.0  # seconds without an answer from the other party, after which its lease is looked at
DRAIN = 3.0  # seconds that a session stays open for what was relayed before it was completed
LONGEST_REASON = 200  # characters


class Closing(NamedTuple):
    """What the client has asked for, until the other side has all that was relayed before."""

    ending: Ending
    frame: Frame


class SyncSessionConsumer(BaseConsumer):
    """Opens, joins, relays, ends. Subclasses decide who may, and hear what happens, by the four hooks."""

    session_required: ClassVar[bool] = False
    open_requires_login: ClassVar[bool] = True
    """Whether only users who are logged in may open a session."""
    join_requires_login: ClassVar[bool] = False
    """Whether only users who are logged in may join one."""

    async def authorize(self, direction: str) -> bool:
        """Whether this client may open a session. May raise a `SyncSessionsError` that says why not."""
        return self.logged_in or not self.open_requires_login

    async def on_joined(self, session: SyncSession) -> None:
        """The two are connected. Called on both sides."""

    async def on_relay(self, payload: JSON) -> None:
        """This side's client relays `payload`. Raise a `SyncSessionsError` to refuse it."""

    async def on_closed(self, status: str, reason: str | None) -> None:
        """The session has ended. Called on both sides."""

    @property
    def logged_in(self) -> bool:
        return self.identity.user_pk is not None

    async def opened(self) -> None:
        self.session: SyncSession | None = None
        self.owns = False
        self._link: Link | None = None
        self._other: str | None = None
        self._closing: Closing | None = None
        self._place: Lease | None = None
        self._sure_until = 0.0
        self._loop = asyncio.get_running_loop()

    def is_free(self, frame: Frame) -> bool:
        return frame["type"] == "session.ack" and self._link is not None and self._link.acknowledges(frame.get("seq"))

    def turn_of(self, frame: Frame) -> Turn | None:
        return self._link.turn if frame["type"] == "session.relay" and self._link is not None else None

    async def received(self, frame: Frame) -> None:
        answers = {
            "session.open": self._open,
            "session.join": self._join,
            "session.relay": self._relay,
            "session.ack": self._acknowledge,
            "session.complete": self._complete,
            "session.fail": self._fail,
        }
        answer = answers.get(frame["type"])
        if answer is None:
            raise FrameError("unknown_type")
        await answer(frame)

    async def heard(self, message: Mapping[str, Any]) -> None:
        if message["type"] == PACKET:
            await self._heard_packet(message)
        elif message["type"] == announce.LOOK and self.session is not None and message["session"] == self.session.life:
            await self._watch()

    async def alarm(self, name: str) -> None:
        if name == WATCH:
            await self._watch()
        elif name == LINK and self._link is not None:
            for packet in self._link.tick(self._loop.time()):
                await self._transmit(packet)
            self._wake_for_link()
            if self._loop.time() - self._link.silent_since > SILENCE:
                await self._watch()
        elif name == CLOSING and self._closing is not None:
            await self._close_session()

    async def catch_up(self) -> None:
        if self.session is None:
            return
        await self._watch()
        if self._link is not None:
            await self._transmit(self._link.ask())

    async def identity_lost(self, reason: str) -> None:
        await self._leave(LOGGED_OUT)

    async def closed(self) -> None:
        await self._leave(OWNER_GONE if self.owns else PEER_GONE)

    # What the client asks for

    async def _open(self, frame: Frame) -> None:
        self._refuse_second()
        direction, info = frame.get("direction"), _info(frame)
        if direction not in DIRECTIONS:
            raise FrameError("bad_frame", _("The direction is “send” or “receive”."))
        if not await self.authorize(direction):
            raise AccessRefused("not_allowed", _("You may not open a sync session here. Log in and try again."))
        channel = await self._own_channel()
        place = await sync_sessions.atake(steps.take_place(self._user_key()))
        try:
            before = self._loop.time()
            session = await sync_sessions.acreate(direction, channel, info)
        except BaseException:
            await self._give_back(place)
            raise
        self.owns, self._place = True, place
        await self._begin(session, before)
        await self.send_frame(self._about("session.opened", session, frame))

    async def _join(self, frame: Frame) -> None:
        self._refuse_second()
        code, info = frame.get("code"), _info(frame)
        if not isinstance(code, str):
            raise FrameError("bad_frame", _("Give the code as text."))
        if self.join_requires_login and not self.logged_in:
            raise AccessRefused("not_allowed", _("Log in to join this session."))
        channel, before = await self._own_channel(), self._loop.time()
        session = await sync_sessions.aclaim(code, channel, info, limit_key_of(self.scope), lease=True)
        self.owns, self._other = False, session.owner
        await self._begin(session, before)
        self._link = Link(self._loop.time())
        await self._transmit(self._link.ask())
        await self.send_frame(self._about("session.joined", session, frame))
        await self.on_joined(session)

    async def _relay(self, frame: Frame) -> None:
        link = self._open_link()
        if "payload" not in frame:
            raise FrameError("bad_frame", _("A relay has a payload."))
        try:
            payload, text = judge({"payload": frame["payload"]})
        except InvalidValue as error:
            raise InvalidValue(str(error)) from None
        link.look_for_room()
        await self.on_relay(payload["payload"])
        if self._link is link:
            await self._transmit(link.send(text, self._loop.time()))
            self._wake_for_link()

    async def _acknowledge(self, frame: Frame) -> None:
        if self._link is None:
            raise FrameError("not_in_session")
        packet = self._link.acknowledge(frame.get("seq"))
        if packet is not None:
            await self._transmit(packet)

    async def _complete(self, frame: Frame) -> None:
        if self.session is not None and self._link is None:
            raise InvalidTransition(_("Nobody has joined yet: there is nothing to complete."))
        self._open_link()
        judge({"result": frame.get("result")})
        await self._close_when_drained(Closing(Ending(COMPLETED, None, frame.get("result")), frame))

    async def _fail(self, frame: Frame) -> None:
        reason = frame.get("reason", "failed")
        if not isinstance(reason, str) or len(reason) > LONGEST_REASON:
            raise FrameError(
                "bad_frame", _("The reason is a text of at most %(limit)d characters.") % {"limit": LONGEST_REASON}
            )
        if reason in RESERVED:
            raise FrameError("bad_frame", _("Only the server gives this reason. Choose another."))
        if self.session is None or self._closing is not None:
            raise FrameError("not_in_session")
        judge({"reason": reason})
        await self._close_when_drained(Closing(Ending(FAILED, reason), frame))

    # What the other side says

    async def _heard_packet(self, message: Mapping[str, Any]) -> None:
        session = self.session
        if session is None or message["session"] != session.life:
            await self.line.send(message["sender"], {"type": announce.LOOK, "session": message["session"]})
            return
        if self._link is None:
            await self._watch()  # somebody claims to have joined: the store knows
        if self._link is None or message["sender"] != self._other:
            return
        heard = self._link.receive(message["packet"], self._loop.time())
        for seq, text in heard.deliver:
            await self.send_text(f'{{"type": "session.relay", "seq": {seq}, {text[1:]}')
        if heard.relayed is not None:
            await self.send_frame({"type": "session.relayed", "seq": heard.relayed})
        for packet in heard.answers:
            await self._transmit(packet)
        self._wake_for_link()
        if self._closing is not None and self._link.drained:
            await self._close_session()

    async def _transmit(self, packet: Packet) -> None:
        if self.session is None or self._other is None:
            return
        message = {"type": PACKET, "session": self.session.life, "sender": self.line.channel, "packet": packet}
        await self.line.send(self._other, message)

    def _wake_for_link(self) -> None:
        self.line.wake(LINK, None if self._link is None else self._link.due)

    # What the store says

    async def _watch(self) -> None:
        """Renew this side's lease, and look whether the session and the other side are still there."""
        session = self.session
        if session is None:
            return
        before = self._loop.time()
        try:
            found = await self._renewed(session)
        except (NotFound, SessionLimitReached):  # the latter where its place went to another session
            await self._find_ended(session)
            return
        except StoreUnavailable:
            await self._bear_with_store()
            return
        if self.session is not session:
            return
        self.session = found
        self._plan_watch(before)
        if not NEXT[found.status]:
            await self._leave(None, Ending(found.status, None))
        elif self.owns and self._link is None and found.status == CONNECTED and found.peer is not None:
            await self._meet_peer(found)
        elif self.owns and found.peer_lease is not None and await self._peer_is_gone(found.peer_lease):
            await self._leave(PEER_GONE)

    async def _renewed(self, session: SyncSession) -> SyncSession:
        if self.owns:
            await sync_sessions.arenew(session.code, life=session.life)
            if self._place is not None:
                self._place = await sync_sessions.atake(steps.renew_place(self._place, self._user_key()))
        found = await sync_sessions.aget(session.code, life=session.life)
        if not self.owns and session.peer_lease is not None:
            await sync_sessions.atake(steps.renew_lease(session.peer_lease))
        return found

    async def _peer_is_gone(self, lease: Lease) -> bool:
        try:
            await sync_sessions.atake(steps.look_up(lease))
        except NotFound:
            return True
        except StoreUnavailable:
            pass
        return False

    async def _meet_peer(self, session: SyncSession) -> None:
        self._other, self._link = session.peer, Link(self._loop.time())
        await self._transmit(self._link.ask())
        await self.send_frame(self._about("session.peer_joined", session))
        await self.on_joined(session)

    async def _find_ended(self, session: SyncSession) -> None:
        """The session, or this peer's lease on it, is gone from the store."""
        try:
            ending = await sync_sessions.aend(session, FAILED, LEASE_EXPIRED)
        except StoreUnavailable:
            ending = Ending(FAILED, LEASE_EXPIRED)
        await self._end(ending)

    async def _bear_with_store(self) -> None:
        """Without the store nobody can renew: by the end of the lease the session is gone for every reader."""
        now = self._loop.time()
        if now >= self._sure_until:
            await self._end(Ending(FAILED, LEASE_EXPIRED))
        else:
            self.line.wake(WATCH, min(now + RETRY_STORE, self._sure_until))

    # Beginning and ending

    async def _begin(self, session: SyncSession, before: float) -> None:
        self.session = session
        self._plan_watch(before)
        await self.line.join(announce.group(session.life))

    def _plan_watch(self, before: float) -> None:
        lease = conf.current().PAIRING_LEASE
        self._sure_until = before + lease
        self.line.wake(WATCH, before + lease / 3)

    async def _close_when_drained(self, closing: Closing) -> None:
        self._closing = closing
        if self._link is None or self._link.drained:
            await self._close_session()
        else:
            self.line.wake(CLOSING, self._loop.time() + DRAIN)
            await self._transmit(self._link.ask())

    async def _close_session(self) -> None:
        closing, self._closing = self._closing, None
        if closing is None or self.session is None:
            return
        try:
            ending = await sync_sessions.aend(self.session, *closing.ending)
        except StoreUnavailable as error:
            await self.send_frame({"type": "error", **ref_of(closing.frame), **error.as_dict()})
            return
        await self._end(ending, closing.frame)

    async def _leave(self, reason: str | None, ending: Ending | None = None) -> None:
        """End the session from this side, whatever the store does."""
        session = self.session
        if session is None:
            return
        ending = ending or Ending(FAILED, reason)
        with contextlib.suppress(StoreUnavailable):
            ending = await sync_sessions.aend(session, *ending)
        await self._end(ending)

    async def _end(self, ending: Ending, frame: Frame | None = None) -> None:
        session, self.session = self.session, None
        if session is None:
            return
        place, self._place = self._place, None
        self._link = self._other = self._closing = None
        for name in (WATCH, LINK, CLOSING):
            self.line.wake(name, None)
        told = {"type": "session.closed", "status": ending.status, "reason": ending.reason}
        if ending.result is not None:
            told["result"] = ending.result
        await self.send_frame({**told, **(ref_of(frame) if frame else {})})
        await self.line.leave(announce.group(session.life))
        if place is not None:
            await self._give_back(place)
        if not self.owns and session.peer_lease is not None:
            await self._give_back(session.peer_lease)
        await self.on_closed(ending.status, ending.reason)

    async def _give_back(self, lease: Lease) -> None:
        with contextlib.suppress(StoreUnavailable):  # else it ends by itself
            await sync_sessions.atake(steps.drop_lease(lease))

    # Small questions

    def _refuse_second(self) -> None:
        if self.session is not None:
            raise FrameError("already_open")

    def _open_link(self) -> Link:
        if self._link is None or self._closing is not None:
            raise FrameError("not_in_session")
        return self._link

    async def _own_channel(self) -> str:
        channel = await self.line.own_channel()
        if channel is None:
            raise AccessRefused("disabled", _("Sync sessions need a channel layer, and none answers here."))
        return channel

    def _user_key(self) -> str:
        if self.identity.user_pk is not None:
            return f"user:{self.identity.user_pk}"
        return f"session:{self.scope.get('session_id') or self.line.channel}"

    def _about(self, kind: str, session: SyncSession, frame: Frame | None = None) -> Frame:
        return {"type": kind, **(ref_of(frame) if frame else {}), "session": session.as_frame(with_code=self.owns)}


def _info(frame: Frame) -> dict[str, JSON] | None:
    """What the client says of itself; whether that can be kept, the core knows."""
    info = frame.get("info")
    if info is not None and not isinstance(info, dict):
        raise FrameError("bad_frame", _("The info must be a JSON object."))
    return info
