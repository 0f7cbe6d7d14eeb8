"""Watches what the tests' process logs, and what it writes about connections and into the admin's log, for secrets.

Every token and code that is drawn is known here, a password by `keep`. Records of each level are looked at, those too
that no handler is set to take. What a live server printed is looked at when it is closed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

from syncsessions import codes
from syncsessions.connections import tokens

TABLES = ("syncsessions_connection", "django_admin_log")
_LOGGERS = ("syncsessions", "django", "urllib3", "requests", "asgiref", "channels", "daphne")
_RUN = re.compile(r"[A-Za-z0-9_-]{43,}")
_CODE = re.compile(f"(?<![A-Za-z0-9])[{codes.ALPHABET}]{{4}}-?[{codes.ALPHABET}]{{4}}(?![A-Za-z0-9])", re.IGNORECASE)
_TOKEN_LENGTH = 43

_drawn: set[str] = set()
_kept: set[str] = set()
_seen: list[str] = []


def keep(password: str) -> str:
    """A password that must not be seen either; one that no innocent text has in it."""
    _kept.add(password)
    return password


def saw(text: str) -> None:
    """Look at this text too."""
    _seen.append(text)


def leaks() -> list[str]:
    """What has been seen since the last look and has a secret in it."""
    texts = _seen[:]
    del _seen[: len(texts)]
    return [text for text in texts if has_secret(text)]


def has_secret(text: str) -> bool:
    if any(password in text for password in _kept):
        return True
    for run in _RUN.findall(text):
        if any(run[at : at + _TOKEN_LENGTH] in _drawn for at in range(len(run) - _TOKEN_LENGTH + 1)):
            return True
    return any(found.replace("-", "").upper() in _drawn for found in _CODE.findall(text))


def watch() -> None:
    """Begin, for as long as the process lives."""
    for module in (tokens, codes):
        module.draw = _noting(module.draw)  # type: ignore[attr-defined]
    logging.Logger.handle = _seeing(logging.Logger.handle)  # type: ignore[method-assign]
    for level, name in ((logging.DEBUG, "debug"), (logging.INFO, "info")):
        setattr(logging.Logger, name, _seeing_unasked(level, getattr(logging.Logger, name)))
    connection_created.connect(_watch_connection)


def _noting(draw: Callable[[], str]) -> Callable[[], str]:
    def drawn() -> str:
        secret = draw()
        _drawn.add(secret)
        return secret

    return drawn


def _seeing(handle: Callable[..., None]) -> Callable[..., None]:
    def handled(logger: logging.Logger, record: logging.LogRecord) -> None:
        try:
            text = logging.Formatter().format(logging.makeLogRecord(record.__dict__))
        except Exception:  # the tests' own handlers will say what is wrong with it
            text = repr(record.__dict__)
        saw(text)
        handle(logger, record)

    return handled


def _seeing_unasked(level: int, log: Callable[..., None]) -> Callable[..., None]:
    """A record that nobody wants is not even made: its text is put together here."""

    def logged(logger: logging.Logger, message: object, *given: Any, stacklevel: int = 1, **named: Any) -> None:
        if not logger.isEnabledFor(level) and logger.name.startswith(_LOGGERS):
            try:
                saw(str(message) % given if given else str(message))
            except (TypeError, ValueError):
                saw(f"{message} {given}")
        log(logger, message, *given, stacklevel=stacklevel + 1, **named)

    return logged


def _watch_connection(connection: Any, **_named: Any) -> None:
    if _see_writes not in connection.execute_wrappers:
        connection.execute_wrappers.append(_see_writes)


def _see_writes(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    if isinstance(sql, str) and any(table in sql for table in TABLES):
        saw(f"{sql} {params!r}")
    return execute(sql, params, many, context)
