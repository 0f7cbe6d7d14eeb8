"""What was counted of late: an exact sliding window."""

from __future__ import annotations

from collections import deque

from syncsessions.exceptions import RateLimited
from syncsessions.stores.record import Rate


class Window:
    """The hits of one key, oldest first. Times are a clock's that never goes back."""

    __slots__ = ("_hits", "_longest")

    def __init__(self) -> None:
        self._hits: deque[tuple[float, str]] = deque()
        self._longest = 0.0

    def hit(self, rate: Rate, now: float, token: str) -> None:
        """Count one, unless `rate.most` were counted within the window: then `RateLimited`."""
        most, window = rate
        hits = self._hits
        if window > self._longest:
            self._longest = window
        while hits and hits[0][0] + self._longest <= now:
            hits.popleft()
        if len(hits) >= most:
            wait = hits[-most][0] + window - now
            if wait > 0:
                raise RateLimited(retry_after=wait)
        hits.append((now, token))

    def unhit(self, token: str) -> None:
        # From the newest on: what is given back was counted a moment ago.
        for back, (_time, each) in enumerate(reversed(self._hits), 1):
            if each == token:
                del self._hits[-back]
                return

    def is_over(self, now: float) -> bool:
        """Whether nothing that was counted matters any more."""
        return not self._hits or self._hits[-1][0] + self._longest <= now
