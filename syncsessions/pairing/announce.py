"""Who is told by the doorbell: the parties of a session, and whoever watches the list of all."""

from __future__ import annotations

from syncsessions import doorbell
from syncsessions.pairing.session import SyncSession

LIST = "syncsessions.pairing"
"""The layer's group of those who watch the list."""
CHANGED = "pairing.changed"
LOOK = "pairing.look"


def group(life: str) -> str:
    """The layer's group of a session's two parties."""
    return f"syncsessions.pairing.{life}"


def changed() -> None:
    """Some session was opened, joined, changed or ended."""
    doorbell.ring(LIST, {"type": CHANGED}, bell=CHANGED)


def look(session: SyncSession) -> None:
    """Have the parties read the truth about their session."""
    doorbell.ring(group(session.life), {"type": LOOK, "session": session.life})
