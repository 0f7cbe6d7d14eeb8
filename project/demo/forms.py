"""The forms of the order wizard. Names of fields are keys of the stash, but for those that are never stashed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone

from project.demo.models import Category, Country, Product

SORTS = {
    "name": ("Name", "name"),
    "price": ("Price, low to high", "price"),
    "-price": ("Price, high to low", "-price"),
}
MAX_PRICE = 400


class FiltersForm(forms.Form):
    q = forms.CharField(label="Search", max_length=80, required=False, widget=forms.TextInput({"type": "search"}))
    category = forms.MultipleChoiceField(
        label="Kind", choices=Category.choices, required=False, widget=forms.CheckboxSelectMultiple
    )
    max_price = forms.IntegerField(
        label="Price up to",
        required=False,
        min_value=20,
        max_value=MAX_PRICE,
        initial=MAX_PRICE,
        widget=forms.NumberInput({"type": "range", "step": "10", "data-output": "max-price-output"}),
    )
    sort = forms.ChoiceField(
        label="Sort by", choices=[(value, label) for value, (label, _field) in SORTS.items()], required=False
    )
    in_stock = forms.BooleanField(label="In stock only", required=False)

    def products(self) -> QuerySet[Product]:
        """The products that pass the filters; all of them while the filters make no sense."""
        found = Product.objects.all()
        if not self.is_valid():
            return found
        chosen = self.cleaned_data
        if chosen["q"]:
            found = found.filter(name__icontains=chosen["q"]) | found.filter(description__icontains=chosen["q"])
        if chosen["category"]:
            found = found.filter(category__in=chosen["category"])
        if chosen["max_price"] is not None and chosen["max_price"] < MAX_PRICE:
            found = found.filter(price__lte=chosen["max_price"])
        if chosen["in_stock"]:
            found = found.filter(in_stock=True)
        return found.order_by(SORTS[chosen["sort"] or "name"][1], "name")


class ChoiceForm(forms.Form):
    product = forms.ModelChoiceField(
        queryset=Product.objects.filter(in_stock=True),
        to_field_name="slug",
        widget=forms.RadioSelect,
        empty_label=None,
        error_messages={"required": "Choose a product.", "invalid_choice": "Choose a product that is in stock."},
    )
    quantity = forms.IntegerField(label="How many?", min_value=1, max_value=50, initial=1)


class DeliveryForm(forms.Form):
    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput({"autocomplete": "name"}))
    email = forms.EmailField(label="Email", widget=forms.EmailInput({"autocomplete": "email"}))
    address = forms.CharField(
        label="Address",
        max_length=400,
        widget=forms.Textarea({"rows": 3, "autocomplete": "street-address"}),
        help_text="Street, postcode and town.",
    )
    country = forms.ChoiceField(
        label="Country",
        choices=[("", "Choose a country"), *Country.choices],
        widget=forms.Select({"autocomplete": "country"}),
    )
    delivery_date = forms.DateField(label="Wanted by", widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"))
    gift = forms.BooleanField(label="It is a gift: leave the invoice out of the parcel", required=False)

    def clean_delivery_date(self) -> Any:
        date = self.cleaned_data["delivery_date"]
        if date <= timezone.localdate():
            raise forms.ValidationError("Choose a day after today.")
        return date


class DeliveryAndPaymentForm(DeliveryForm):
    """With the fields that pass through the page and are kept nowhere."""

    card_number = forms.CharField(
        label="Card number",
        max_length=23,
        required=False,
        widget=forms.TextInput({"autocomplete": "cc-number", "inputmode": "numeric"}),
    )
    discount_secret = forms.CharField(
        label="Discount secret",
        max_length=60,
        required=False,
        widget=forms.PasswordInput({"autocomplete": "off"}),
    )


class BriefForm(forms.Form):
    brief = forms.CharField(
        label="Tell us about your project",
        max_length=12_000,
        widget=forms.Textarea({"rows": 16, "data-counter": "brief-counter", "spellcheck": "true"}),
        help_text="What is it for, who will hold it, what should it feel like? Paste the wording if you have it.",
    )
    scratch = forms.CharField(
        label="Margin notes",
        max_length=1_000,
        required=False,
        widget=forms.Textarea({"rows": 8}),
        help_text="Only for you, and only in this tab: they survive a reload, and go when you come here afresh.",
    )
