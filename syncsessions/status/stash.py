"""How large the stash is, at a price that does not grow with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.db.models import Count, Max

from syncsessions.stash.models import StashSlice
from syncsessions.stash.sql import database_alias

SAMPLE = 10_000  # rows


@dataclass(frozen=True)
class StashStatus:
    """`slices` and `owners` (browser sessions and users) are rounded estimates where `estimated`; None: not known."""

    database: str
    slices: int | None = None
    owners: int | None = None
    estimated: bool = False
    error: str | None = None


def ask_stash() -> StashStatus:
    """Raises Django's database errors.

    Owners are hashes, spread evenly: how far into them the first rows of the index reach tells how many there are.
    (The k-minimum-values estimate of Bar-Yossef and others, 2002; off by 1 % for 10,000 owners in the sample.)
    """
    alias = database_alias()
    index = StashSlice.objects.using(alias).order_by("owner").values("owner")[: SAMPLE + 1]
    found = index.aggregate(rows=Count("owner"), owners=Count("owner", distinct=True), last=Max("owner"))
    slices, owners, estimated = found["rows"], found["owners"], found["rows"] > SAMPLE
    if estimated:
        reached = (int(found["last"][:12], 16) + 1) / 16**12
        slices, owners = _rounded(slices / reached), _rounded(owners / reached)
    return StashStatus(alias, slices, owners, estimated)


def _rounded(number: float) -> int:
    """To two figures."""
    return int(round(number, 1 - int(math.log10(number))))
