"""`StashSession`: the stash of one browser session or user, a slice for each view."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from syncsessions import conf
from syncsessions.digests import text_hash
from syncsessions.exceptions import InvalidValue, StoreUnavailable
from syncsessions.json_values import JSON, check_text, judge, size
from syncsessions.stash import announce, owners
from syncsessions.stash.models import StashSlice
from syncsessions.stash.rotation import adopt
from syncsessions.stash.rows import SLICE_LIMIT, Owner, Place, Removed, Row, Slice, Which, Write, Written
from syncsessions.stash.sql import new_life, run
from syncsessions.stash.sql.base import Statements

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

logger = logging.getLogger("syncsessions.stash")

VIEW_LENGTH = TAB_LENGTH = 200
VIEW_NAME, TAB_ID = gettext_lazy("A view's name"), gettext_lazy("A tab's id")
LARGEST_VSN = 2**31 - 1
Found = TypeVar("Found", bound=Owner | None)
SEEN_GRAIN = timedelta(days=1)


class StashSession:
    """Durable state of one browser session (or user): JSON values under keys, a slice for each view and version.

    Each write is one atomic statement, acknowledged when committed: writers of different keys all keep theirs, of the
    same key the last one wins. Every method but the constructors may raise `StoreUnavailable`.
    """

    slice_limit = SLICE_LIMIT
    """Bytes of JSON (UTF-8, as `json.dumps` writes it) that one slice may have."""

    def __init__(self, session_id: str) -> None:
        """The session with this id, as `request.session_id` gives it. Raises `InvalidSessionId`."""
        self._source: owners.OwnerSource = owners.KnownOwner(owners.owner_of_session(session_id))
        self._owner: Owner | None = None

    @classmethod
    def of_source(cls, source: owners.OwnerSource) -> Self:
        """The stash of whoever the source says, once it is asked."""
        session = cls.__new__(cls)
        session._source, session._owner = source, None
        return session

    @classmethod
    def for_request(cls, request: Any) -> Self:
        """The request's browser session; it is looked up when first needed, and made by the first write."""
        return cls.of_source(owners.request_owner(request))

    @classmethod
    def for_scope(cls, scope: Mapping[str, Any]) -> Self:
        """A socket's session: `scope["session_id"]`, else its Django session. Without: `InvalidSessionId`."""
        return cls.of_source(owners.scope_owner(scope))

    @classmethod
    def for_user(cls, user: AbstractBaseUser | AnonymousUser) -> Self:
        """The stash of a user: outlives logout, follows the person. Anonymous: writes raise `AccessRefused`."""
        return cls.of_source(owners.UserOwner(lambda: user))

    @classmethod
    def for_owner(cls, owner: Owner) -> Self:
        """The stash of an owner found in the table (the admin's way in)."""
        return cls.of_source(owners.KnownOwner(owner))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def merge(self, view: str, changes: Mapping[str, JSON], vsn: int = 1, tab: str = "") -> int:
        """Set each key of `changes` in the view's slice; its new revision. Raises `InvalidValue`, nothing written."""
        return self.write(view, vsn, {tab: changes})[tab].revision

    def drop(self, view: str, keys: Iterable[str], vsn: int | None = None, tab: str = "") -> None:
        """Remove keys from the slice at `vsn`, else from the one written last. What is not there is ignored."""
        owner = self.peek()
        names = [key for key in ([keys] if isinstance(keys, str) else keys) if _storable(key)]
        check_names(view, tab, vsn)
        if owner is None or not names:
            return

        def work(connection: BaseDatabaseWrapper, statements: Statements) -> None:
            dropped = statements.drop(connection, owner, view, tab, vsn, names)
            if dropped is not None:
                announce.written(connection.alias, Place(owner, view, dropped[0]), [dropped[1]])

        run(work)

    def get_view(self, view: str, vsn: int | None = None, tab: str = "") -> dict[str, JSON]:
        """The view's values at `vsn`, else as written last; `{}` when never stashed."""
        found = self.fetch_view(view, vsn, tab)
        return {} if found is None else found.data

    def fetch_view(self, view: str, vsn: int | None = None, tab: str = "") -> Slice | None:
        """The view's slice at `vsn`, else the one written last; None when never stashed."""
        check_names(view, tab, vsn)
        rows = self.rows(view, [tab], vsn)
        if not rows:
            return None
        row = max(rows, key=lambda row: row.written)
        return Slice(view, row.vsn, row.data, row.revision, row.last_seen_at)

    def reset_view(self, view: str) -> None:
        """Remove every slice of the view: all tabs, all versions."""
        check_names(view)
        self.remove(view=view)

    def views(self) -> list[str]:
        """The names of the views that have a slice, sorted."""
        owner = self.peek()
        if owner is None:
            return []
        return run(lambda connection, _s: sorted(set(_slices(connection, owner).values_list("view", flat=True))))

    def destroy(self) -> None:
        """Remove everything that this session (or user) has stashed."""
        self.remove()

    async def amerge(self, view: str, changes: Mapping[str, JSON], vsn: int = 1, tab: str = "") -> int:
        return await sync_to_async(self.merge)(view, changes, vsn, tab)

    async def adrop(self, view: str, keys: Iterable[str], vsn: int | None = None, tab: str = "") -> None:
        await sync_to_async(self.drop)(view, keys, vsn, tab)

    async def aget_view(self, view: str, vsn: int | None = None, tab: str = "") -> dict[str, JSON]:
        return await sync_to_async(self.get_view)(view, vsn, tab)

    async def afetch_view(self, view: str, vsn: int | None = None, tab: str = "") -> Slice | None:
        return await sync_to_async(self.fetch_view)(view, vsn, tab)

    async def areset_view(self, view: str) -> None:
        await sync_to_async(self.reset_view)(view)

    async def aviews(self) -> list[str]:
        return await sync_to_async(self.views)()

    async def adestroy(self) -> None:
        await sync_to_async(self.destroy)()

    # What the rest of the room builds on.

    def peek(self) -> Owner | None:
        """Whose stash it is, if there is anybody yet; the first call moves rows from under older secret keys."""
        if self._owner is None:
            self._owner = _asked(self._source.peek)
            self._adopt()
        return self._owner

    async def apeek(self) -> Owner | None:
        return await sync_to_async(self.peek)()

    def ensure(self) -> Owner:
        """Whose stash it is, a new browser session where there was none."""
        # Asked again though it was seen: only this keeps a derived id inside the session's data, and after a logout
        # the session is another one.
        owner = _asked(self._source.ensure)
        if self._owner is None or self._owner.hash != owner.hash:
            self._owner = owner
            self._adopt()
        return owner

    def _adopt(self) -> None:
        if self._owner is not None and self._owner.former:
            adopt(self._owner)

    def write(
        self,
        view: str,
        vsn: int,
        by_tab: Mapping[str, Mapping[str, JSON]],
        *,
        limit: int | None = None,
        under: bool = False,
    ) -> dict[str, Written]:
        """Merge changes into (or, keeping what is there, under) the slices of one or two tabs in one statement."""
        limit = self.slice_limit if limit is None else limit
        writes = []
        for tab, changes in by_tab.items():
            check_names(view, tab, vsn)
            writes.append(judged_write(tab, changes, limit))
        place = Place(self.ensure(), view, vsn)

        def work(connection: BaseDatabaseWrapper, statements: Statements) -> list[Written]:
            done = statements.merge(connection, place, writes, limit, under=under)
            announce.written(connection.alias, place, done)
            return done

        return {written.tab: written for written in run(work, limit)}

    def rows(self, view: str, tabs: Sequence[str], vsn: int | None = None) -> list[Row]:
        """The stored slices of these tabs, of all versions or of one."""
        owner = self.peek()
        if owner is None:
            return []

        return run(lambda connection, statements: statements.read(connection, owner, Which(view, tabs, vsn)))

    def all_rows(self) -> list[Row]:
        """Every slice of the owner."""
        owner = self.peek()
        return [] if owner is None else run(lambda connection, statements: statements.read(connection, owner, Which()))

    def remove(self, **which: Any) -> list[Removed]:
        """Remove the owner's slices that `Which` means by these arguments, and tell it."""
        owner = self.peek()
        if owner is None:
            return []

        def work(connection: BaseDatabaseWrapper, statements: Statements) -> list[Removed]:
            gone = statements.remove(connection, owner, Which(**which))
            announce.removed(connection.alias, owner, gone)
            return gone

        return run(work)

    def see(self, view: str, vsn: int, rows: Iterable[Row]) -> None:
        """Move `last_seen_at` of rows that nobody has seen for a day, so that who only reads is not pruned."""
        owner = self.peek()
        now = timezone.now()
        tabs = [row.tab for row in rows if now - row.last_seen_at > SEEN_GRAIN]
        if owner is None or not tabs:
            return

        def work(connection: BaseDatabaseWrapper, _statements: Statements) -> None:
            hashes = [text_hash(tab) for tab in tabs]
            found = _slices(connection, owner).filter(view_hash=text_hash(view), vsn=vsn, tab_hash__in=hashes)
            found.update(last_seen_at=now)

        run(work)


def check_names(view: object, tab: object = "", vsn: object = None) -> None:
    """Raise `InvalidValue` unless these can name a slice."""
    check_text(view, VIEW_NAME, VIEW_LENGTH)
    check_text(tab, TAB_ID, TAB_LENGTH)
    if vsn is not None and (isinstance(vsn, bool) or not isinstance(vsn, int) or not 0 <= vsn <= LARGEST_VSN):
        raise InvalidValue(_("A version (vsn) must be a whole number from 0 to %(most)d.") % {"most": LARGEST_VSN})


def judged_write(tab: str, changes: Mapping[str, JSON], limit: int, *, strict: bool = False) -> Write:
    """The changes as JSON text. Raises `InvalidValue`, but (unless strict) where the project says "skip"."""
    if not isinstance(changes, Mapping):
        raise InvalidValue(_("The changes must be a mapping of keys to values."))
    skip: Callable[[InvalidValue], object] | None = None
    if not strict and conf.current().STASH_INVALID_VALUE == "skip":
        skip = lambda error: logger.error("Not stashed: %s", error)  # noqa: E731
    _values, text = judge(changes, skip)
    if size(text) > limit:
        message = _("The slice would be larger than %(limit)d bytes; nothing was written.")
        raise InvalidValue(message % {"limit": limit}, limit=limit)
    return Write(tab, text, new_life())


def _asked(ask: Callable[[], Found]) -> Found:
    """Who it is stands in a database too: in the session's, or the user's."""
    try:
        return ask()
    except Error as error:
        raise StoreUnavailable from error


def _slices(connection: BaseDatabaseWrapper, owner: Owner) -> Any:
    return StashSlice.objects.using(connection.alias).filter(owner=owner.hash)


def _storable(key: object) -> bool:
    """A key that could not have been stashed is unknown, and no database need hear of it."""
    try:
        check_text(key, "", LARGEST_VSN)
    except InvalidValue:
        return False
    return True
