"""The stash in a project's own Channels consumers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from syncsessions import doorbell
from syncsessions.exceptions import StoreUnavailable
from syncsessions.json_values import JSON, judge
from syncsessions.stash import announce
from syncsessions.stash.view import Recovery, ViewStash

logger = logging.getLogger("syncsessions.stash")


class StashConsumerMixin:
    """For async consumers: `self.stash`, live. Call `recover_stash` in `connect`, `save_stash` when something changed.

    `stash_changed` is told what others (tabs, devices of the user, the server) have written. A store that fails never
    ends the socket: it is logged.
    """

    stash_class: type[ViewStash]
    scope: dict[str, Any]
    channel_layer: Any
    channel_name: str
    _stash_values: dict[str, JSON] = {}
    _stash_group: str | None = None

    @cached_property
    def stash(self) -> ViewStash:
        return self.stash_class.for_scope(self.scope, self.get_stash_tab())

    def get_stash_tab(self) -> str | None:
        """The tab's id, where RECONNECT keys are used; the page must say it, for instance in the socket's path."""
        return None

    async def recover_stash(self, reconnected: bool = False) -> Recovery:
        """What the stash holds; from now on `stash_changed` is called when another writer changes it."""
        await self._listen()
        recovery = await self.stash.arecover(reconnected)
        self._stash_values = recovery.values
        return recovery

    async def save_stash(self, values: Mapping[str, JSON]) -> bool:
        """Save; False (and a log entry) where the store failed."""
        try:
            await self.stash.asave(values)
        except StoreUnavailable:
            logger.exception("The stash did not take a write; the socket goes on without it")
            return False
        saved, _text = judge({key: values[key] for key in values if key in self.stash.lifetimes}, lambda error: None)
        self._stash_values = {**self._stash_values, **saved}
        return True

    async def reset_stash(self) -> bool:
        """Remove the stash; False (and a log entry) where the store failed."""
        try:
            await self.stash.areset()
        except StoreUnavailable:
            logger.exception("The stash could not be removed; the socket goes on")
            return False
        self._stash_values = {}
        return True

    async def stash_changed(self, values: dict[str, JSON]) -> None:
        """Override: all recovered values, after another writer changed some or removed the slice."""

    async def stash_rung(self, event: Mapping[str, Any]) -> None:
        """The doorbell's handler: reads the truth where the ring tells of a write that this consumer has not made."""
        if not self.stash.hears(event):
            return
        recovery = await self.stash.arecover(reconnected=True)
        if recovery.status != "error" and recovery.values != self._stash_values:
            self._stash_values = recovery.values
            await self.stash_changed(recovery.values)

    async def websocket_disconnect(self, message: Mapping[str, Any]) -> None:
        if self._stash_group is not None:
            group, self._stash_group = self._stash_group, None
            try:
                await self.channel_layer.group_discard(group, self.channel_name)
            except Exception:
                logger.debug("A consumer could not leave its group", exc_info=True)
        await super().websocket_disconnect(message)  # type: ignore[misc]

    async def _listen(self) -> None:
        owner = await self.stash.session.apeek()
        if owner is None or self.channel_layer is None:
            return
        doorbell.listen()
        try:
            await self.channel_layer.group_add(announce.group(owner), self.channel_name)
            self._stash_group = announce.group(owner)
        except Exception:
            logger.exception("The channel layer did not take a consumer into its group; the stash is not live")
