"""What a Redis says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

OLDEST = (6, 2)


class Server(NamedTuple):
    """`name` with its version; `caution` is what is wrong with it, in a sentence."""

    name: str
    too_old: bool
    evicts: str | None
    """The policy by which it drops records when its memory is full; None where it drops none."""


def server_of(info: Mapping[str, Any]) -> Server:
    """From the answer to INFO, of Redis or of what speaks its language."""
    version = str(info.get("redis_version", ""))
    own = info.get("valkey_version")
    policy = str(info.get("maxmemory_policy", "noeviction"))
    bounded = str(info.get("maxmemory", 0)) not in ("0", "")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    return Server(
        name=f"Valkey {own}" if own else f"Redis {version}".strip(),
        too_old=bool(numbers) and numbers < OLDEST,
        evicts=policy if bounded and policy != "noeviction" else None,
    )
