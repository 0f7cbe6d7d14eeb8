"""The demo's shop, from the server's side: what the basket takes, what its past says, and who may see it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from project.demo import catalogue
from project.demo.basket import MOST, SELECTORS, Basket
from project.demo.csp import POLICY
from syncsessions.exceptions import InvalidValue
from syncsessions.processes import Session
from tests.integration.test_demo import INLINE, PAGES

pytestmark = pytest.mark.django_db

NONSENSE: list[Any] = [
    None, True, 7, "bookplates", [], ["bookplates"], {}, {"slug": None}, {"slug": 7}, {"slug": ["bookplates"]},
    {"slug": {"a": 1}}, {"slug": "gold-bars"}, {"slug": "Bookplates"}, {"slug": "__class__"},
]  # fmt: skip
QUANTITIES: list[Any] = [0, -1, MOST + 1, 10**40, 1.0, 1.5, "2", True, None, [1], {}]


@pytest.fixture
def shopper(client: Client) -> Client:
    """A browser that has seen the shop's page."""
    catalogue.fill()
    client.get(reverse("demo:shop"))
    return client


@pytest.fixture
def basket(shopper: Client) -> Any:
    session = Basket.start(shopper.session["_syncsessions_id"])
    yield session
    if Basket.started(session.id):
        session.terminate()


def seen(basket: Session) -> Any:
    return basket.state(SELECTORS["basket"])


def test_page_keeps_to_the_policy_and_makes_the_session(client: Client) -> None:
    catalogue.fill()
    response = client.get(reverse("demo:shop"))
    page = response.content.decode()
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == POLICY
    assert not INLINE.search(page)
    assert client.session["_syncsessions_id"]
    assert "data-session" in page
    assert page.count("data-add=") == sum(item.in_stock for item in catalogue.ITEMS)
    assert "<noscript>" in page


@pytest.mark.parametrize("name", PAGES[:5])
def test_every_page_has_the_badge_which_waits_for_a_session(client: Client, name: str) -> None:
    catalogue.fill()
    page = client.get(reverse(name)).content.decode()
    assert 'id="badge"' in page
    assert "data-session" not in page
    client.get(reverse("demo:shop"))
    assert "data-session" in client.get(reverse(name)).content.decode()


def test_front_page_leads_there(client: Client) -> None:
    assert f'href="{reverse("demo:shop")}"' in client.get(reverse("demo:front")).content.decode()


def test_what_is_put_in_is_counted(basket: Session) -> None:
    basket.dispatch("basket.add", {"slug": "bookplates"})
    basket.dispatch("basket.add", {"slug": "chapbook", "quantity": 2})
    basket.dispatch("basket.add", {"slug": "bookplates", "quantity": 3})
    basket.dispatch("prices.loaded", {"bookplates": 6800, "chapbook": 36050})
    assert [(line["name"], line["quantity"], line["total"]) for line in seen(basket)["lines"]] == [
        ("Bookplates", 4, 27200),
        ("Chapbook", 2, 72100),
    ]
    assert seen(basket)["total"] == 99300
    basket.dispatch("basket.set", {"slug": "bookplates", "quantity": 1})
    assert basket.state(SELECTORS["count"]) == 3
    basket.dispatch("basket.remove", {"slug": "chapbook"})
    assert [line["slug"] for line in seen(basket)["lines"]] == ["bookplates"]
    basket.dispatch("basket.empty")
    assert seen(basket) == {"lines": [], "total": 0}


def test_what_has_no_price_yet_has_no_total(basket: Session) -> None:
    basket.dispatch("basket.add", {"slug": "bookplates"})
    assert seen(basket)["lines"][0]["price"] is None
    assert seen(basket)["total"] is None


@pytest.mark.parametrize("action", ["basket.add", "basket.set", "basket.remove"])
@pytest.mark.parametrize("payload", NONSENSE, ids=repr)
def test_nonsense_is_refused(basket: Session, action: str, payload: Any) -> None:
    with pytest.raises(InvalidValue):
        basket.dispatch(action, payload)
    assert basket.revision() == 0
    assert basket.history() == []


@pytest.mark.parametrize("action", ["basket.add", "basket.set"])
@pytest.mark.parametrize("quantity", QUANTITIES, ids=repr)
def test_quantities_that_cannot_be_are_refused(basket: Session, action: str, quantity: Any) -> None:
    with pytest.raises(InvalidValue):
        basket.dispatch(action, {"slug": "bookplates", "quantity": quantity})
    assert basket.revision() == 0


def test_no_more_than_can_be_printed_and_nothing_that_is_sold_out(basket: Session) -> None:
    basket.dispatch("basket.add", {"slug": "bookplates", "quantity": MOST})
    with pytest.raises(InvalidValue):
        basket.dispatch("basket.add", {"slug": "bookplates"})
    with pytest.raises(InvalidValue):
        basket.dispatch("basket.add", {"slug": "alphabet-print"})
    assert basket.state(SELECTORS["count"]) == MOST


def test_history_keeps_of_a_payload_what_the_action_needed(basket: Session) -> None:
    basket.dispatch("basket.add", {"slug": "bookplates", "junk": "x" * 1000})
    basket.dispatch("basket.empty", {"junk": "x" * 1000})
    assert [entry["payload"] for entry in basket.history()] == [None, {"slug": "bookplates", "quantity": 1}]


def test_browsers_may_not_set_prices() -> None:
    assert not any(name.startswith("prices.loaded") for name in Basket.client_actions)
    assert all(Basket.table.plan(name) for name in Basket.client_actions)


@pytest.mark.django_db(transaction=True)
def test_the_effect_loads_the_prices(basket: Session) -> None:
    basket.run("prices.load").result(10)
    prices = basket.state(SELECTORS["prices"])
    assert prices["bookplates"] == 6800
    assert len(prices) == len(catalogue.ITEMS)
    assert [entry["type"] for entry in basket.history()] == ["prices.loaded", "prices.load"]
    assert basket.dispatch("prices.load") == basket.revision()  # once a second is enough


# The past, over HTTP


def test_history_says_what_was_done_and_when(shopper: Client, basket: Session) -> None:
    basket.dispatch("basket.add", {"slug": "bookplates", "quantity": 2})
    basket.dispatch("basket.empty")
    response = shopper.get(reverse("demo:shop_history"))
    past = response.json()
    assert past["revision"] == 2
    assert [(entry["revision"], entry["type"], entry["what"]) for entry in past["entries"]] == [
        (2, "basket.empty", "Basket emptied"),
        (1, "basket.add", "Bookplates put in, 2 times"),
    ]
    assert abs(past["entries"][0]["at"] - time.time()) < 60
    assert "no-store" in response["Cache-Control"]


def test_time_travel_takes_actions_back(shopper: Client, basket: Session) -> None:
    for slug in ["bookplates", "chapbook", "coasters"]:
        basket.dispatch("basket.add", {"slug": slug})
    response = shopper.post(reverse("demo:shop_back"), {"n": "2", "newest": "3"})
    assert (response.status_code, response.json()) == (200, {"revision": 4})
    assert [line["slug"] for line in seen(basket)["lines"]] == ["bookplates"]
    assert len(basket.history()) == 1


@pytest.mark.parametrize("n", ["", "0", "-1", "4", "1.5", "1e0", "many", "9" * 5000, None])
def test_travels_that_lead_nowhere_are_refused(shopper: Client, basket: Session, n: str | None) -> None:
    for _ in range(3):
        basket.dispatch("basket.add", {"slug": "bookplates"})
    response = shopper.post(reverse("demo:shop_back"), {} if n is None else {"n": n})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_value")
    assert basket.state(SELECTORS["count"]) == 3


def test_what_was_done_meanwhile_is_not_taken_back_unseen(shopper: Client, basket: Session) -> None:
    basket.dispatch("basket.add", {"slug": "bookplates"})
    basket.dispatch("basket.add", {"slug": "chapbook"})
    response = shopper.post(reverse("demo:shop_back"), {"n": "1", "newest": "1"})
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert basket.state(SELECTORS["count"]) == 2


def test_without_a_basket_there_is_no_past(client: Client) -> None:
    for send in (client.get, client.post):
        response = send(reverse("demo:shop_history" if send == client.get else "demo:shop_back"), {"n": "1"})
        assert (response.status_code, response.json()["code"]) == (404, "session_not_found")
    assert "sessionid" not in client.cookies


def test_travel_needs_the_token_and_looking_is_not_posting(shopper: Client, basket: Session) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = shopper.cookies
    assert strict.post(reverse("demo:shop_back"), {"n": "1"}).status_code == 403
    assert shopper.get(reverse("demo:shop_back")).status_code == 405
    assert shopper.post(reverse("demo:shop_history")).status_code == 405
