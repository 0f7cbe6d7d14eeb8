"""Values and numbers for reading."""

from __future__ import annotations

import json

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from syncsessions.json_values import JSON

TAB_SHOWN = 8


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


def slices_of(count: int) -> str:
    return ngettext("%(count)d slice", "%(count)d slices", count) % {"count": count}


def sessions_of(count: int) -> str:
    return ngettext("%(count)d stash session", "%(count)d stash sessions", count) % {"count": count}
