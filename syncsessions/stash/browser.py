"""What a browser may do with its stash, whichever way its frames come: subscribe, save, clear what a view declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.urls import get_resolver
from django.utils import timezone
from django.utils.translation import gettext as _

from syncsessions import conf
from syncsessions.exceptions import AccessRefused, Conflict, FrameError, InvalidValue, SyncSessionsError
from syncsessions.frames import Frame, error_frame, ref_of
from syncsessions.json_values import JSON
from syncsessions.stash import announce, owners
from syncsessions.stash.rows import Owner, Place, Row, Which, Write, Written
from syncsessions.stash.session import SEEN_GRAIN, StashSession, check_names, judged_write
from syncsessions.stash.sql import run
from syncsessions.stash.sql.base import Statements
from syncsessions.stash.view import RECONNECT, Lifetime, NotCarriedOver, ViewStash, declared

MOST_SLICES = 100
MOST_VIEWS = 50  # in one subscribe frame


class SliceName(NamedTuple):
    """A slice as the wire names it."""

    view: str
    vsn: int
    tab: str


@dataclass(frozen=True)
class Access:
    """What a browser may do with one view: read and write the keys in `lifetimes`; any key where that is None."""

    view: str
    stash_class: type[ViewStash] | None
    lifetimes: Mapping[str, Lifetime] | None

    def keys_of(self, tab: str, page_tab: str) -> list[str] | None:
        """The keys of a tab's slice that a browser may read and write; None for any."""
        if self.lifetimes is None:
            return None
        return [key for key, lifetime in self.lifetimes.items() if tab == (page_tab if lifetime is RECONNECT else "")]


class Browser:
    """One browser's way to its stash. `session` is its session's stash, `user` that of who is logged in."""

    def __init__(self, session: StashSession, user: StashSession) -> None:
        self._session = session
        self._user = user

    @classmethod
    def of_request(cls, request: Any) -> Browser:
        user = owners.UserOwner(lambda: getattr(request, "user", None))
        return cls(StashSession.for_request(request), StashSession.of_source(user))

    @classmethod
    def of_scope(cls, scope: Mapping[str, Any]) -> Browser:
        return cls(StashSession.for_scope(scope), StashSession.of_source(owners.UserOwner(lambda: scope.get("user"))))

    def owners(self) -> list[Owner]:
        """Whose writes concern this browser."""
        return [owner for owner in (self._session.peek(), self._user.peek()) if owner is not None]

    def destroy_session(self) -> None:
        """Remove all that the browser session has stashed; a user's stash stays."""
        self._session.destroy()

    def answer(self, frame: Frame) -> list[Frame]:
        """The answers to a frame; what is wrong with it is the answer too. Raises nothing of ours."""
        handlers: dict[JSON, Callable[[Frame], list[Frame]]] = {
            "stash.subscribe": self.subscribe,
            "stash.save": self.save,
            "stash.clear": self.clear,
        }
        try:
            handler = handlers.get(frame.get("type"))
            if handler is None:
                raise FrameError("unknown_type")
            return handler(frame)
        except SyncSessionsError as error:
            return [error_frame(error, frame)]

    def subscribe(self, frame: Frame) -> list[Frame]:
        """`stash.changed` for each slice there is, an `error` for each view refused, then `stash.subscribed`."""
        entries = frame.get("views")
        if not isinstance(entries, list) or len(entries) > MOST_VIEWS:
            raise FrameError("bad_frame", _("“views” lists at most %(most)d views.") % {"most": MOST_VIEWS})
        told: list[Frame] = []
        views: list[JSON] = []
        for entry in _without_repeats(entries):
            try:
                followed, changed = self._subscribe(entry)
            except SyncSessionsError as error:
                view = entry.get("view") if isinstance(entry, dict) else None
                told.append(error_frame(error, frame) | ({"view": view} if isinstance(view, str) else {}))
            else:
                told += changed
                views.append(followed)
        return [*told, {"type": "stash.subscribed", **ref_of(frame), "views": views}]

    def _subscribe(self, entry: object) -> tuple[Frame, list[Frame]]:
        if not isinstance(entry, dict):
            raise FrameError("bad_frame", _("Each of “views” is an object."))
        access, name = _addressed(entry)
        tabs = ["", name.tab] if name.tab else [""]
        slices = [(tab, access.keys_of(tab, name.tab)) for tab in tabs]
        slices = [(tab, keys) for tab, keys in slices if keys is None or keys]
        rows = self._look(access, name, fresh=entry.get("fresh") is True)
        changed = [
            changed_frame(SliceName(name.view, name.vsn, tab), rows[tab], keys) for tab, keys in slices if tab in rows
        ]
        told = [{"tab": tab, "keys": keys} for tab, keys in slices]
        return {"view": name.view, "vsn": name.vsn, "slices": told}, changed

    def _look(self, access: Access, name: SliceName, *, fresh: bool) -> dict[str, Row]:
        """The slices by tab; a fresh visit clears its tab's, and an older version is carried over."""
        stash_class = access.stash_class
        if stash_class is not None and stash_class.vsn == name.vsn:
            try:
                return stash_class(self._stash(access), name.tab).find(reconnected=not fresh)
            except NotCarriedOver:
                raise _not_carried_over() from None
        stash = self._stash(access)
        if fresh and name.tab:
            stash.remove(view=name.view, tabs=[name.tab], vsn=name.vsn)
        tabs = ["", name.tab] if name.tab else [""]
        return {row.tab: row for row in stash.rows(name.view, tabs, name.vsn)}

    def look(self, name: SliceName) -> Row | None:
        """A slice as it is now."""
        rows = self._stash(access_to(name.view)).rows(name.view, [name.tab], name.vsn)
        return rows[0] if rows else None

    def save(self, frame: Frame) -> list[Frame]:
        """`stash.saved`. Raises `AccessRefused`, `InvalidValue`, `Conflict` (the life that `base` names is gone)."""
        access, name = _addressed(frame)
        changes = frame.get("changes")
        if not isinstance(changes, dict):
            raise FrameError("bad_frame", _("“changes” is an object of keys and values."))
        name = name._replace(tab=_tab_of(access, name.tab, changes))
        limit = (access.stash_class or StashSession).slice_limit
        write = judged_write(name.tab, changes, limit, strict=True)
        life = _base_life(frame)
        written = self._update_or_create(access, name, write, limit, life)
        if written is None:
            raise Conflict(_("This was cleared meanwhile. Read it again."))
        return [{"type": "stash.saved", **ref_of(frame), **_told(name, written.life, written.revision)}]

    def _update_or_create(
        self, access: Access, name: SliceName, write: Write, limit: int, life: str | None
    ) -> Written | None:
        stash = self._stash(access)
        owner = stash.ensure() if life is None else stash.peek()
        if owner is None:
            return None
        place = Place(owner, name.view, name.vsn)

        def update(connection: BaseDatabaseWrapper, statements: Statements) -> Written | None:
            done = statements.update(connection, place, write, limit, life)
            if done is not None:
                announce.written(connection.alias, place, [done])
            return done

        def create(connection: BaseDatabaseWrapper, statements: Statements) -> Written:
            done = statements.create(connection, place, write, limit, MOST_SLICES)
            if done is None and self._make_room(stash):
                done = statements.create(connection, place, write, limit, MOST_SLICES)
            if done is None:
                message = _("A browser may have %(most)d slices. Clear one first.") % {"most": MOST_SLICES}
                raise AccessRefused("not_allowed", message, limit=MOST_SLICES)
            announce.written(connection.alias, place, [done])
            return done

        written = run(update, limit)
        if written is None and life is None:
            self._look(access, name, fresh=False)  # a new slice would hide an older version from migration
            written = run(create, limit)
        return written

    def _make_room(self, stash: StashSession) -> bool:
        """Remove the drafts of a tab that has long been closed: the one of all the tabs' slices unseen for longest."""
        slices = [row for row in stash.all_rows() if row.tab and timezone.now() - row.last_seen_at > SEEN_GRAIN]
        if not slices:
            return False
        oldest = min(slices, key=lambda row: row.last_seen_at)
        return bool(stash.remove(tabs=[oldest.tab], life=oldest.life))

    def clear(self, frame: Frame) -> list[Frame]:
        """`stash.cleared`: what the browser may write in this slice is gone, and with it the slice's life."""
        access, name = _addressed(frame)
        keys, life = access.keys_of(name.tab, name.tab), _base_life(frame)
        row = self.look(name)
        while row is not None and life in (None, row.life) and not self._clear(access, name, row, keys):
            row = self.look(name)  # somebody wrote meanwhile
        return [{"type": "stash.cleared", **ref_of(frame), **_told(name, row.life if row else (life or ""))}]

    def _clear(self, access: Access, name: SliceName, row: Row, keys: Sequence[str] | None) -> bool:
        """Remove the slice as it was read, but for the server's own keys; False where it is another by now."""
        stash = self._stash(access)
        if keys is None:
            stash.remove(view=name.view, tabs=[name.tab], vsn=name.vsn, life=row.life)
            return True
        left = {key: value for key, value in row.data.items() if key not in keys}
        place = Place(stash.ensure(), name.view, name.vsn)
        limit = stash.slice_limit if access.stash_class is None else access.stash_class.slice_limit

        def work(connection: BaseDatabaseWrapper, statements: Statements) -> bool:
            with transaction.atomic(using=connection.alias):
                gone = statements.remove(
                    connection, place.owner, Which(name.view, [name.tab], name.vsn, row.life, row.revision)
                )
                announce.removed(connection.alias, place.owner, gone)
                if not gone:
                    return False
                if left:
                    write = judged_write(name.tab, left, limit)
                    announce.written(connection.alias, place, statements.merge(connection, place, [write], limit))
            return True

        return run(work, limit)

    def _stash(self, access: Access) -> StashSession:
        return self._user if access.stash_class is not None and access.stash_class.owner == "user" else self._session


def access_to(view: str) -> Access:
    """What a browser may do with the view. Raises `AccessRefused` not_allowed where nothing is declared."""
    stash_class = declared.get(view)
    if stash_class is None:
        # Declarations mostly stand in views.py, which a worker that has only served sockets has not imported yet.
        list(get_resolver().url_patterns)
        stash_class = declared.get(view)
    listed = view in conf.current().STASH_CLIENT_VIEWS
    if stash_class is None and listed:
        return Access(view, None, None)
    lifetimes = stash_class.client_lifetimes() if stash_class is not None else {}
    if stash_class is not None and listed and not lifetimes:
        lifetimes = stash_class.lifetimes
    if not lifetimes:
        raise AccessRefused("not_allowed", _("A browser may not read or write the stash of this view."))
    return Access(view, stash_class, lifetimes)


def changed_frame(name: SliceName, row: Row, keys: Sequence[str] | None) -> Frame:
    data = row.data if keys is None else {key: row.data[key] for key in keys if key in row.data}
    return {"type": "stash.changed", **_told(name, row.life, row.revision), "data": data}


def cleared_frame(name: SliceName, life: str) -> Frame:
    return {"type": "stash.cleared", **_told(name, life)}


def _addressed(entry: Mapping[str, JSON]) -> tuple[Access, SliceName]:
    """The slice that a frame, or an entry of its views, is about, and what may be done with it."""
    view, tab, vsn = entry.get("view"), entry.get("tab"), entry.get("vsn")
    tab = "" if tab is None else tab
    try:
        check_names(view, tab, vsn)
    except InvalidValue as error:
        raise FrameError("bad_frame", str(error)) from None
    assert isinstance(view, str) and isinstance(tab, str)  # noqa: S101 - said to mypy, checked above
    access = access_to(view)
    if not isinstance(vsn, int):
        vsn = access.stash_class.vsn if access.stash_class else 1
    return access, SliceName(view, vsn, tab)


def _without_repeats(entries: list[JSON]) -> list[JSON]:
    """Each slice is told once, however often it is asked for."""
    seen: dict[tuple[str, ...], JSON] = {}
    for entry in entries:
        named = entry if isinstance(entry, dict) else {}
        seen.setdefault(tuple(repr(named.get(part)) for part in ("view", "vsn", "tab")), entry)
    return list(seen.values())


def _tab_of(access: Access, page_tab: str, changes: Mapping[str, JSON]) -> str:
    """The tab whose slice takes the changes: a page may always name its tab, keys of the session go to no tab's."""
    own, shared = access.keys_of(page_tab, page_tab), access.keys_of("", page_tab)
    if own is None or shared is None:
        return page_tab
    refused = sorted(changes.keys() - set(own) - set(shared))
    if refused:
        message = _("A browser may not write %(keys)s here.") % {"keys": ", ".join(ascii(key) for key in refused[:5])}
        raise AccessRefused("not_allowed", message)
    if changes.keys() <= set(own):
        return page_tab
    if changes.keys() <= set(shared):
        return ""
    raise FrameError("bad_frame", _("Keys of the session and keys of the tab go in frames of their own."))


def _base_life(frame: Frame) -> str | None:
    """The life that the browser last saw; None where it has seen no slice yet."""
    base = frame.get("base")
    if base is None:
        return None
    life = base.get("life") if isinstance(base, dict) else 0
    if life is not None and not (isinstance(life, str) and life.isascii() and life.isprintable()):
        raise FrameError("bad_frame", _("“base” is an object with the life and revision last seen."))
    return life or None


def _not_carried_over() -> Conflict:
    return Conflict(_("What an older version of this page stashed could not be carried over; nothing was changed."))


def _told(name: SliceName, life: str, revision: int | None = None) -> dict[str, JSON]:
    told: dict[str, JSON] = {**name._asdict(), "life": life}
    return told if revision is None else {**told, "revision": revision}
