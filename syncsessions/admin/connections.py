"""The connections in the admin: a list and a page for each, whose badges follow what the other sites say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import connections, models, transaction
from django.db.models import QuerySet
from django.forms import Media, ModelForm
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from syncsessions.admin import connection_badges as badges
from syncsessions.admin.connection_actions import RIGHTS, ConnectionActions
from syncsessions.admin.connection_adding import ConnectionAdding
from syncsessions.admin.connection_answers import answers
from syncsessions.admin.connection_forms import ConnectionForm, LinesField
from syncsessions.admin.connection_page import page_of
from syncsessions.admin.live_page import connection_texts, connection_words
from syncsessions.admin.values import pretty
from syncsessions.connections import announce, overview
from syncsessions.connections.models import Connection
from syncsessions.connections.steps import alias_of
from syncsessions.connections.validators import validate_labels, validate_networks
from syncsessions.exceptions import StoreUnavailable
from syncsessions.frames import error_frame

LINES = ("allowed_tables", "excluded_tables", "auto_approve_tables")


def outside_transactions(view: Callable[..., Any]) -> Callable[..., Any]:
    """ATOMIC_REQUESTS or not: what calls another site must have committed what that one then asks for."""
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@admin.register(Connection)
class ConnectionAdmin(ConnectionAdding, ConnectionActions):
    """Statuses are changed by actions alone; what the form does not show is never written by it."""

    change_list_template = "admin/syncsessions/connections.html"
    change_form_template = "admin/syncsessions/connection.html"
    delete_confirmation_template = "admin/syncsessions/connection_delete.html"
    delete_selected_confirmation_template = "admin/syncsessions/connection_delete_selected.html"
    form = ConnectionForm
    list_display = ["name", "site", "direction", "local_status", "remote_status"]
    list_filter = ["direction", "status"]
    search_fields = ["name", "site_url"]
    search_help_text = gettext_lazy("A name, or the address of a site.")
    ordering = ["-created_at"]
    list_per_page = 50
    list_max_show_all = overview.MOST
    readonly_fields = ["site", "direction", "password_state", "shown_metadata"]

    @property
    def media(self) -> Media:
        css = ["syncsessions/admin.css", "syncsessions/admin-sync.css", "syncsessions/admin-connections.css"]
        return super().media + Media(css={"all": css})

    def get_fieldsets(self, request: HttpRequest, obj: Connection | None = None) -> Any:
        passwords = ["password_state"]
        if self.has_change_permission(request, obj):
            passwords += ["new_password", "no_password"]
        found: list[tuple[Any, dict[str, Any]]] = [
            (None, {"fields": ["name", "site", "direction"]}),
            (_("Access rules"), {"fields": ["approval_mode", *LINES, "default_conflict_strategy"]}),
            (
                _("Limits"),
                {
                    "fields": [
                        "expires_at",
                        "max_downloads",
                        "max_records_total",
                        "max_records_per_request",
                        "rate_limit",
                    ],
                    "description": _("Empty is no limit."),
                },
            ),
            (
                _("From where and when"),
                {
                    "fields": ["ip_allowlist", "allowed_hours_start", "allowed_hours_end"],
                    "description": _(
                        "Empty is no limit. Hours are in UTC, and included at both ends: 22 to 6 is the night."
                    ),
                },
            ),
            (_("Download password"), {"fields": passwords}),
        ]
        if obj is not None and obj.metadata:
            found.append((_("Metadata"), {"fields": ["shown_metadata"], "classes": ["syncsessions-wide"]}))
        return found

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: Any, **kwargs: Any) -> Any:
        if db_field.name in LINES:
            text = _("One model on each line, like shop.Order.")
            return _lines(db_field, validate_labels, text)
        if db_field.name == "ip_allowlist":
            text = _("One network on each line, like 192.0.2.0/24.")
            return _lines(db_field, validate_networks, text)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The list's own filters alone: by others one would find out, letter by letter, what a row keeps."""
        return lookup.partition("__")[0] in self.list_filter

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("live/", view(self.live_view), name=f"{name}_live"),
            path("<path:object_id>/action/", view(self.one_view), name=f"{name}_action"),
            *super().get_urls(),
        ]

    @method_decorator(outside_transactions)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().changelist_view(request, extra_context)
        if (shown := getattr(response, "context_data", None)) and "cl" in shown:
            shown["config"] = self._config(shown["cl"].result_list)
            shown["add_url"] = self.url("add")
        return response

    @method_decorator([outside_transactions, sensitive_post_parameters(), csrf_protect])
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        return self.adding_page(request)

    @method_decorator([outside_transactions, csrf_protect])
    def one_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return self.action_view(request, unquote(object_id))

    @method_decorator(sensitive_post_parameters())
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        response = super().change_view(request, object_id, form_url, extra_context)
        if (shown := getattr(response, "context_data", None)) and isinstance(shown.get("original"), Connection):
            connection = shown["original"]
            rights = [name for name, right in RIGHTS.items() if self.has_right(right, request)]
            shown["page"] = page_of(connection, rights)
            shown["config"] = self._config([connection], single=True)
            shown["action_url"] = self.url("action", connection.pk)
        return response

    def live_view(self, request: HttpRequest) -> HttpResponseBase:
        """What the socket sends, for pages without one."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        ids = overview.ids_of(request.GET.get("ids", ""))
        try:
            found = overview.look(ids)
        except StoreUnavailable as error:
            return JsonResponse(error_frame(error), status=503)
        known = {str(pk): status for pk, status in answers.known(found.connections).items()}
        return JsonResponse({**found.as_frame(ids), "remote": known})

    def _config(self, shown: Iterable[Connection], *, single: bool = False) -> dict[str, Any]:
        return {
            **self.line_config(self.url("live")),
            "ids": [connection.pk.hex for connection in shown],
            "single": single,
            "total": Connection.objects.count(),
            "words": connection_words(),
            "texts": connection_texts(),
        }

    @admin.display(description=gettext_lazy("site"), ordering="site_url")
    def site(self, connection: Connection) -> str:
        return connection.site_url or str(self.get_empty_value_display())

    @admin.display(description=gettext_lazy("status here"), ordering="status")
    def local_status(self, connection: Connection) -> SafeString:
        return badges.labelled(_("status here"), badges.local(connection))

    @admin.display(description=gettext_lazy("status there"))
    def remote_status(self, connection: Connection) -> SafeString:
        return badges.labelled(_("status there"), badges.remote(connection))

    @admin.display(description=gettext_lazy("Download password"))
    def password_state(self, connection: Connection) -> str:
        return _("One is set.") if connection.download_password else _("None is set.")

    @admin.display(description=gettext_lazy("metadata"))
    def shown_metadata(self, connection: Connection) -> SafeString:
        return pretty(connection.metadata)

    def save_model(self, request: HttpRequest, obj: Connection, form: ModelForm[Any], change: bool) -> None:
        """Writes what was changed in the form, and not what its reading of the row may have missed since."""
        if isinstance(form, ConnectionForm) and (names := form.fields_to_save()):
            obj.save(update_fields=[*names, "updated_at"])
            announce.rung(alias_of(obj))

    def get_deleted_objects(self, objs: QuerySet[Connection] | Sequence[Connection], request: HttpRequest) -> Any:
        """The connections alone: what goes with them is of no interest."""
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        names = [f"{each.name} ({each.site_url})" if each.site_url else each.name for each in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, lacking, []


def _lines(db_field: models.Field[Any, Any], check: Callable[[object], None], text: str) -> LinesField:
    return LinesField(check, text, label=capfirst(db_field.verbose_name), help_text=text, required=False)
