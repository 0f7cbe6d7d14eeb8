"""The pages of the site."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import include, path
from django.views.generic import FormView

from syncsessions.stash import RECONNECT, SESSION, StashViewMixin, ViewStash
from tests.site.shop import Shop


class ReviewStash(ViewStash):
    view = "site.review"
    vsn = 2
    keys = {"title": SESSION, "draft": RECONNECT, "price": SESSION}
    client_keys = ["title", "draft"]


class ProfileStash(ViewStash):
    view = "site.profile"
    keys = ["bio"]
    client_keys = "__all__"
    owner = "user"


class ReviewForm(forms.Form):
    title = forms.CharField()
    draft = forms.CharField(widget=forms.Textarea, required=False)


class ReviewPage(StashViewMixin, FormView):
    stash_class = ReviewStash
    form_class = ReviewForm
    template_name = "site/review.html"
    success_url = "/done/"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "view_name": ReviewStash.view}


def plain(request: HttpRequest) -> HttpResponse:
    """Every kind of field; a submit without a name comes back with errors."""
    if request.method == "POST" and request.POST.get("name"):
        return redirect("/bare/" if "bare" in request.POST else "/done/")
    return render(request, "site/plain.html", {"posted": request.POST, "errors": request.method == "POST"})


def done(request: HttpRequest) -> HttpResponse:
    return render(request, "site/done.html")


def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "site/profile.html")


def pairing(request: HttpRequest) -> HttpResponse:
    return render(request, "site/pairing.html")


def shop(request: HttpRequest) -> HttpResponse:
    request.session_id  # noqa: B018 - reading it makes the session
    return render(request, "site/shop.html")


def shop_view(request: HttpRequest, what: str) -> HttpResponse:
    """What the server's own code does to the session of whoever asks."""
    session = Shop.get(request.session_id)
    if what == "terminate":
        session.terminate()
    else:
        session.dispatch("cart.add_item", {"name": what, "price": 1})
    return HttpResponse("done")


def enter(request: HttpRequest, name: str) -> HttpResponse:
    user, _made = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse("in")


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


def bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page without the module")


urlpatterns = [
    path("plain/", plain),
    path("review/", ReviewPage.as_view()),
    path("profile/", profile),
    path("pairing/", pairing),
    path("shop/", shop),
    path("shop/<str:what>/", shop_view),
    path("done/", done),
    path("bare/", bare),
    path("in/<str:name>/", enter),
    path("out/", leave),
    path("syncsessions/", include("syncsessions.urls")),
]
