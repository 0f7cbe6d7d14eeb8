"""Finding a connection by the token that its peer presents, and judging whether it may pass."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import models, router

from syncsessions.connections import clock, gate, tokens
from syncsessions.database import InThread
from syncsessions.exceptions import AccessRefused

if TYPE_CHECKING:
    from syncsessions.connections.models import Connection

    Base = models.Manager[Connection]
else:
    Base = models.Manager


class ConnectionManager(Base):
    """Every way in goes by a token: `authenticate` applies all rules, `identify` is for those who may learn that a
    link no longer is active."""

    def authenticate(
        self, token: object, *, direction: str | None, address: str | None, at: datetime | None = None
    ) -> Connection:
        """The connection whose peer this token was issued to.

        `direction` is this row's own, None for either; `address` the client's; `at` the moment that counts, now where
        none is given. Raises `AccessRefused` with the code of the first rule that refuses: invalid_token, not_active,
        expired, download_limit, record_limit, ip_not_allowed, outside_hours.
        """
        found = self.identify(token)
        if direction is not None and found.direction != direction:
            raise AccessRefused("invalid_token")
        moment = clock.now(self._alias()) if at is None else clock.as_kept(at)
        expired = found.expires_at is not None and found.expires_at <= moment
        code = gate.refusal(found, expired=expired, address=address, at=clock.in_utc(moment))
        if code is not None:
            raise AccessRefused(code)
        return found

    async def aauthenticate(
        self, token: object, *, direction: str | None, address: str | None, at: datetime | None = None
    ) -> Connection:
        found: Connection = await InThread(self.authenticate)(token, direction=direction, address=address, at=at)
        return found

    def identify(self, token: object) -> Connection:
        """The same whatever its status and rules. Raises `AccessRefused` (invalid_token).

        The first use of a token ends those that were issued before it, but for what a rotation offers just now.
        """
        from syncsessions.connections.models import ConnectionToken

        if not tokens.is_token(token):
            raise AccessRefused("invalid_token")
        digest = tokens.digest(str(token))
        rows = ConnectionToken.objects.using(self._alias())
        found = rows.select_related("connection").filter(token_hash=digest).first()
        if found is None or not hmac.compare_digest(found.token_hash, digest):
            raise AccessRefused("invalid_token")
        if found.used_at is None:
            now = clock.now(self._alias())
            rows.filter(pk=found.pk).update(used_at=now)
            # The peer may be about to take up one that it was just offered, however late that call came through.
            under_way = models.Q(offered=True, created_at__gt=now - tokens.UNDER_WAY)
            rows.filter(connection_id=found.connection_id, pk__lt=found.pk).exclude(under_way).delete()
        return found.connection

    def _alias(self) -> str:
        """Where the writes go: a lagging replica does not know of a revocation yet."""
        return self._db or router.db_for_write(self.model)
