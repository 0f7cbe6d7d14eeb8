"""The address of a site: where its peer has mounted us. One spelling for each."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

import idna
from django.utils.translation import gettext as _

from syncsessions.exceptions import InvalidValue

LONGEST = 500  # characters
_PORTS = {"https": 443, "http": 80}
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+)*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")


def normalised(text: object, *, insecure: bool = False) -> str:
    """`https://host[:port][/path]`: scheme and host in small letters, no port that goes without saying, no slash or
    dot at the end of path or host, nothing escaped that need not be. `insecure` takes http too. Raises
    `InvalidValue`."""
    url = canonical(text)
    if url.startswith("http:") and not insecure:
        raise InvalidValue(_("The address of a site begins with https://."), key="site_url")
    return url


def canonical(text: object) -> str:
    """The same, whichever of the two schemes it has."""
    try:
        if not isinstance(text, str) or len(text) > LONGEST:
            raise ValueError
        return _canonical(text.strip())
    except ValueError:
        message = _("This is not the address of a site. Write it like https://b.example/sync.")
        raise InvalidValue(message, key="site_url") from None


def _canonical(text: str) -> str:
    if any(letter <= " " or letter in "\\\x7f?#@" for letter in text):  # urlsplit drops some of them in silence
        raise ValueError
    parts = urlsplit(text)
    path = _ESCAPE.sub(_unescaped, parts.path.rstrip("/"))
    steps = {each.partition(";")[0] for each in path.split("/")}  # some servers ignore what follows a semicolon
    if parts.scheme not in _PORTS or not _PATH.fullmatch(path) or {".", ".."} & steps:
        raise ValueError
    host, port = _host(parts), parts.port
    if port == 0:
        raise ValueError
    return f"{parts.scheme}://{host}{'' if port in (None, _PORTS[parts.scheme]) else f':{port}'}{path}"


def _unescaped(found: re.Match[str]) -> str:
    letter = chr(int(found[1], 16))
    return letter if _UNRESERVED.fullmatch(letter) else found[0].upper()


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{IPv6Address(host)}]"
    elif not host.isascii():
        host = idna.encode(host, uts46=True).decode()
    host = host.removesuffix(".")
    if not _HOST.fullmatch(host):
        raise ValueError
    return host
