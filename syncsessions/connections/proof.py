"""The proof that an address is its bearer's: the site there knows the token that was offered in its name."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from syncsessions.connections import calls, flow
from syncsessions.exceptions import InvalidValue, RateLimited, SiteUnavailable
from syncsessions.stores import stores

AT_ONCE = 32  # proofs that one process waits for
SLOW = 2.0  # seconds from which a proof has kept a thread of this site for long
SLOW_RATE = "20/h"  # of those, for one client address

_turns = threading.BoundedSemaphore(AT_ONCE)


@sensitive_variables("token")
def prove(site_url: str, token: str, *, key: str, own: Sequence[str], client: str | None = None) -> None:
    """Ask the site whether it knows a link by this token, with this site (`own` are its addresses), that is not over.

    Raises `InvalidValue`, naming the field `key`, with one text for whatever is wrong: who asks learns nothing of what
    this site can reach; and `RateLimited` where too many calls, or too many for this client, took their time.
    """
    with _turn(client):
        try:
            answer = calls.call("GET", site_url, "api/status", token=token, asking=" ".join(own) or None)
        except SiteUnavailable:
            raise _refused(key, own) from None
        link = answer.fields.get("connection")
        if answer.status != 200 or not isinstance(link, dict) or link.get("exists") is not True:
            raise _refused(key, own)
        if link.get("status") in flow.FINAL:
            raise _refused(key, own)


@contextmanager
def _turn(client: str | None) -> Iterator[None]:
    """One of the calls that may be waited for: counted first and, unless it is slow, given back."""
    if not _turns.acquire(blocking=False):
        raise RateLimited(retry_after=calls.WITHIN)
    try:
        store, key = stores["default"], f"connections.proving:{client}"
        hit = None if client is None else store.hit(key, SLOW_RATE)
        began = time.monotonic()
        try:
            yield
        finally:
            if hit is not None and time.monotonic() - began < SLOW:
                store.unhit(key, hit)
    finally:
        _turns.release()


def _refused(key: str, own: Sequence[str]) -> InvalidValue:
    message = _(
        "The site at this address did not confirm the link. Check the address, that it can be reached, and that it "
        "was given this site's as %(site)s."
    )
    return InvalidValue(message % {"site": own[0] if own else "?"}, key=key)
