"""Names for pages that give them back without being able to read them.

The same text has the same veiled name for as long as SECRET_KEY is the same.
"""

from __future__ import annotations

import base64
import hmac

from syncsessions.digests import keyed_digest

TAG = 16  # bytes


def veiled(purpose: str, text: str) -> str:
    """`text` as a name of letters, digits, `-` and `_`."""
    plain = text.encode()
    tag = keyed_digest(f"{purpose}.tag", text)[:TAG]
    return base64.urlsafe_b64encode(tag + _mixed(purpose, tag, plain)).decode().rstrip("=")


def unveiled(purpose: str, name: str) -> str | None:
    """The text of a veiled name; None for what was never made here."""
    try:
        raw = base64.b64decode(name + "=" * (-len(name) % 4), altchars=b"-_", validate=True)
        text = _mixed(purpose, raw[:TAG], raw[TAG:]).decode()
    except ValueError:
        return None
    return text if hmac.compare_digest(raw[:TAG], keyed_digest(f"{purpose}.tag", text)[:TAG]) else None


def _mixed(purpose: str, tag: bytes, text: bytes) -> bytes:
    """`text` xor a stream of its own: twice brings it back."""
    digests = (keyed_digest(f"{purpose}.stream", f"{tag.hex()}.{count}") for count in range(-(-len(text) // 32)))
    return bytes(one ^ other for one, other in zip(text, b"".join(digests), strict=False))
