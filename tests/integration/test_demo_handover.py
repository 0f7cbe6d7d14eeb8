"""The demo's pages for codes, by Django's client: what they show, what they make, and what they never do."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from project.demo import catalogue
from project.demo.csp import POLICY
from syncsessions.stash import StashSession
from syncsessions.stash.models import StashSlice
from tests.integration.test_demo import INLINE

pytestmark = pytest.mark.django_db

PAGES = ["demo:handover", "demo:continue", "demo:drawing"]


@pytest.fixture(autouse=True)
def products() -> None:
    catalogue.fill()


def stash_of(client: Client) -> StashSession:
    return StashSession(client.session["_syncsessions_id"])


@pytest.mark.parametrize("name", PAGES)
def test_page_keeps_to_the_policy_and_makes_no_session(client: Client, name: str) -> None:
    response = client.get(reverse(name))
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == POLICY
    assert not INLINE.search(response.content.decode())
    assert "sessionid" not in client.cookies
    assert not StashSlice.objects.exists()


def test_front_page_and_steps_lead_there(client: Client) -> None:
    for page, target in [("front", "handover"), ("front", "drawing"), ("order", "handover"), ("handover", "continue")]:
        assert f'href="{reverse(f"demo:{target}")}"' in client.get(reverse(f"demo:{page}")).content.decode()


def test_what_moves_is_listed(client: Client) -> None:
    client.post(reverse("demo:order"), {"product": "chapbook", "quantity": "2"})
    stash_of(client).merge("demo.order.delivery", {"name": "Ada", "address": "1 Type Street\nOslo", "country": "NO"})
    stash_of(client).merge("demo.order.brief", {"brief": "Sixteen pages, sewn."})
    page = client.get(reverse("demo:handover"))
    assert [part.text for part in page.context["parts"]] == [
        "2 times 50 copies of Chapbook",
        "Ada, 1 Type Street, Norway",
        "3 words",
    ]
    assert page.context["link"] == "http://testserver/continue/"
    assert not page.context["only_here"]


@pytest.mark.parametrize("value", [None, True, 7, "\ufffd", [], [1, {}], {"a": []}], ids=repr)
def test_whatever_a_browser_stashed_no_page_breaks(client: Client, value: object) -> None:
    client.post(reverse("demo:continue"))
    for view, keys in {
        "demo.order.filters": ["q", "category", "max_price", "sort", "in_stock", "product", "quantity"],
        "demo.order.delivery": ["name", "email", "address", "country", "delivery_date", "gift"],
        "demo.order.brief": ["brief"],
    }.items():
        stash_of(client).merge(view, dict.fromkeys(keys, value))
    for name in PAGES:
        assert client.get(reverse(name)).status_code == 200
    assert client.get(reverse("demo:order_resume")).status_code == 302


def test_the_button_makes_the_session(client: Client) -> None:
    assert client.post(reverse("demo:continue")).status_code == 204
    assert client.cookies["sessionid"].value
    assert StashSession(client.session["_syncsessions_id"]).views() == []


def test_resume_leads_to_the_first_step_that_is_not_complete(client: Client) -> None:
    assert client.get(reverse("demo:order_resume"))["Location"] == reverse("demo:order")
    client.post(reverse("demo:order"), {"product": "chapbook", "quantity": "2"})
    assert client.get(reverse("demo:order_resume"))["Location"] == reverse("demo:order_delivery")


def test_a_picture_of_a_link(client: Client) -> None:
    response = client.post(reverse("demo:qr"), {"link": "http://testserver/continue/#code=A7X9K2M4"})
    assert response.headers["Content-Type"] == "image/svg+xml"
    assert response.headers["Cache-Control"] == "no-store"
    picture = response.content.decode()
    assert picture.startswith("<svg")
    assert "style=" not in picture
    assert "A7X9" not in picture


@pytest.mark.parametrize("link", ["", "x" * 301])
def test_what_is_no_link_has_no_picture(client: Client, link: str) -> None:
    assert client.post(reverse("demo:qr"), {"link": link}).status_code == 400
    assert client.get(reverse("demo:qr"), {"link": "x"}).status_code == 405
