"""The API's description: an OpenAPI 3.1 document, out of the same bounds that the endpoints judge by."""

from __future__ import annotations

from typing import Any

from syncsessions import __version__
from syncsessions.connections import flow, http_fields, site_url
from syncsessions.connections.calls import ASKING_SITE

Schema = dict[str, Any]

_TOKEN: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{43}$",
    "minLength": 43,
    "maxLength": 43,
    "description": "A bearer token: 32 random bytes, url-safe.",
}
_STATUS: Schema = {"type": "string", "enum": list(flow.STATUSES)}
_NAME: Schema = {"type": "string", "maxLength": http_fields.LONGEST_NAME}
_URL: Schema = {
    "type": "string",
    "format": "uri",
    "minLength": 1,
    "maxLength": site_url.LONGEST,
    "description": "Where the calling site has mounted this API; https, and reachable from here.",
    "examples": ["https://b.example/sync"],
}

_CODES = {
    400: ["bad_frame", "invalid_value"],
    401: ["invalid_token"],
    403: ["ip_not_allowed"],
    405: ["not_allowed"],
    409: [],
    413: ["too_large"],
    429: ["rate_limited"],
    503: ["disabled", "store_unavailable"],
}
_MEANINGS = {
    400: "The request is not as described here, or what it says does not hold.",
    401: "The token or the password is missing or not right.",
    403: "Refused; the code says why.",
    405: "Another method; `Allow` names those that there are.",
    409: "Not possible as things stand.",
    413: f"The body has more than {http_fields.BODY_LIMIT} bytes.",
    429: "Too many requests; `Retry-After` says when to come again.",
    503: "Connections are off here, or the site cannot do it now.",
}
_HEADERS: dict[int, Schema] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}}},
    405: {"Allow": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}},
}


def document(mount: str) -> dict[str, Any]:
    """The description of the API that is mounted at this address."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "syncsessions connections",
            "version": __version__,
            "description": "How two sites keep a lasting link. Every refusal is an object with `code` and `message`.",
        },
        "servers": [{"url": mount}],
        "paths": {
            "/api/status": {"get": _status()},
            "/api/connections": {"post": _register()},
            "/api/connections/redeem": {"post": _redeem()},
            "/api/connection": {"patch": _patch(), "delete": _delete()},
            "/api/connection/rotate": {"post": _rotate()},
            "/api/openapi.json": {"get": _self()},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _error()},
        },
    }


def _status() -> Schema:
    known = {
        "enabled": {"type": "boolean"},
        "incoming_mode": {
            "type": "string",
            "enum": ["auto_accept", "require_approval", "require_password", "deny_all"],
        },
        "password_required": {"type": "boolean"},
        "version": {"type": "string"},
    }
    link = _object(
        {
            "exists": {"const": True},
            "status": _STATUS,
            "name": _NAME,
            "direction": {"type": "string", "enum": ["sender", "receiver"]},
        }
    )
    return _operation(
        "status",
        "What this site accepts and, with a token, the status of the link that the token belongs to. A header "
        f"`{ASKING_SITE}` names the site that asks: a link to another one is then none.",
        [{}, {"bearer": []}],
        {
            200: ("The site, and the link where a token was given.", _object(known, {"connection": link})),
            404: ("There is no link of this token.", {**_object({"exists": {"const": False}}), "maxProperties": 1}),
        },
        {401: ["invalid_token"]},
    )


def _register() -> Schema:
    body = _object(
        {"sender_url": _URL, "name": _NAME, "token": _TOKEN},
        {"password": {"type": ["string", "null"], "maxLength": http_fields.LONGEST_PASSWORD}},
    )
    return _operation(
        "register",
        "Ask for a link by which the caller sends to this site. Before a link is made, `GET {sender_url}/api/status` "
        f"is called with the token offered and this site's own address as `{ASKING_SITE}`, and must know a link by it.",
        [],
        {
            201: (
                "The link is made; the token is the one to present here.",
                _object({"status": _STATUS, "token": _TOKEN}),
            )
        },
        {401: ["invalid_password"], 403: ["denied"], 409: ["already_exists"]},
        body,
    )


def _redeem() -> Schema:
    body = _object(
        {"code": {"type": "string", "maxLength": http_fields.LONGEST_CODE, "examples": ["A7X9-K2M4"]}, "name": _NAME},
        {
            "receiver_url": {**_URL, "type": ["string", "null"]},
            "token": {**_TOKEN, "type": ["string", "null"]},
        },
    )
    answer = _object({"status": _STATUS, "token": _TOKEN, "name": {"type": "string"}, "site_url": {"type": "string"}})
    return _operation(
        "redeem",
        "Use an invitation's code, good once, for a link by which this site sends to the caller. A `receiver_url` is "
        "called back as in a registration, with the `token` or, where there is none, with the code itself.",
        [],
        {201: ("The link is made, and active.", answer)},
        {400: [*_CODES[400], "invalid_code"], 403: ["denied"], 409: ["already_used", "already_exists"]},
        body,
    )


def _patch() -> Schema:
    body = _object(
        {"status": _STATUS},
        {
            "reason": {
                "type": ["string", "null"],
                "description": f"Of a longer one the first {http_fields.LONGEST_REASON} characters are kept.",
            },
            "seq": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": http_fields.LARGEST_SEQ,
                "description": "Grows with each change that the caller tells; one that is not new does nothing.",
            },
        },
    )
    return _operation(
        "tell",
        "The caller's side of the link has this status now.",
        [{"bearer": []}],
        {200: ("The status of the link here.", _object({"status": _STATUS}))},
        {403: ["ip_not_allowed"], 409: ["invalid_transition"]},
        body,
    )


def _delete() -> Schema:
    return _operation(
        "remove",
        "The caller has removed its side of the link: here it is revoked.",
        [{"bearer": []}],
        {200: ("The status of the link here.", _object({"status": _STATUS}))},
        {401: ["invalid_token"], 403: ["ip_not_allowed"]},
    )


def _rotate() -> Schema:
    gate = ["not_active", "expired", "download_limit", "record_limit", "ip_not_allowed", "outside_hours"]
    return _operation(
        "rotate",
        "Change both tokens: the one in the body is presented to the caller from now on, the one in the answer is the "
        "caller's. The old one is valid until the new one is first used.",
        [{"bearer": []}],
        {200: ("The token to present here.", _object({"token": _TOKEN}))},
        {403: gate, 409: ["invalid_transition"]},
        _object({"token": _TOKEN}),
    )


def _self() -> Schema:
    return _operation("describe", "This document.", [], {200: ("OpenAPI 3.1.", {"type": "object"})}, {})


def _operation(
    name: str,
    summary: str,
    security: list[Schema],
    answers: dict[int, tuple[str, Schema]],
    refusals: dict[int, list[str]],
    body: Schema | None = None,
) -> Schema:
    """With a body, what can be wrong with one is added to the refusals; what any request may meet, to all."""
    codes = {status: _CODES[status] for status in (405, 429, 503)}
    if body is not None:
        codes |= {status: _CODES[status] for status in (400, 413)}
    if security == [{"bearer": []}]:
        codes |= {401: _CODES[401]}
    responses = {str(status): _response(text, schema) for status, (text, schema) in answers.items()}
    for status, listed in sorted((codes | refusals).items()):
        responses[str(status)] = _refused(status, listed)
    found: Schema = {"operationId": name, "summary": summary, "security": security, "responses": responses}
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _refused(status: int, codes: list[str]) -> Schema:
    schema: Schema = {
        "allOf": [{"$ref": "#/components/schemas/Error"}, {"properties": {"code": {"enum": codes}}}],
    }
    return _response(_MEANINGS[status], schema) | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


def _response(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _error() -> Schema:
    return {
        **_object({"code": {"type": "string"}, "message": {"type": "string"}}),
        "description": "More fields may follow, by the code.",
    }
