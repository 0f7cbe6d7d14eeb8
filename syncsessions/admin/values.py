"""Stored values for reading."""

from __future__ import annotations

import json

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from syncsessions.json_values import JSON


def pretty(data: JSON, most: int | None = None) -> SafeString:
    """JSON, indented and escaped; past `most` characters cut off."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if most is not None and len(text) > most:
        cut = _("… %(count)d more characters") % {"count": len(text) - most}
        return format_html(
            '<pre class="syncsessions-json" dir="ltr">{}\n<span class="syncsessions-cut">{}</span></pre>',
            text[:most],
            cut,
        )
    return format_html('<pre class="syncsessions-json" dir="ltr">{}</pre>', text)
