"""The stash in Django's views: a mixin for class-based ones, a decorator for functions."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponseBase

from syncsessions.exceptions import StoreUnavailable
from syncsessions.json_values import JSON
from syncsessions.stash.sql import spare_the_transaction
from syncsessions.stash.view import Recovery, ViewStash

logger = logging.getLogger("syncsessions.stash")

TAB_FIELD = "syncsessions-tab"
"""The field by which the JS module names the tab in a form that it submits."""

View = TypeVar("View", bound=Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]])


class StashViewMixin:
    """For class-based views: `self.stash`, what it holds in the template context, and reset once a form was valid.

    A store that fails never breaks the page: it is logged, and the page goes on with nothing recovered.
    """

    stash_class: type[ViewStash]
    stash_initial = True
    """Whether recovered values of a form's fields become its initial values."""
    request: HttpRequest

    @cached_property
    def stash(self) -> ViewStash:
        tab = self.request.POST.get(TAB_FIELD) if self.request.method == "POST" else None
        return self.stash_class.for_request(self.request, tab)

    @cached_property
    def recovery(self) -> Recovery:
        """What the stash holds, asked for once. In an async view, `await self.arecover_stash()` before it is needed."""
        return self.stash.recover(reconnected=bool(self.stash.tab))

    async def arecover_stash(self) -> Recovery:
        if "recovery" not in self.__dict__:
            self.__dict__["recovery"] = await self.stash.arecover(reconnected=bool(self.stash.tab))
        return self.recovery

    def save_stash(self, values: Mapping[str, JSON]) -> bool:
        """Save, after looking at what is there; False (and a log entry) where the store failed."""
        _ = self.recovery
        return _logged(lambda: self.stash.save(values))

    def reset_stash(self) -> bool:
        """Remove this page's stash; False (and a log entry) where the store failed."""
        return _logged(self.stash.reset)

    def get_initial(self) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_initial()  # type: ignore[misc]
        return {**initial, **self.recovery.values} if self.stash_initial else initial

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Adds `stash` (the recovered values) and `stash_status`."""
        context: dict[str, Any] = super().get_context_data(**kwargs)  # type: ignore[misc]
        return {"stash": self.recovery.values, "stash_status": self.recovery.status, **context}

    def form_valid(self, form: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().form_valid(form)  # type: ignore[misc]
        self.reset_stash()
        return response


def stashed(stash_class: type[ViewStash]) -> Callable[[View], View]:
    """For function views, sync or async: `request.stash` is this request's `stash_class`; nothing is recovered yet."""

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def with_stash(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                request.stash = stash_class.for_request(request)  # type: ignore[attr-defined]
                return await view(request, *args, **kwargs)
        else:

            @wraps(view)
            def with_stash(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                request.stash = stash_class.for_request(request)  # type: ignore[attr-defined]
                return view(request, *args, **kwargs)

        return with_stash  # type: ignore[return-value]

    return decorate


def _logged(write: Callable[[], None]) -> bool:
    try:
        with spare_the_transaction():
            write()
    except StoreUnavailable:
        logger.exception("The stash did not take a write; the page goes on without it")
        return False
    return True
