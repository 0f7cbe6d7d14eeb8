"""The names of the keys in Redis.

All keys of a namespace begin with `{prefix:namespace}:`, so that a cluster keeps them in one slot.
"""

from __future__ import annotations

# Without these in a prefix or namespace, no key can be read as one of another namespace.
_ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in "%:{}"})


class Keys:
    """The keys of one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.translate(_ESCAPES)

    def of(self, namespace: str) -> NamespaceKeys:
        return NamespaceKeys(f"{{{self._prefix}:{namespace.translate(_ESCAPES)}}}:")

    def hits(self, key: str) -> str:
        """Sorted set: the tokens of a rate's hits by time."""
        return f"{self._prefix}:hits:{key}"


class NamespaceKeys:
    """The keys of one namespace."""

    __slots__ = ("born", "creates", "deadlines", "gone", "logs", "records")

    def __init__(self, root: str) -> None:
        self.deadlines = root + "deadlines"
        """Sorted set: the ids by deadline."""
        self.born = root + "born"
        """Sorted set: the ids in the order of their creation."""
        self.gone = root + "gone"
        """List: six texts for each ended record that a new one of its id has set aside."""
        self.creates = root + "creates"
        """Sorted set: the lives that count against the rate of creates, by time."""
        self.records = root + "record:"
        self.logs = root + "log:"

    def record(self, id: str) -> str:  # noqa: A002
        """Hash: life, data, revision, created, receipt."""
        return self.records + id

    def log(self, id: str) -> str:  # noqa: A002
        """List: the log's entries, newest first."""
        return self.logs + id
