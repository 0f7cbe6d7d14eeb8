"""The shop: its page, and over HTTP what the basket's socket does not speak of, the history."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import TemplateView

from project.demo.basket import MOST, Basket, described
from project.demo.models import Product
from syncsessions import session_id
from syncsessions.exceptions import Conflict, InvalidValue, SessionNotFound, SyncSessionsError
from syncsessions.processes import Session

STATUSES = {"invalid_value": HTTPStatus.BAD_REQUEST, "session_not_found": HTTPStatus.NOT_FOUND}
STATUSES |= {"conflict": HTTPStatus.CONFLICT, "store_unavailable": HTTPStatus.SERVICE_UNAVAILABLE}


class ShopView(TemplateView):
    """A basket belongs to a browser session, which a socket cannot make: the page does."""

    template_name = "demo/shop.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.request.session_id  # type: ignore[attr-defined]  # noqa: B018 - reading it makes it
        return super().get_context_data(products=Product.objects.order_by("-in_stock", "name"), most=MOST, **kwargs)


def in_json(view: Callable[[HttpRequest], dict[str, Any]]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Errors too are answered as JSON, with their code."""

    @wraps(view)
    def answered(request: HttpRequest) -> HttpResponseBase:
        try:
            response = JsonResponse(view(request))
        except SyncSessionsError as error:
            status = STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
            response = JsonResponse(error.as_dict(), status=status)
        add_never_cache_headers(response)
        return response

    return answered


def basket_of(request: Any) -> Session:
    found = session_id.peek(request.session)
    if found is None:
        raise SessionNotFound
    return Basket.get(found)


@require_safe
@in_json
def history(request: HttpRequest) -> dict[str, Any]:
    """What was done, newest first, in words too."""
    basket = basket_of(request)
    entries = [
        {"revision": entry["revision"], "type": entry["type"], "at": entry["at"],
         "what": described(str(entry["type"]), entry["payload"])}
        for entry in basket.history()
    ]  # fmt: skip
    return {"revision": basket.revision(), "entries": entries}


@require_POST
@in_json
def back(request: HttpRequest) -> dict[str, Any]:
    """Undo the last `n` actions, if the newest one is still that which the page knows of."""
    basket = basket_of(request)
    n, newest = number(request, "n"), number(request, "newest")
    entries = basket.history()
    if entries and newest is not None and entries[0]["revision"] != newest:
        raise Conflict("Something else was done meanwhile. Look again before you travel.")
    return {"revision": basket.time_travel(n)}  # type: ignore[arg-type]  # it judges that itself


def number(request: HttpRequest, name: str) -> int | None:
    text = request.POST.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidValue("A whole number is needed.", key=name) from None
