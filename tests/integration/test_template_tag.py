"""`{% syncsessions_js %}`: the tag, its mounts, and the page's nonce where there is one."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.template import Context, Template
from django.test import override_settings
from django.utils.functional import LazyObject

TEMPLATE = "{% load syncsessions %}{% syncsessions_js %}"


class FalseUntilWritten(LazyObject):
    """As Django 6's nonce is."""

    def _setup(self) -> None:
        self._wrapped = "n0nce"

    def __bool__(self) -> bool:
        return False


def rendered(**context: Any) -> str:
    return Template(TEMPLATE).render(Context(context))


def test_it_is_one_module_and_its_mounts_without_inline_code() -> None:
    html = rendered()
    assert re.findall(r"<script[^>]*>", html) == [
        '<script id="syncsessions-mounts" type="application/json">',
        '<script type="module" src="/static/syncsessions/syncsessions.js">',
    ]
    mounts = json.loads(re.findall(r">([^<]+)</script>", html)[0])
    assert mounts == {"stash": "/syncsessions/stash/", "sockets": "/ws/"}


@override_settings(ROOT_URLCONF="tests.integration.test_template_tag")
def test_without_the_urls_there_is_no_mount() -> None:
    assert '"stash": null' in rendered()


urlpatterns: list[Any] = []


@pytest.mark.parametrize(
    "context",
    [
        {"csp_nonce": "n0nce"},
        {"csp_nonce": FalseUntilWritten()},
        {"request": SimpleNamespace(csp_nonce="n0nce")},
    ],
)
def test_it_takes_the_pages_nonce(context: dict[str, Any]) -> None:
    assert 'nonce="n0nce"' in rendered(**context)
