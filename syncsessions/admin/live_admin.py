"""What the admin's live pages have in common: rights, a line to the server, and a question before anything ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_permission_codename
from django.forms import Media
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse

from syncsessions.admin.removal import Plan
from syncsessions.templatetags.syncsessions import mounts

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin

POLL_EVERY = 5  # seconds


class LivePages(Base):
    """What the live pages of any model need."""

    def has_right(self, right: str, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{get_permission_codename(right, self.opts)}")

    def url(self, page: str, *args: object) -> str:
        """The address of one of this admin's own pages."""
        return reverse(f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)

    def page_context(self, request: HttpRequest, title: str, script: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": title,
            "script": f"syncsessions/{script}",
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def line_config(self, poll: str) -> dict[str, Any]:
        """What a page's script has to know to hear of changes: by the socket, by polling where there is none."""
        return {
            "library": static("syncsessions/admin-live.js"),
            "socket": f"{mounts()['sockets']}sync/admin/",
            "poll": poll,
            "every": POLL_EVERY * 1000,
        }


class LiveAdmin(LivePages):
    """Of records of a store, which have no table: nothing can be added or changed in Django's own way."""

    confirmation_template = "admin/syncsessions/confirm_removal.html"

    @property
    def media(self) -> Media:
        return Media(css={"all": ["syncsessions/admin.css", "syncsessions/admin-sync.css"]})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def ask(
        self, request: HttpRequest, plan: Plan, action: str, selected: Sequence[str], action_url: str, back_url: str
    ) -> HttpResponseBase:
        """The asking page, which posts back to `action_url`."""
        context = {
            **self.page_context(request, plan.title, ""),
            "plan": plan,
            "more": plan.total - len(plan.lines),
            "action": action,
            "selected": selected,
            "select_across": "0",
            "newest": 0,
            "action_url": action_url,
            "back_url": back_url,
        }
        return TemplateResponse(request, self.confirmation_template, context)
