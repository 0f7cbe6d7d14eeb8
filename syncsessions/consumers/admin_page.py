"""What the socket of the admin asks of each thing that it can show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping

from syncsessions.frames import Frame


class AdminPage(ABC):
    """`bells`: groups of the channel layer, by the message that says that something has changed."""

    bells: Mapping[str, str] = {}
    all_ring = False
    """Whether every change rings, but for what gets lost."""

    def __init__(self, query: Mapping[str, str], user_pk: str | None) -> None:
        self.user_pk = user_pk
        self.tell: Callable[[Frame], None] = _nobody
        """Sends a frame that nobody asked for; the socket sets it."""

    @abstractmethod
    async def may_be_seen(self) -> bool:
        """Look at the user's rights, which hold until this is asked again."""

    @abstractmethod
    async def read(self) -> Frame:
        """What there is to see now. Raises `StoreUnavailable`."""

    @abstractmethod
    def answers(self) -> Mapping[str, Callable[[Frame], Awaitable[Frame | None]]]:
        """By a request's type, what answers it: a frame, or None for what there is to see now."""

    async def close(self) -> None:  # noqa: B027 - most have begun nothing
        """The socket is gone: end what was begun for it."""


def _nobody(frame: Frame) -> None:
    """There is no socket yet."""
