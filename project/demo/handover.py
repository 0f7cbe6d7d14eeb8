"""An order that goes on elsewhere: the page that shows a code, the page that takes one, and the drawing for two."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import segno
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import TemplateView

from project.demo.forms import ChoiceForm, DeliveryForm, FiltersForm
from project.demo.models import Country, Product
from project.demo.order import Step, form_data, steps
from project.demo.stashes import BriefStash, DeliveryStash, FiltersStash

LONGEST_LINK = 300  # characters


class Part(NamedTuple):
    """What has been entered in one step, in few words."""

    name: str
    text: str


class HandoverView(TemplateView):
    """The owner's side. The socket draws the code; the server never sees a link with one."""

    template_name = "demo/handover.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        link = self.request.build_absolute_uri(reverse("demo:continue"))
        here = self.request.get_host().rpartition(":")[0] or self.request.get_host()
        return super().get_context_data(
            steps=order_steps(self.request),
            parts=parts(self.request),
            link=link,
            shown_link=link.partition("://")[2],
            only_here=here in ("localhost", "127.0.0.1", "[::1]"),
            **kwargs,
        )


class ContinueView(TemplateView):
    """The joiner's side. A stash needs a browser session, which a socket cannot make: the button does, by POST."""

    template_name = "demo/continue.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(parts=parts(self.request), **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        request.session_id  # type: ignore[attr-defined]  # noqa: B018 - reading it makes it
        return HttpResponse(status=204)


class DrawingView(TemplateView):
    template_name = "demo/drawing.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        link = self.request.build_absolute_uri(reverse("demo:drawing"))
        return super().get_context_data(link=link, shown_link=link.partition("://")[2], **kwargs)


@require_safe
def resume(request: HttpRequest) -> HttpResponse:
    """To the first step that is not complete."""
    return redirect(next(step.url for step in order_steps(request) if not step.done))


@require_POST
def qr(request: HttpRequest) -> HttpResponse:
    """A link as a picture for cameras. It comes in the body, for it holds a code: no log has that."""
    link = request.POST.get("link", "")
    if not 0 < len(link) <= LONGEST_LINK:
        return HttpResponseBadRequest()
    picture = io.BytesIO()
    segno.make(link, error="m", micro=False).save(
        picture, kind="svg", xmldecl=False, omitsize=True, border=3, dark="#211e1a", light="#fffdf8"
    )
    return HttpResponse(picture.getvalue(), content_type="image/svg+xml", headers={"Cache-Control": "no-store"})


def order_steps(request: HttpRequest) -> list[Step]:
    choice = ChoiceForm(form_data(ChoiceForm, FiltersStash.for_request(request).recover().values))
    delivery = DeliveryForm(form_data(DeliveryForm, DeliveryStash.for_request(request).recover().values))
    return steps(choice, delivery)


def parts(request: HttpRequest) -> list[Part]:
    """What stands in the order's stashes; a browser may have put anything there."""
    filters = FiltersStash.for_request(request).recover().values
    chosen = form_data(ChoiceForm, filters)
    delivery = form_data(DeliveryForm, DeliveryStash.for_request(request).recover().values)
    brief = BriefStash.for_request(request).recover().values.get("brief")
    found = []
    product = Product.objects.filter(slug=chosen.get("product", "")).first()
    if product is not None:
        found.append(Part("Product", f"{chosen['quantity']} times {product.unit} of {product.name}"))
    if any(filters.get(name) not in (None, "", [], False) for name in FiltersForm.base_fields):
        found.append(Part("Filters", "as you have set them"))
    country = dict(Country.choices).get(delivery.get("country", ""), "")
    where = [delivery.get("name"), *str(delivery.get("address") or "").splitlines()[:1], country]
    if any(where):
        found.append(Part("Delivery", ", ".join(str(line) for line in where if line)))
    if isinstance(brief, str) and brief.strip():
        found.append(Part("Brief", f"{len(brief.split()):,} words"))
    return found
