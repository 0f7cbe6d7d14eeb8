"""One party's half of the relay: in order and exactly once, over a channel layer that drops, repeats and reorders.

Each side numbers what its client sends and keeps it until the other side has it. A packet tells, besides its payload,
how far its sender is both ways and what it misses; a gap is asked for at once, and while anything is open a timer asks
again. (Selective repeat, as in Tanenbaum's Computer Networks, 3.4.3.) The packets are numbered too, and each names the
last one heard: who is asked for a payload again, or might ask again, sees by that whether the two have merely crossed.
The window opens when the other party's client acknowledges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from syncsessions.exceptions import FrameError
from syncsessions.frames import Turn

WINDOW = 16
"""Frames under way: taken from the client here, not yet acknowledged by the client there."""
ASK_AFTER = (0.05, 2.0)  # seconds from the last word to the next question: first, longest

Packet = dict[str, Any]


class Heard(NamedTuple):
    """What a packet brought: payloads for the client, in order; the seq up to which its own are acknowledged."""

    deliver: list[tuple[int, str]]
    relayed: int | None
    answers: list[Packet]


class _Sent:
    __slots__ = ("number", "payload")

    def __init__(self, payload: str) -> None:
        self.payload = payload
        self.number = 0
        """Of the packet that took it last."""


class Link:
    """`due` is the moment at which `tick` wants to be called, None while there is nothing to wait for."""

    def __init__(self, now: float) -> None:
        self.sent = 0
        self.relayed = 0
        self.delivered = 0
        self.acknowledged = 0
        self.turn = Turn()
        self.answered = False
        self.silent_since = now
        self.due: float | None = now
        self._taken = 0  # of what was sent, what the other side has
        self._offered = 0  # what the other side has sent, as far as is known
        self._number = 0  # of the last packet
        self._heard = 0  # the last packet of the other side
        self._asked = (0, 0)  # the last packet that named something missing, and how far it knew
        self._under_way: dict[int, _Sent] = {}
        self._early: dict[int, str] = {}
        self._wait = ASK_AFTER[0]

    @property
    def drained(self) -> bool:
        """Whether the other side has all that was sent."""
        return self._taken == self.sent

    def look_for_room(self) -> None:
        """Raises `FrameError` window_full."""
        if self.sent - self.relayed >= WINDOW:
            raise FrameError("window_full")

    def send(self, payload: str, now: float) -> Packet:
        """Number a payload. Raises `FrameError` window_full."""
        self.look_for_room()
        self.sent += 1
        self._under_way[self.sent] = _Sent(payload)
        if self.due is None:
            self.silent_since = now
            self._wait = ASK_AFTER[0]
            self.due = now + self._wait
        return self._packet(self.sent)

    def acknowledge(self, seq: object) -> Packet | None:
        """The client here has all up to `seq`. Raises `FrameError` bad_frame for one that it was never sent."""
        if isinstance(seq, bool) or not isinstance(seq, int) or not 1 <= seq <= self.delivered:
            raise FrameError("bad_frame", "Acknowledge the seq of a relay that was received.")
        if seq <= self.acknowledged:
            return None
        self.acknowledged = seq
        return self._packet()

    def acknowledges(self, seq: object) -> bool:
        """Whether an acknowledgement of `seq` would be news."""
        return type(seq) is int and self.acknowledged < seq <= self.delivered

    def receive(self, packet: Mapping[str, Any], now: float) -> Heard:
        before = (self.answered, self._taken, self.relayed)
        self.answered = True
        self.silent_since = now
        self._heard = max(self._heard, packet["number"])
        self._offered = max(self._offered, packet["sent"])
        deliver, repeated = self._take_in(packet)
        answers = [
            self._packet(seq)
            for seq in packet["missing"]
            # What the other side had not heard of when it asked may still arrive.
            if seq in self._under_way and self._under_way[seq].number < packet["heard"]
        ]
        self._taken = max(self._taken, min(packet["delivered"], self.sent))
        relayed = min(packet["acknowledged"], self._taken)
        news = relayed > self.relayed
        if news:
            for seq in range(self.relayed + 1, relayed + 1):
                del self._under_way[seq]
            self.relayed = relayed
        if packet["asks"] or repeated or self._misses_more(packet["heard"]):
            answers.append(self._packet())
        if self.relayed == self.sent:
            self.due = None
        elif before != (True, self._taken, self.relayed):
            # Only progress puts the question off: else what the other side sends would hide that it misses our last.
            self._wait = ASK_AFTER[0]
            self.due = now + self._wait
        return Heard(deliver, relayed if news else None, answers)

    def tick(self, now: float) -> list[Packet]:
        """Ask, where the other side has been silent for too long."""
        if self.due is None or now < self.due:
            return []
        self._wait = min(self._wait * 2, ASK_AFTER[1])
        self.due = now + self._wait
        return [self._packet(asks=True)]

    def ask(self) -> Packet:
        """A question that is answered with how far the other side is."""
        return self._packet(asks=True)

    def _take_in(self, packet: Mapping[str, Any]) -> tuple[list[tuple[int, str]], bool]:
        seq = packet["seq"]
        if seq is None:
            return [], False
        if seq <= self.delivered or seq in self._early:
            return [], True
        self._early[seq] = packet["payload"]
        deliver = []
        while self.delivered + 1 in self._early:
            self.delivered += 1
            deliver.append((self.delivered, self._early.pop(self.delivered)))
        return deliver, False

    def _misses_more(self, heard: int) -> bool:
        """Whether something is missing that was not asked for, or was in vain: the other side has heard of it since."""
        missing = self._missing()
        asked, known = self._asked
        return bool(missing) and (missing[-1] > known or heard >= asked)

    def _missing(self) -> list[int]:
        if self._offered == self.delivered:
            return []
        last = min(self._offered, self.delivered + WINDOW)
        return [seq for seq in range(self.delivered + 1, last + 1) if seq not in self._early]

    def _packet(self, seq: int | None = None, *, asks: bool = False) -> Packet:
        self._number += 1
        payload = None
        if seq is not None:
            sent = self._under_way[seq]
            sent.number, payload = self._number, sent.payload
        missing = self._missing()
        if missing:
            self._asked = self._number, missing[-1]
        return {
            "number": self._number,
            "heard": self._heard,
            "seq": seq,
            "payload": payload,
            "sent": self.sent,
            "delivered": self.delivered,
            "acknowledged": self.acknowledged,
            "asks": asks,
            "missing": missing,
        }
