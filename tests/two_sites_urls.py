"""The demo's URLs, with the connections' at sync/, and what a test has its site do and tell."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from project.urls import urlpatterns as demo
from syncsessions.connections import asking, delivery, invitations
from syncsessions.exceptions import SyncSessionsError
from syncsessions.models import (
    Connection,
    ConnectionChange,
    ConnectionInvitation,
    ConnectionNotice,
    ConnectionToken,
)

STEPS = ("approve", "suspend", "reactivate", "revoke", "rotate_tokens", "delete")


@csrf_exempt
def do(request: HttpRequest, what: str) -> JsonResponse:
    """Do something in this process; the error, with status 400, where that fails."""
    fields = json.loads(request.body or b"{}")
    try:
        return JsonResponse({"did": _done(what, fields)})
    except SyncSessionsError as error:
        return JsonResponse(error.as_dict(), status=400)


def _done(what: str, fields: dict[str, Any]) -> Any:
    if what == "connect":
        return str(asking.connect(**fields).pk)
    if what == "redeem":
        return str(asking.redeem(**fields).pk)
    if what == "invite":
        return invitations.make(**fields)[1]
    if what == "deliver":
        return delivery.deliver()
    if what == "forget":
        return _forget()
    assert what in STEPS, what
    row = Connection.objects.get(pk=fields.pop("id"))
    getattr(row, what)(**fields)
    return row.status


def _forget() -> None:
    """What a restored backup does: nobody is told."""
    for model in (ConnectionNotice, ConnectionInvitation, ConnectionChange, ConnectionToken, Connection):
        model.objects.all()._raw_delete("default")


def tell(request: HttpRequest) -> JsonResponse:
    """All that this site knows of its connections."""
    return JsonResponse({"rows": [_row(row) for row in Connection.objects.order_by("pk")], "waiting": _waiting()})


def _row(row: Connection) -> dict[str, Any]:
    names = ("name", "direction", "site_url", "status", "set_by_peer", "has_callback", "delivery_error", "heard_seq")
    changes = row.changes.order_by("pk").values_list("previous", "status", "by_peer", "reason")
    tokens = [token.used_at is not None for token in row.tokens.order_by("pk")]
    return {
        "id": str(row.pk),
        **{name: getattr(row, name) for name in names},
        "approved": row.approved_at is not None,
        "handed_over": row.handed_over_at is not None,
        "offers": bool(row.offered_token),
        "changes": [list(change) for change in changes],
        "tokens": tokens,
    }


def _waiting() -> int:
    return ConnectionNotice.objects.count()


urlpatterns = [
    *demo,
    path("two-sites/do/<str:what>/", do),
    path("two-sites/tell/", tell),
]
