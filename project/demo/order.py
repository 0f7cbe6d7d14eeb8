"""The order wizard: choose, deliver, describe. Each step's answers stand in its stash until the order is placed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse, reverse_lazy
from django.views.decorators.http import require_safe
from django.views.generic import FormView

from project.demo.forms import BriefForm, ChoiceForm, DeliveryAndPaymentForm, DeliveryForm, FiltersForm
from project.demo.models import Order, Product
from project.demo.stashes import BriefStash, DeliveryStash, FiltersStash
from syncsessions.stash import StashViewMixin

if TYPE_CHECKING:
    FormPage = FormView[forms.Form]
else:
    FormPage = FormView

ORDER_KEY = "demo.order"


class Step(NamedTuple):
    number: int
    name: str
    url: str
    done: bool


class StepView(StashViewMixin, FormPage):
    """One step. A valid form is stashed and leads on; only the last step, which places the order, resets anything."""

    number: ClassVar[int]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"steps": steps(self.choice, self.delivery), "number": self.number, **kwargs})

    def get_initial(self) -> dict[str, Any]:
        return form_data(self.get_form_class(), super().get_initial())

    @cached_property
    def choice(self) -> ChoiceForm:
        return ChoiceForm(form_data(ChoiceForm, FiltersStash.for_request(self.request).recover().values))

    @cached_property
    def delivery(self) -> DeliveryForm:
        return DeliveryForm(form_data(DeliveryForm, DeliveryStash.for_request(self.request).recover().values))

    def form_valid(self, form: forms.Form) -> HttpResponse:
        if not self.save_stash(stashable(form)):
            form.add_error(None, "We could not keep what you entered. Nothing is lost on this page: please try again.")
            return self.form_invalid(form)
        return redirect(self.get_success_url())


class ChooseView(StepView):
    """Step 1. The filters come by GET, from a form of their own, and are stashed; the address stays plain."""

    number = 1
    template_name = "demo/order_choose.html"
    stash_class = FiltersStash
    form_class = ChoiceForm
    success_url = reverse_lazy("demo:order_delivery")

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        filters = FiltersForm(request.GET) if request.GET.keys() & FiltersForm.base_fields.keys() else None
        if filters and filters.is_valid() and self.save_stash(stashable(filters)):
            return redirect("demo:order")
        return self.render_to_response(self.get_context_data(filters=filters or self.stashed_filters()))

    def stashed_filters(self) -> FiltersForm:
        if not self.recovery.values.keys() & FiltersForm.base_fields.keys():
            return FiltersForm()
        filters = FiltersForm(form_data(FiltersForm, self.recovery.values))
        return filters if filters.is_valid() else FiltersForm()

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        filters: FiltersForm = context.setdefault("filters", self.stashed_filters())
        products = list(filters.products())
        chosen = Product.objects.filter(slug=str(context["form"]["product"].value())).first()
        hidden = [chosen] if chosen and chosen not in products else []
        return {
            **context,
            "products": products,
            "all_count": Product.objects.count(),
            "chosen": chosen,
            "hidden": hidden,
        }


class DeliveryView(StepView):
    """Step 2."""

    number = 2
    template_name = "demo/order_delivery.html"
    stash_class = DeliveryStash
    form_class = DeliveryAndPaymentForm
    success_url = reverse_lazy("demo:order_brief")


class BriefView(StepView):
    """Step 3: the draft, the review, and the order."""

    number = 3
    template_name = "demo/order_brief.html"
    stash_class = BriefStash
    form_class = BriefForm
    success_url = reverse_lazy("demo:order_thanks")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        choice, delivery = self.choice, self.delivery
        review: dict[str, Any] = {"choice": None, "delivery": None}
        if choice.is_valid():
            total = Order.total_of(**choice.cleaned_data)
            review["choice"] = {**choice.cleaned_data, "total": total}
        if delivery.is_valid():
            country = dict(delivery.fields["country"].choices)[delivery.cleaned_data["country"]]  # type: ignore[attr-defined]
            review["delivery"] = {**delivery.cleaned_data, "country": country}
        return super().get_context_data(**{"review": review, **kwargs})

    def form_valid(self, form: forms.Form) -> HttpResponse:
        choice, delivery = self.choice, self.delivery
        if not (choice.is_valid() and delivery.is_valid()):
            form.add_error(None, "An earlier step is not complete yet. What you wrote here is kept: see the review.")
            return self.form_invalid(form)
        order = Order.objects.create(
            **choice.cleaned_data,
            **delivery.cleaned_data,
            total=Order.total_of(**choice.cleaned_data),
            brief=form.cleaned_data["brief"],
        )
        self.request.session[ORDER_KEY] = order.pk
        self.reset_stash()
        for stash_class in (FiltersStash, DeliveryStash):
            stash_class.for_request(self.request).reset()
        return redirect(self.get_success_url())


@require_safe
def thanks(request: HttpRequest) -> HttpResponse:
    """The order that this browser session placed last."""
    order = get_object_or_404(Order.objects.select_related("product"), pk=request.session.get(ORDER_KEY))
    return render(request, "demo/order_thanks.html", {"order": order})


def steps(choice: ChoiceForm, delivery: DeliveryForm) -> list[Step]:
    return [
        Step(1, "Choose", reverse("demo:order"), choice.is_valid()),
        Step(2, "Delivery", reverse("demo:order_delivery"), delivery.is_valid()),
        Step(3, "Brief and review", reverse("demo:order_brief"), done=False),
    ]


def form_data(form_class: type[forms.Form], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is stashed, over the fields' initial values, as the form takes it.

    A browser may stash any JSON under these keys: what no form sends is left out.
    """
    data: dict[str, Any] = {}
    for name, field in form_class.base_fields.items():
        value = field.initial if values.get(name) is None else values[name]
        if isinstance(field, forms.MultipleChoiceField):
            if isinstance(value, list):
                data[name] = [item for item in value if isinstance(item, str)]
        elif isinstance(field, forms.BooleanField):
            data[name] = value is True
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            data[name] = str(value)
    return data


def stashable(form: forms.Form) -> dict[str, Any]:
    """A bound form's values as the page's script reads them, so that neither rewrites what the other saved."""
    values = {name: form[name].value() for name in form.fields}
    return {
        name: value.replace("\r\n", "\n") if isinstance(value, str) else value
        for name, value in values.items()
        if value is not None
    }
