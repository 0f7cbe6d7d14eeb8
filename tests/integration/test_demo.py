"""The demo's pages, by Django's client: what a browser without script gets, and what the stash holds afterwards."""

from __future__ import annotations

import os
import re
import socket
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from project.demo import catalogue, samples
from project.demo.csp import POLICY
from project.demo.forms import ChoiceForm, FiltersForm
from project.demo.models import Order
from project.demo.order import form_data
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice

pytestmark = pytest.mark.django_db

PAGES = ["demo:front", "demo:order", "demo:order_delivery", "demo:order_brief", "demo:note", "login", "admin:login"]
INLINE = re.compile(r"""<style|\sstyle=|\son[a-z]+=|<script(?![^>]*(\ssrc=|type="application/json"))""")


@pytest.fixture(autouse=True)
def products() -> None:
    catalogue.fill()


def in_a_week() -> str:
    return (timezone.localdate() + timedelta(days=7)).isoformat()


def delivery(**changes: str) -> dict[str, str]:
    given = {
        "name": "Mireille Sandoval",
        "email": "mireille@example.net",
        "address": "Rua das Flores 14\r\nPorto",
        "country": "PT",
        "delivery_date": in_a_week(),
        "gift": "on",
        "card_number": "4111 1111 1111 1111",
        "discount_secret": "open sesame",
    }
    return {**given, **changes}


def stash_of(client: Client) -> StashSession:
    return StashSession(client.session["_syncsessions_id"])


@pytest.mark.parametrize("name", PAGES)
def test_page_has_a_strict_policy_and_keeps_to_it(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == POLICY
    assert not INLINE.search(response.content.decode())


def test_looking_around_makes_no_session_and_no_rows(client: Client) -> None:
    for name in PAGES:
        client.get(reverse(name))
    assert "sessionid" not in client.cookies
    assert not StashSlice.objects.exists()


def test_front_page_leads_to_what_there_is(client: Client) -> None:
    page = client.get(reverse("demo:front")).content.decode()
    for name in ["demo:order", "demo:note", "admin:index", "login"]:
        assert f'href="{reverse(name)}' in page


def test_filters_are_stashed_and_come_back(client: Client) -> None:
    filters = {"category": ["posters", "books"], "max_price": "300", "sort": "-price", "in_stock": "on", "q": ""}
    response = client.get(reverse("demo:order"), filters)
    assert response.status_code == 302
    assert response["Location"] == reverse("demo:order")
    page = client.get(reverse("demo:order"))
    assert [product.slug for product in page.context["products"]] == ["gig-poster", "broadside", "pocket-notebook"]
    assert stash_of(client).get_view("demo.order.filters") == {**filters, "in_stock": True}


def test_filters_that_make_no_sense_are_not_stashed(client: Client) -> None:
    page = client.get(reverse("demo:order"), {"max_price": "cheap"})
    assert "max_price" in page.context["filters"].errors
    assert len(page.context["products"]) == len(catalogue.ITEMS)
    assert not StashSlice.objects.exists()


def test_a_choice_that_the_filters_hide_is_shown(client: Client) -> None:
    client.post(reverse("demo:order"), {"product": "coasters", "quantity": "2"})
    page = client.get(reverse("demo:order"), {"category": ["books"]}, follow=True)
    assert [product.slug for product in page.context["hidden"]] == ["coasters"]
    assert re.search(r'value="coasters"\s+checked', page.content.decode())


def test_what_is_sold_out_cannot_be_chosen(client: Client) -> None:
    page = client.post(reverse("demo:order"), {"product": "alphabet-print", "quantity": "1"})
    assert page.context["form"].errors["product"] == ["Choose a product that is in stock."]


def test_card_and_secret_are_not_stashed(client: Client) -> None:
    response = client.post(reverse("demo:order_delivery"), delivery())
    assert response["Location"] == reverse("demo:order_brief")
    stashed = stash_of(client).get_view("demo.order.delivery")
    assert stashed.keys() == {"name", "email", "address", "country", "delivery_date", "gift"}
    assert stashed["address"] == "Rua das Flores 14\nPorto"
    page = client.get(reverse("demo:order_delivery")).content.decode()
    assert "Rua das Flores" in page
    assert "4111" not in page
    assert "sesame" not in page


def test_an_order_is_placed_and_the_stashes_are_reset(client: Client) -> None:
    client.get(reverse("demo:order"), {"q": "card", "sort": "name"})
    client.post(reverse("demo:order"), {"product": "business-cards", "quantity": "3"})
    client.post(reverse("demo:order_delivery"), delivery())
    review = client.get(reverse("demo:order_brief"))
    assert [step.done for step in review.context["steps"]] == [True, True, False]
    assert "€ 492.00" in review.content.decode()
    assert stash_of(client).views() == ["demo.order.delivery", "demo.order.filters"]

    thanks = client.post(reverse("demo:order_brief"), {"brief": "Two inks.", "scratch": "for me"}, follow=True)
    order = Order.objects.get()
    assert (order.product.slug, order.quantity, order.country, order.gift) == ("business-cards", 3, "PT", True)
    assert (order.brief, str(order.total)) == ("Two inks.", "492.00")
    assert f"order number {order.pk}" in thanks.content.decode()
    assert stash_of(client).views() == []


def test_an_incomplete_order_is_not_placed(client: Client) -> None:
    client.post(reverse("demo:order"), {"product": "chapbook", "quantity": "1"})
    page = client.post(reverse("demo:order_brief"), {"brief": "Sixteen pages."})
    assert page.context["form"].non_field_errors()
    assert "Sixteen pages." in page.content.decode()
    assert [step.done for step in page.context["steps"]] == [True, False, False]
    assert not Order.objects.exists()


def test_a_date_that_has_passed_meanwhile_makes_the_step_incomplete(client: Client) -> None:
    client.post(reverse("demo:order_delivery"), delivery())
    yesterday = (timezone.localdate() - timedelta(days=1)).isoformat()
    stash_of(client).merge("demo.order.delivery", {"delivery_date": yesterday})
    assert not client.get(reverse("demo:order_brief")).context["steps"][1].done


@pytest.mark.parametrize(
    "value", [None, True, 7, 1.5, "\ufffd", "x" * 500, [], [1, None, {}], ["cards"], {"a": []}], ids=repr
)
def test_whatever_a_browser_stashed_no_page_breaks(client: Client, value: Any) -> None:
    client.get(reverse("demo:order"), {"sort": "name"})
    stash = stash_of(client)
    for view, keys in {
        "demo.order.filters": ["q", "category", "max_price", "sort", "in_stock", "product", "quantity"],
        "demo.order.delivery": ["name", "email", "address", "country", "delivery_date", "gift"],
        "demo.order.brief": ["brief", "scratch"],
    }.items():
        stash.merge(view, dict.fromkeys(keys, value))
    for name in ["demo:order", "demo:order_delivery", "demo:order_brief"]:
        assert client.get(reverse(name)).status_code == 200
    assert client.post(reverse("demo:order_brief"), {"brief": "All the same."}).status_code == 200


def test_form_data_is_what_the_form_could_send() -> None:
    stashed = {"q": "x", "max_price": 300, "sort": True, "in_stock": True, "category": ["cards", 1], "other": "y"}
    assert form_data(FiltersForm, stashed) == {"q": "x", "max_price": "300", "in_stock": True, "category": ["cards"]}


def test_what_is_not_stashed_stands_where_it_began(client: Client) -> None:
    client.get(reverse("demo:order"), {"category": ["cards"]})
    stash_of(client).drop("demo.order.filters", ["max_price", "in_stock", "sort"])
    page = client.get(reverse("demo:order"))
    assert re.search(r'name="max_price"\s+value="400"', page.content.decode())
    assert form_data(ChoiceForm, {"product": "coasters"}) == {"product": "coasters", "quantity": "1"}


def test_thanks_are_only_for_who_ordered(client: Client) -> None:
    assert client.get(reverse("demo:order_thanks")).status_code == 404


def test_samples_are_made_once_and_keep_their_ages() -> None:
    samples.make_users()
    sessions = samples.make_stashes()
    before = list(StashSlice.objects.order_by("pk").values_list("pk", "life", "revision"))
    samples.make_users()
    assert samples.make_stashes() == sessions
    assert list(StashSlice.objects.order_by("pk").values_list("pk", "life", "revision")) == before
    assert StashSlice.objects.values("owner").distinct().count() == sessions
    month_ago = timezone.now() - timedelta(days=30)
    assert StashSlice.objects.filter(last_seen_at__lt=month_ago).count() == 1
    for row in StashSlice.objects.all():
        assert row.created_at <= row.written_at <= row.last_seen_at


def test_demo_prepares_everything_and_becomes_daphne(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, client: Client
) -> None:
    run: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *call: run.append(call))
    for name in ("DEMO_COMMAND", "DEMO_HOST", "DEMO_SITE_URL"):  # what it sets is not left to the tests after it
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    call_command("demo", port=port, password="a word for tests")
    daphne = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "project.asgi:application"]
    assert run == [(sys.executable, daphne)]
    said = capsys.readouterr().out
    assert f"http://127.0.0.1:{port}/admin/" in said
    assert "a word for tests" in said
    assert get_user_model().objects.get(username="admin").is_superuser
    assert client.login(username="admin", password="a word for tests")


def test_demo_says_that_the_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(CommandError, match="--port"):
        call_command("demo", port=server.getsockname()[1])
    assert not get_user_model().objects.exists()
