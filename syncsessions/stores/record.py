"""What a store gives back, and the rates that it counts by."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue
from syncsessions.json_values import JSON

_RATE = re.compile(r"([1-9][0-9]{0,8})/([smh])", re.ASCII)
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Record(NamedTuple):
    """A JSON record under an id. `data` is the reader's own copy, the times are aware, in UTC and the store's clock's.

    `life` is random per create; `revision` begins at 1 and grows by 1 with every replace.
    """

    namespace: str
    id: str
    life: str
    data: dict[str, JSON]
    revision: int
    created_at: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        # Ids can be codes, and data anything: neither belongs in a log.
        return f"<Record in {self.namespace} life={self.life} revision={self.revision}>"


class Rate(NamedTuple):
    """At most `most` in any `window` seconds."""

    most: int
    window: float


@lru_cache(maxsize=256)
def parse_rate(text: str) -> Rate:
    """A rate like "100/m". Raises `InvalidValue` for what is none."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InvalidValue(_("%(rate)r is not a rate: write “100/m”, with s, m or h.") % {"rate": text})
    return Rate(int(found[1]), _SECONDS[found[2]])


def moment(seconds: float) -> datetime:
    """A store's clock reading, seconds since 1970, as records show it."""
    return datetime.fromtimestamp(seconds, UTC)
