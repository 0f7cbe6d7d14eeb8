"""`{% load syncsessions %}{% syncsessions_js %}`: the JS module and where it finds the server, without inline code."""

from __future__ import annotations

from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.html import format_html, json_script
from django.utils.safestring import SafeString

register = template.Library()

MOUNTS_ID = "syncsessions-mounts"


@register.simple_tag(takes_context=True)
def syncsessions_js(context: template.Context) -> SafeString:
    """The module's script tag, and a `json_script` with its mounts. Takes the page's CSP nonce where there is one."""
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(context.get("request"), "csp_nonce", None)
    # Django's nonce is false until it is first written out.
    attribute = "" if nonce is None else format_html(' nonce="{}"', str(nonce))
    module = format_html(
        '<script type="module" src="{}"{}></script>', static("syncsessions/syncsessions.js"), attribute
    )
    return json_script(mounts(), MOUNTS_ID) + module


def mounts() -> dict[str, Any]:
    """The stash over HTTP (None where it is not mounted) and the path of the sockets."""
    try:
        stash = reverse("syncsessions:stash")
    except NoReverseMatch:
        stash = None
    return {"stash": stash, "sockets": f"{get_script_prefix()}ws/"}
