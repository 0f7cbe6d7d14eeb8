"""The front page and the shared note."""

from __future__ import annotations

import os
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.generic import TemplateView


class FrontView(TemplateView):
    template_name = "demo/front.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        command = os.environ.get("DEMO_COMMAND", "python manage.py demo")
        return super().get_context_data(server_pid=os.getpid(), command=command, **kwargs)


class NoteView(TemplateView):
    """Has no code for its stash: the view's name in STASH_CLIENT_VIEWS and a form that bears it are all."""

    template_name = "demo/note.html"


def favicon(request: HttpRequest) -> HttpResponse:
    """For pages that name no icon of their own, as the admin's."""
    return redirect(static("demo/mark.svg"))
