"""The page on which a connection begins: ask a site for one, invite one, or redeem another one's invitation."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from syncsessions import codes, staff
from syncsessions.admin.connection_forms import ConnectForm, InviteForm, RedeemForm
from syncsessions.admin.live_admin import LivePages
from syncsessions.connections import asking, flow, invitations, own_site
from syncsessions.connections.models import Connection, ConnectionInvitation
from syncsessions.exceptions import AccessRefused, InvalidValue, SyncSessionsError

MOST_INVITATIONS = 100
FIELDS = {"site_url": "url", "name": "name"}
"""By what an `InvalidValue` is about, the field that it is shown at."""


class ConnectionAdding(LivePages):
    """To connect and to redeem takes the permission to add connections; to invite, that to add invitations; to see
    open ones and to withdraw them, those to view and to delete invitations."""

    adding_template = "admin/syncsessions/connection_add.html"

    def has_connect_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_connect_permission(request) or _may(request, "add")

    @sensitive_variables("made", "ways", "form", "context")
    def adding_page(self, request: HttpRequest) -> HttpResponseBase:
        """Runs outside of any transaction, for the other site calls back for what it finds committed."""
        if not (self.has_add_permission(request) or _may_see_invitations(request)):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        way, made = request.POST.get("way") if request.method == "POST" else None, None
        if way == "withdraw":
            return self._withdraw(request)
        missing = _missing()
        ways = self._ways(request, missing, way)
        if way is not None:
            form = ways.get(way)
            if form is None:
                raise PermissionDenied
            if form.is_valid():
                try:
                    if way == "invite":
                        made = self._invite(request, form)
                        ways[way] = InviteForm(prefix=way)
                    else:
                        return self._done(request, self._begin(request, way, form))
                except SyncSessionsError as error:
                    _show(form, error)
        context = {
            **self.page_context(request, _("Add a connection"), ""),
            "missing": missing,
            "ways": ways,
            "made": made,
            "invitations": _open(request),
            "may_withdraw": _may(request, "delete"),
            "list_url": self.url("changelist") if self.has_view_permission(request) else "",
        }
        return TemplateResponse(request, self.adding_template, context)

    def _ways(self, request: HttpRequest, missing: str, posted: str | None) -> dict[str, forms.Form]:
        """The forms of what this user may do, and can do here; one of them may be `posted`."""
        kinds: list[type[forms.Form]] = []
        if self.has_connect_permission(request):
            kinds += [RedeemForm] if missing else [ConnectForm, RedeemForm]
        if _may(request, "add") and not missing:
            kinds.append(InviteForm)
        ways = {}
        for kind in kinds:
            way: str = kind.way  # type: ignore[attr-defined]
            data = request.POST if way == posted else None
            ways[way] = kind(data, prefix=way, initial={"callback": not missing})
            if missing:
                ways[way].fields["callback"].disabled = True
        return ways

    @sensitive_variables("given", "form")
    def _begin(self, request: HttpRequest, way: str, form: forms.Form) -> Connection:
        given = form.cleaned_data
        if way == "connect":
            password = given["password"] or None
            found = asking.connect(given["url"], name=given["name"], password=password, by=request.user)
        else:
            callback = given["callback"]
            found = asking.redeem(given["url"], given["code"], name=given["name"], by=request.user, callback=callback)
        self.log_addition(request, found, [{"added": {}}])
        return found

    @sensitive_variables("code")
    def _invite(self, request: HttpRequest, form: forms.Form) -> dict[str, Any]:
        """What to show of the invitation, this once."""
        invitation, code = invitations.make(form.cleaned_data["name"], by=request.user)
        self.log_addition(request, invitation, [{"added": {}}])
        site, grouped = own_site.required(), codes.grouped(code)
        command = f"python manage.py syncsessions_connect {shlex.quote(site)} --code {grouped}"
        return {"invitation": invitation, "code": grouped, "site": site, "command": command}

    def _done(self, request: HttpRequest, found: Connection) -> HttpResponseBase:
        said: dict[str, Callable[[], str]] = {
            flow.ACTIVE: lambda: _("The connection “%(name)s” is active."),
            flow.PENDING: lambda: _("The connection “%(name)s” awaits its approval at the other site."),
        }
        text = said.get(found.status, lambda: _("The connection “%(name)s” was made."))()
        self.message_user(request, text % {"name": found.name}, messages.SUCCESS)
        if not self.has_view_or_change_permission(request, found):
            return HttpResponseRedirect(self.url("add"))
        return HttpResponseRedirect(self.url("change", found.pk))

    def _withdraw(self, request: HttpRequest) -> HttpResponseBase:
        if not _may(request, "delete"):
            raise PermissionDenied
        found = _invitation(request.POST.get("invitation", ""))
        try:
            gone = found is not None and invitations.withdraw(found)
        except SyncSessionsError as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.url("add"))
        if found is not None and gone:
            staff.note(request.user.pk, found, _("Withdrawn."), gone=True)
            text = _("The invitation “%(name)s” was withdrawn.") % {"name": found.name}
            self.message_user(request, text, messages.SUCCESS)
        else:
            self.message_user(request, _("This invitation was redeemed or withdrawn already."), messages.WARNING)
        return HttpResponseRedirect(self.url("add"))


def _may(request: HttpRequest, right: str) -> bool:
    return request.user.has_perm(staff.permission(ConnectionInvitation, right))


def _may_see_invitations(request: HttpRequest) -> bool:
    return any(_may(request, right) for right in ("view", "add", "delete"))


def _missing() -> str:
    """What has to be set before other sites can be asked or invited."""
    try:
        own_site.required()
    except AccessRefused as error:
        return str(error)
    return ""


def _open(request: HttpRequest) -> list[ConnectionInvitation]:
    if not _may_see_invitations(request):
        return []
    rows = ConnectionInvitation.objects.filter(used_at=None, expires_at__gt=timezone.now())
    return list(rows.order_by("-created_at")[:MOST_INVITATIONS])


def _invitation(pk: str) -> ConnectionInvitation | None:
    try:
        return ConnectionInvitation.objects.filter(pk=UUID(pk)).first()
    except ValueError:
        return None


def _show(form: forms.Form, error: SyncSessionsError) -> None:
    field = FIELDS.get(str(error.details.get("key"))) if isinstance(error, InvalidValue) else None
    form.add_error(field if field in form.fields else None, str(error))
