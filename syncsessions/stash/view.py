"""`ViewStash`: the keys that one view stashes, declared once, recovered and saved as a whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Literal, NamedTuple, Self

from asgiref.sync import sync_to_async

from syncsessions.exceptions import InvalidValue, StoreUnavailable, SyncSessionsError
from syncsessions.json_values import JSON
from syncsessions.signals import emit, stash_recovered
from syncsessions.stash import latest, owners
from syncsessions.stash.knowledge import Knowledge
from syncsessions.stash.rows import Row, Written
from syncsessions.stash.session import StashSession, check_names
from syncsessions.stash.sql import database_alias, spare_the_transaction

logger = logging.getLogger("syncsessions.stash")

TAB_HEADER = "X-Syncsessions-Tab"
Status = Literal["recovered", "not_found", "error"]


class Lifetime(StrEnum):
    """How long a key's value lasts."""

    SESSION = "session"
    RECONNECT = "reconnect"


SESSION = Lifetime.SESSION
RECONNECT = Lifetime.RECONNECT


class Recovery(NamedTuple):
    """What `recover` found; `values` is empty unless the status is "recovered"."""

    status: Status
    values: dict[str, JSON]


class ViewStash:
    """Declares what a view stashes. An instance belongs to one page: one request, or one socket.

    `keys` maps names to SESSION (back on every visit) or RECONNECT (one tab's task: back when that tab rejoins the
    page, cleared by its fresh visit); a list means all SESSION. `client_keys` is what a browser may read and write.
    """

    view: ClassVar[str] = ""
    """The slice's name; the dotted path of the class where none is given."""
    vsn: ClassVar[int] = 1
    """The version of the keys' shape. Slices of other versions are not touched."""
    keys: ClassVar[Mapping[str, Lifetime] | Iterable[str]] = ()
    client_keys: ClassVar[Iterable[str] | Literal["__all__"]] = ()
    owner: ClassVar[Literal["session", "user"]] = "session"
    slice_limit: ClassVar[int] = StashSession.slice_limit
    """Bytes of JSON that one slice may have."""

    lifetimes: ClassVar[dict[str, Lifetime]] = {}
    """The declared keys, whichever way `keys` was written."""
    _view_given: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("view"):
            cls._view_given = True
        elif not cls._view_given:
            cls.view = f"{cls.__module__}.{cls.__qualname__}"
        cls.lifetimes = (
            {key: Lifetime(lifetime) for key, lifetime in cls.keys.items()}
            if isinstance(cls.keys, Mapping)
            else dict.fromkeys(cls.keys, SESSION)
        )
        declared[cls.view] = cls

    def __init__(self, session: StashSession, tab: str | None = None) -> None:
        self.session = session
        self.tab = tab or ""
        self._known: dict[str, Knowledge] = {}
        self._kept_back = False
        self._found = False

    @classmethod
    def for_request(cls, request: Any, tab: str | None = None) -> Self:
        """The stash of this request's browser session (or user). The tab's id: `tab`, else the module's header.

        An id that cannot be a tab's counts as none: it is the client's word.
        """
        source = owners.request_owner(request)
        if cls.owner == "user":
            source = owners.UserOwner(lambda: getattr(request, "user", None))
        tab = tab or request.headers.get(TAB_HEADER)
        return cls(StashSession.of_source(source), tab if _can_be_tab(tab) else None)

    @classmethod
    def for_scope(cls, scope: Mapping[str, Any], tab: str | None = None) -> Self:
        """The stash of a socket's browser session (or user)."""
        source = owners.scope_owner(scope)
        if cls.owner == "user":
            source = owners.UserOwner(lambda: scope.get("user"))
        return cls(StashSession.of_source(source), tab if _can_be_tab(tab) else None)

    def migrate(self, old_vsn: int, data: dict[str, JSON]) -> Mapping[str, JSON] | None:
        """Values of this version out of an older slice's. None, the default: begin with nothing."""
        return None

    def recover(self, reconnected: bool = False) -> Recovery:
        """What is stashed for this page, of the declared keys. Never raises: a store that fails gives "error".

        With a tab, `reconnected=False` is its fresh visit: its RECONNECT keys are cleared. Without, they stay, hidden.
        """
        started = time.perf_counter() if stash_recovered.receivers else 0.0
        try:
            with spare_the_transaction():
                found = self._recover(reconnected)
        except SyncSessionsError:
            logger.exception("The stash of %s could not be recovered", self.view)
            found = Recovery("error", {})
        if stash_recovered.receivers:
            duration = time.perf_counter() - started
            emit(stash_recovered, type(self), view=self.view, status=found.status, duration=duration)
        return found

    def save(self, values: Mapping[str, JSON]) -> None:
        """Save the declared keys among `values`, but for those that the store is known to hold.

        Raises `InvalidValue`, `StoreUnavailable`, and for a user's stash without a user `AccessRefused`.
        """
        if self._kept_back:
            logger.warning("Not saved: what an older version of %s holds could not be migrated", self.view)
            return
        by_tab: dict[str, dict[str, JSON]] = {}
        for key, value in values.items():
            if key in self.lifetimes:
                by_tab.setdefault(self.tab_of(key), {})[key] = value
        changed = {tab: kept for tab, given in by_tab.items() if (kept := self._changed(tab, given))}
        if changed:
            self._write(changed)

    def reset(self) -> None:
        """Remove this page's stash, all versions of it; other tabs keep their RECONNECT keys."""
        self.session.remove(view=self.view, tabs=self._tabs())
        self._known.clear()
        self._kept_back = False

    async def arecover(self, reconnected: bool = False) -> Recovery:
        return await sync_to_async(self.recover)(reconnected)

    async def asave(self, values: Mapping[str, JSON]) -> None:
        await sync_to_async(self.save)(values)

    async def areset(self) -> None:
        await sync_to_async(self.reset)()

    # What the rest of the room builds on.

    @classmethod
    def client_lifetimes(cls) -> dict[str, Lifetime]:
        """The declared keys that a browser may read and write."""
        if cls.client_keys == "__all__":
            return cls.lifetimes
        return {key: cls.lifetimes[key] for key in cls.client_keys if key in cls.lifetimes}

    def tab_of(self, key: str) -> str:
        """The tab whose slice holds the key."""
        return self.tab if self.lifetimes[key] is RECONNECT else ""

    def hears(self, ring: Mapping[str, Any]) -> bool:
        """Take note of a ring; whether it tells of a write to this page's slices that the page does not know."""
        key = latest.SliceKey(ring["owner"], ring["view"], ring["vsn"], ring["tab"])
        latest.note(key, ring["life"] if ring["revision"] else "", ring["revision"])
        if key.tab not in self._tabs() or key != self._slice_key(key.tab):
            return False
        known = self._known.get(key.tab)
        return known is None or known.is_outdated()

    def find(self, reconnected: bool) -> dict[str, Row]:
        """This version's slices of this page by tab, an older version's values carried over where there are none.

        Raises what the store raises, and `NotCarriedOver`.
        """
        heard = self._heard()
        rows = self.session.rows(self.view, self._tabs())
        if self.tab and not reconnected and any(row.tab for row in rows):
            self.session.remove(view=self.view, tabs=[self.tab])
            rows = [row for row in rows if not row.tab]
        own = {row.tab: row for row in rows if row.vsn == self.vsn}
        older = [row for row in rows if row.vsn < self.vsn and row.tab not in own]
        if older and self._carry_over(max(older, key=lambda row: row.written).vsn, rows, own):
            heard = self._heard()
            rows = self.session.rows(self.view, self._tabs(), self.vsn)
            own = {row.tab: row for row in rows}
        self.session.see(self.view, self.vsn, own.values())
        self._found = True
        self._know(own, heard)
        return own

    def _recover(self, reconnected: bool) -> Recovery:
        try:
            own = self.find(reconnected)
        except NotCarriedOver:
            logger.exception("An older version of the stash of %s could not be migrated", self.view)
            return Recovery("error", {})
        values: dict[str, JSON] = {}
        shown = bool(own)
        for key, lifetime in self.lifetimes.items():
            row = own.get(self.tab_of(key))
            if row is not None and key in row.data:
                if reconnected or lifetime is SESSION:
                    values[key] = row.data[key]
                else:
                    shown = False
        return Recovery("recovered", values) if values or shown else Recovery("not_found", {})

    def _carry_over(self, old_vsn: int, rows: Iterable[Row], own: Mapping[str, Row]) -> bool:
        """Write what `migrate` makes of the older slices, for the tabs that have none of this version yet."""
        data: dict[str, JSON] = {}
        for row in sorted(rows, key=lambda row: row.tab):
            if row.vsn == old_vsn:
                data |= row.data
        by_tab: dict[str, dict[str, JSON]] = {}
        try:
            for key, value in (self.migrate(old_vsn, data) or {}).items():
                if key in self.lifetimes and self.tab_of(key) not in own:
                    by_tab.setdefault(self.tab_of(key), {})[key] = value
            if by_tab:
                # Under what is there: another request may have carried over and saved since the rows were read.
                self.session.write(self.view, self.vsn, by_tab, limit=self.slice_limit, under=True)
        except StoreUnavailable:
            raise
        except Exception as error:  # of the project's code, or a result that cannot be stored
            self._kept_back = True
            raise NotCarriedOver(old_vsn) from error
        return bool(by_tab)

    def _write(self, changed: Mapping[str, Mapping[str, JSON]]) -> None:
        heard = self._heard()
        written = self.session.write(self.view, self.vsn, changed, limit=self.slice_limit)
        made = [each for each in written.values() if each.revision == 1]
        if made and not self._found and type(self).migrate is not ViewStash.migrate and not self._uncover(made):
            return
        alias = database_alias()
        for tab, values in changed.items():
            known = self._known.setdefault(tab, Knowledge())
            mark = latest.Mark(written[tab].life, written[tab].revision)
            known.wrote(alias, self._slice_key(tab), mark, values, heard[tab])

    def _uncover(self, made: Iterable[Written]) -> bool:
        """Carry an older version over, under slices that a save has made unseen and that would hide it for ever.

        Where it cannot be carried over, the new slices go again: False.
        """
        lives = {each.tab: each.life for each in made}
        rows = self.session.rows(self.view, list(lives))
        older = [row for row in rows if row.vsn < self.vsn]
        try:
            if older:
                self._carry_over(max(older, key=lambda row: row.written).vsn, rows, {})
        except NotCarriedOver:
            logger.exception("Not saved: what an older version of %s holds could not be migrated", self.view)
            for tab, life in lives.items():
                self.session.remove(view=self.view, tabs=[tab], vsn=self.vsn, life=life)
            return False
        return True

    def _changed(self, tab: str, values: Mapping[str, JSON]) -> dict[str, JSON]:
        known = self._known.get(tab)
        if known is None:
            return dict(values)
        return {key: value for key, value in values.items() if not known.holds(key, value)}

    def _know(self, own: Mapping[str, Row], heard: Mapping[str, latest.Mark | None]) -> None:
        alias = database_alias()
        for tab, row in own.items():
            mark = latest.Mark(row.life, row.revision)
            self._known[tab] = Knowledge.of(alias, self._slice_key(tab), mark, row.data, heard[tab])

    def _heard(self) -> dict[str, latest.Mark | None]:
        """What this process knows of the slices before it reads or writes them: news after that speak against it."""
        return {tab: latest.mark(self._slice_key(tab)) for tab in self._tabs()}

    def _slice_key(self, tab: str) -> latest.SliceKey:
        owner = self.session.peek()
        return latest.SliceKey(owner.hash if owner else "", self.view, self.vsn, tab)

    def _tabs(self) -> list[str]:
        return ["", self.tab] if self.tab else [""]


def _can_be_tab(tab: str | None) -> bool:
    try:
        check_names("", tab or "")
    except InvalidValue:
        return False
    return True


class NotCarriedOver(Exception):
    """`migrate` raised: what an older version holds stays where it is, and nothing may hide it."""


declared: dict[str, type[ViewStash]] = {}
"""The declared stashes by view; the class declared last stands for its view."""
