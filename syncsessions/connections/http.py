"""The HTTP API: what another site asks of this one."""

from __future__ import annotations

from django.db import router
from django.views.decorators.debug import sensitive_variables

from syncsessions import __version__
from syncsessions.connections import clock, flow, http_fields, incoming, openapi, own_site, peer, site_url, steps
from syncsessions.connections.http_endpoint import Answer, Call, endpoint
from syncsessions.connections.models import Connection
from syncsessions.exceptions import AccessRefused, NotFound


def _status(call: Call) -> Answer:
    mode = incoming.mode()
    known = {
        "enabled": True,
        "incoming_mode": mode,
        "password_required": mode == incoming.REQUIRE_PASSWORD,
        "version": __version__,
    }
    if not call.has_credentials:
        return known
    if call.bearer is None:  # of another scheme, which says nothing of any link
        raise AccessRefused("invalid_token")
    try:
        found = call.peer()
    except AccessRefused:
        return 404, {"exists": False}
    if not call.is_asked_by(found.site_url):
        return 404, {"exists": False}
    over = steps.is_over(found, clock.now(steps.alias_of(found)))  # told, and not written: asking changes nothing
    status = flow.EXPIRED if over else found.status
    return {
        **known,
        "connection": {"exists": True, "status": status, "name": found.name, "direction": found.direction},
    }


@sensitive_variables()
def _register(call: Call) -> Answer:
    fields = call.fields()
    asked = incoming.Registration(
        sender_url=own_site.other(http_fields.text(fields, "sender_url", site_url.LONGEST), "sender_url"),
        name=http_fields.line(fields, "name", http_fields.LONGEST_NAME),
        token=http_fields.token(fields),
        password=http_fields.optional(fields, "password", http_fields.LONGEST_PASSWORD),
    )
    call.ask()
    made = incoming.register(asked, client=call.client, called_at=call.called_at)
    return 201, {"status": made.status, "token": made.token}


@sensitive_variables()
def _redeem(call: Call) -> Answer:
    fields = call.fields()
    url = http_fields.optional(fields, "receiver_url", site_url.LONGEST)
    asked = incoming.Redemption(
        code=http_fields.text(fields, "code", http_fields.LONGEST_CODE),
        receiver_url=None if url is None else own_site.other(url, "receiver_url"),
        name=http_fields.line(fields, "name", http_fields.LONGEST_NAME),
        token=http_fields.optional_token(fields),
    )
    call.ask()
    made = incoming.redeem(asked, client=call.client, called_at=call.called_at)
    own = {"name": own_site.name(), "site_url": own_site.url()}
    return 201, {"status": made.status, "token": made.token, **own}


def _patch(call: Call) -> Answer:
    fields = call.fields()
    status, seq = http_fields.status(fields), http_fields.seq(fields)
    # Cut, not refused: what another program says of its step may not cost the step.
    reason = http_fields.optional_line(fields, "reason", http_fields.BODY_LIMIT)[: http_fields.LONGEST_REASON]
    found = call.peer_in_its_network()
    try:
        peer.said(found, status, reason=reason, seq=seq)
        return _present(found)
    except NotFound:
        raise AccessRefused("invalid_token") from None


def _delete(call: Call) -> Answer:
    found = call.peer_in_its_network()
    try:
        peer.removed(found)
        return _present(found)
    except NotFound:
        raise AccessRefused("invalid_token") from None


@sensitive_variables()
def _rotate(call: Call) -> Answer:
    offered = http_fields.token(call.fields())
    try:
        return {"token": incoming.rotate(call.peer_that_may_pass(), offered)}
    except NotFound:
        raise AccessRefused("invalid_token") from None


def _present(connection: Connection) -> Answer:
    found = Connection.objects.using(router.db_for_write(Connection)).filter(pk=connection.pk).first()
    if found is None:
        raise NotFound
    return {"status": found.status}


def _document(call: Call) -> Answer:
    return openapi.document(own_site.url() or "")


status = endpoint(GET=_status)
registration = endpoint(POST=_register)
redemption = endpoint(POST=_redeem)
connection = endpoint(PATCH=_patch, DELETE=_delete)
rotation = endpoint(POST=_rotate)
document = endpoint(GET=_document)
