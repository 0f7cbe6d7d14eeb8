"""`StashViewMixin` and `stashed` in real views, through Django's test client, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django import forms
from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.generic import FormView, View

from syncsessions.stash import RECONNECT, SESSION, StashSession, StashViewMixin, ViewStash, knowledge, stashed
from syncsessions.stash.models import StashSlice
from tests.routers import StashRouter

pytestmark = [pytest.mark.usefixtures("database", "cache_sessions"), pytest.mark.urls(__name__)]


class OrderStash(ViewStash):
    view = "tests.order"
    keys = {"name": SESSION, "text": RECONNECT}


class OrderForm(forms.Form):
    name = forms.CharField()
    text = forms.CharField(required=False)
    colour = forms.CharField(initial="red", required=False)


class Page:
    """Renders what the context holds."""

    text = "{{ stash_status }}|{{ stash.name }}|{{ form.initial.name }}|{{ form.initial.colour }}"

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        text = engines["django"].from_string(self.text).render(context)
        with connections[StashRouter.alias].cursor() as cursor:  # the page's own queries
            cursor.execute("SELECT 1")
        return HttpResponse(text)


class OrderView(StashViewMixin, Page, FormView):  # type: ignore[misc]
    stash_class = OrderStash
    form_class = OrderForm
    initial = {"colour": "blue", "name": "nobody"}
    success_url = "/done/"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if "save" in request.GET:
            saved = self.save_stash({"name": request.GET["save"]})
            with connections[StashRouter.alias].cursor() as cursor:
                cursor.execute("SELECT 1")
            return JsonResponse({"saved": saved})
        return super().get(request, *args, **kwargs)


class PlainView(OrderView):
    stash_initial = False


class AsyncView(StashViewMixin, View):
    stash_class = OrderStash

    async def get(self, request: HttpRequest) -> JsonResponse:
        status, values = await self.arecover_stash()
        again = await self.arecover_stash()
        return JsonResponse({"status": status, "values": values, "same": again is self.recovery})


@stashed(OrderStash)
def function(request: Any, name: str) -> JsonResponse:
    """A function view."""
    request.stash.save({"name": name})
    return JsonResponse(request.stash.recover().values)


@stashed(OrderStash)
async def afunction(request: Any, name: str) -> JsonResponse:
    await request.stash.asave({"name": name})
    return JsonResponse((await request.stash.arecover()).values)


@stashed(OrderStash)
def looking(request: Any) -> JsonResponse:
    return JsonResponse({"status": request.stash.recover().status})


@stashed(OrderStash)
def idle(request: Any) -> JsonResponse:
    return JsonResponse({"tab": request.stash.tab})


urlpatterns = [
    path("order/", OrderView.as_view()),
    path("plain/", PlainView.as_view()),
    path("async/", AsyncView.as_view()),
    path("function/<name>/", function),
    path("afunction/<name>/", afunction),
    path("looking/", looking),
    path("idle/", idle),
]


@pytest.fixture
def cache_sessions(settings: Any) -> None:
    """Sessions of no database, so that only the stash's queries count."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"


@pytest.fixture
def client(cache_sessions: None) -> Client:
    return Client()


@pytest.fixture
def stash(client: Client) -> StashSession:
    """The stash of the client's session."""
    client.get("/function/made/")
    made = StashSession(client.session["_syncsessions_id"])
    made.destroy()
    return made


@pytest.fixture
def broken_table(database: str, stash: StashSession) -> Iterator[None]:
    """The stash's table is missing, as before a migration has run."""
    table = StashSlice._meta.db_table
    _rename(database, table, f"{table}_away")
    yield
    _rename(database, f"{table}_away", table)


def _rename(alias: str, old: str, new: str) -> None:
    with connections[alias].cursor() as cursor:
        quote = connections[alias].ops.quote_name
        cursor.execute(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")


TAB = {"X-Syncsessions-Tab": "tab-1"}


def test_a_first_visit_has_no_cookie_and_no_query(database: str, client: Client) -> None:
    for url in ("/order/", "/looking/", "/idle/"):
        connections[database].ensure_connection()
        with CaptureQueriesContext(connections[database]) as asked:
            response = client.get(url, headers=TAB)
        assert response.status_code == 200
        assert not response.cookies
        assert "cookie" not in response.get("Vary", "").lower() or not response.cookies
        assert [query["sql"] for query in asked if "syncsessions" in query["sql"]] == []
    assert client.get("/order/").content.decode() == "not_found||nobody|blue"


def test_what_is_recovered_is_in_the_context_and_the_forms_initial(client: Client, stash: StashSession) -> None:
    stash.merge(OrderStash.view, {"name": "Ada"})
    assert client.get("/order/").content.decode() == "recovered|Ada|Ada|blue"
    assert client.get("/plain/").content.decode() == "recovered|Ada|nobody|blue"


def test_a_valid_form_clears_its_stash_and_no_other_tabs(client: Client, stash: StashSession) -> None:
    stash.merge(OrderStash.view, {"name": "Ada"})
    stash.merge(OrderStash.view, {"text": "mine"}, tab="tab-1")
    stash.merge(OrderStash.view, {"text": "theirs"}, tab="tab-2")
    response = client.post("/order/", {"name": "", "syncsessions-tab": "tab-1"})
    assert response.status_code == 200
    assert stash.get_view(OrderStash.view) == {"name": "Ada"}
    response = client.post("/order/", {"name": "Ada", "syncsessions-tab": "tab-1"})
    assert (response.status_code, response["Location"]) == (302, "/done/")
    assert stash.fetch_view(OrderStash.view) is None
    assert stash.fetch_view(OrderStash.view, tab="tab-1") is None
    assert stash.get_view(OrderStash.view, tab="tab-2") == {"text": "theirs"}


def test_a_tab_that_names_itself_by_header(client: Client, stash: StashSession) -> None:
    stash.merge(OrderStash.view, {"text": "mine"}, tab="tab-1")
    client.post("/order/", {"name": "Ada"}, headers=TAB)
    assert stash.fetch_view(OrderStash.view, tab="tab-1") is None


@pytest.mark.parametrize("tab", ["x" * 300, "a\x00b"], ids=["long", "nul"])
def test_a_bad_tab_breaks_nothing(client: Client, stash: StashSession, tab: str) -> None:
    assert client.post("/order/", {"name": "Ada", "syncsessions-tab": tab}).status_code == 302
    assert client.get("/order/?save=Ada", headers={"X-Syncsessions-Tab": tab}).json() == {"saved": True}


def test_rendering_the_page_keeps_the_draft(client: Client, stash: StashSession) -> None:
    """The page does not know whether the visit is a fresh one; the module says so, and clears."""
    stash.merge(OrderStash.view, {"text": "mine"}, tab="tab-1")
    client.get("/order/")
    client.get("/order/", headers=TAB)
    assert stash.get_view(OrderStash.view, tab="tab-1") == {"text": "mine"}


def test_save_stash_migrates_first_and_skips_what_is_there(
    client: Client, stash: StashSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knowledge, "KNOWN_FOR", 600.0)
    for _ in range(2):
        assert client.get("/order/?save=Ada").json() == {"saved": True}
    found = stash.fetch_view(OrderStash.view)
    assert found is not None
    assert (found.data, found.revision) == ({"name": "Ada"}, 1)
    monkeypatch.setattr(OrderStash, "vsn", 2)
    monkeypatch.setattr(OrderStash, "migrate", lambda self, old_vsn, data: {"name": f"{data['name']} v2"})
    assert client.get("/order/").content.decode() == "recovered|Ada v2|Ada v2|blue"


@pytest.mark.parametrize("atomic_requests", [False, True])
@pytest.mark.usefixtures("broken_table")
def test_a_store_that_fails_never_breaks_the_page(
    database: str,
    client: Client,
    atomic_requests: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(connections.settings[database], "ATOMIC_REQUESTS", atomic_requests)
    assert client.get("/order/").content.decode() == "error||nobody|blue"
    assert "could not be recovered" in caplog.text
    caplog.clear()
    assert client.get("/order/?save=Ada").json() == {"saved": False}
    assert "did not take a write" in caplog.text
    assert client.post("/order/", {"name": "Ada"}).status_code == 302
    assert client.get("/looking/").json() == {"status": "error"}


@pytest.mark.usefixtures("broken_table")
async def test_a_store_that_fails_never_breaks_an_async_page(client: Client) -> None:
    async_client = AsyncClient()
    async_client.cookies = client.cookies
    response = await async_client.get("/async/")
    assert response.json() == {"status": "error", "values": {}, "same": True}


def test_atomic_requests_commit_what_the_page_saved(
    database: str, client: Client, stash: StashSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings[database], "ATOMIC_REQUESTS", True)
    assert client.get("/order/?save=Ada").json() == {"saved": True}
    assert client.get("/order/").content.decode() == "recovered|Ada|Ada|blue"


async def test_async_class_based_views() -> None:
    client = AsyncClient()
    assert (await client.get("/async/")).json() == {"status": "not_found", "values": {}, "same": True}
    await client.get("/afunction/Ada/")
    assert (await client.get("/async/")).json() == {"status": "recovered", "values": {"name": "Ada"}, "same": True}


def test_stashed_functions(client: Client) -> None:
    assert client.get("/function/Ada/").json() == {"name": "Ada"}
    assert client.get("/function/Grace/").json() == {"name": "Grace"}
    assert Client().get("/looking/").json() == {"status": "not_found"}
    assert client.get("/looking/").json() == {"status": "recovered"}
    assert client.get("/idle/", headers=TAB).json() == {"tab": "tab-1"}
    assert (function.__name__, function.__doc__) == ("function", "A function view.")


async def test_stashed_coroutines() -> None:
    client = AsyncClient()
    assert (await client.get("/afunction/Ada/")).json() == {"name": "Ada"}
    assert (await client.get("/afunction/Grace/")).json() == {"name": "Grace"}
    assert (await client.get("/looking/")).json() == {"status": "recovered"}
