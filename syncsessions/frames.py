"""Frames, the JSON objects that clients and server exchange: parsing with bounds, answers, errors, rates."""

from __future__ import annotations

import json
import math
from typing import Any

from syncsessions.exceptions import FrameError, SyncSessionsError
from syncsessions.json_values import JSON, size

Frame = dict[str, JSON]
MAX_REF = 200  # characters of a ref that are echoed
FRAME_LIMIT = 256 * 1024
WAIT_FOR_TURN = 5.0  # seconds that a refused frame is waited for: a line that is silent for longer is a dead one


def parse(text: str | bytes | None, limit: int) -> Frame:
    """The frame in a text message. Raises `FrameError` too_large or bad_frame; never anything else."""
    if text is None or isinstance(text, bytes):
        raise FrameError("bad_frame", "Frames are text, not binary.")
    if len(text) > limit or size_of(text) > limit:
        raise FrameError("too_large", f"A frame may have {limit} bytes.", limit=limit)
    try:
        frame = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise FrameError("bad_frame", "A frame is a JSON object.") from None
    if not isinstance(frame, dict):
        raise FrameError("bad_frame", "A frame is a JSON object.")
    if not isinstance(frame.get("type"), str):
        raise FrameError("bad_frame", 'A frame names its type: {"type": "…"}.', **ref_of(frame))
    return frame


def size_of(text: str) -> int:
    try:
        return size(text)
    except UnicodeEncodeError:  # lone surrogates, which no socket delivers but a caller might
        return 3 * len(text)


def ref_of(frame: Frame) -> dict[str, JSON]:
    """`{"ref": …}` to put into the answer, where the frame has one: a string or an integer."""
    ref = frame.get("ref")
    if isinstance(ref, bool) or not isinstance(ref, str | int) or len(str(ref)) > MAX_REF:
        return {}
    try:
        str(ref).encode()
    except UnicodeEncodeError:
        return {}
    return {"ref": ref}


def error_frame(error: SyncSessionsError, frame: Frame | None = None) -> Frame:
    return {"type": "error", **(ref_of(frame) if frame else {}), **error.as_dict()}


class Allowance:
    """A token bucket: bursts of `burst` frames, `rate` a second sustained."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._at = now

    def take(self, now: float) -> float:
        """Take one: 0 when it was there, else the seconds after which one will be."""
        self._left = min(self.burst, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        # The next millisecond, so that no rounding lets a client come too early that waits as told.
        return (math.floor((1 - self._left) / self.rate * 1000) + 1) / 1000


class Turn:
    """Keeps frames in order where one is refused for now: what came behind it is refused until it comes again.

    It comes under the same `ref`; what its sender has given up is waited for WAIT_FOR_TURN seconds.
    """

    __slots__ = ("_ref", "_until")

    def __init__(self) -> None:
        self._ref: Frame = {}
        self._until = 0.0

    def wait(self, frame: Frame, now: float) -> float:
        """Seconds that a frame has to wait for the refused one; 0 where it need not."""
        if now >= self._until or ref_of(frame) == self._ref:
            self._ref = {}
        return self._until - now if self._ref else 0.0

    def refused(self, frame: Frame, now: float) -> None:
        """A frame was refused for now. Without a ref nobody could tell that it comes again."""
        if not self._ref:
            self._ref, self._until = ref_of(frame), now + WAIT_FOR_TURN


def _refuse(name: str) -> Any:
    raise ValueError(name)
