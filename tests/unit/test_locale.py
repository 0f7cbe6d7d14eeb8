"""The German translation: whole, compiled, and shown to who reads German."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.utils import translation

from syncsessions.connections.models import Connection
from syncsessions.exceptions import AccessRefused, InvalidCode, InvalidValue
from syncsessions.json_values import judge
from syncsessions.management.commands.syncsessions_prune import sentence
from syncsessions.stash.models import StashOwner, StashSlice
from syncsessions.stash.prune import Pruned

PACKAGE = Path(__file__).resolve().parents[2] / "syncsessions"
PO = PACKAGE / "locale" / "de" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-+ #0]*[\d.]*[a-zA-Z%]")
LITERAL = r"""u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
CALL_IN_TEMPLATE = re.compile(rf"\bn?p?gettext\({LITERAL}(?:, {LITERAL})*(?:, \w+)?\)")


class Text(NamedTuple):
    """What the source asks to have translated."""

    msgid: str
    plural: str | None = None
    context: str | None = None


class Entry(NamedTuple):
    text: Text
    translations: list[str]
    fuzzy: bool


def parsed(po: str) -> list[Entry]:
    """The entries of a .po file, the header (whose msgid is empty) first."""
    entries = []
    for block in re.split(r"\n\s*\n", po.strip()):
        fields: dict[str, str] = {}
        name, fuzzy = "", False
        for line in block.splitlines():
            if line.startswith("#"):
                fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
                continue
            if not line.startswith('"'):
                name, line = line.split(" ", 1)
                assert name not in fields, f"two entries without a blank line between them: {block}"
            fields[name] = fields.get(name, "") + ast.literal_eval(line)
        if fields:
            text = Text(fields.pop("msgid"), fields.pop("msgid_plural", None), fields.pop("msgctxt", None))
            entries.append(Entry(text, [fields[name] for name in sorted(fields)], fuzzy))
    return entries


def asked_for(source: str) -> Iterator[Text]:
    """Every text that Python source hands to one of gettext's functions, under whatever name it was imported."""
    tree = ast.parse(source)
    functions = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for alias in node.names
        if "gettext" in alias.name
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr if "gettext" in node.func.attr else None
        else:
            name = functions.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if name is None:
            continue
        kind = name.partition("gettext")[0]
        given = [ast.literal_eval(argument) for argument in node.args[: 1 + len(kind)]]
        context = given.pop(0) if "p" in kind else None
        yield Text(given[0], given[1] if "n" in kind else None, context)


def in_template(source: str) -> Iterator[Text]:
    calls = [match[0] for match in CALL_IN_TEMPLATE.finditer(translation.templatize(source))]
    names = "gettext, ngettext, npgettext, pgettext"
    return asked_for("\n".join([f"from django.utils.translation import {names}", *calls]))


HEADER, *ENTRIES = parsed(PO.read_text())


def placeholders(text: str) -> list[str]:
    return sorted(PLACEHOLDER.findall(text))


def test_everything_is_translated() -> None:
    assert len(ENTRIES) > 100
    for text, translations, fuzzy in ENTRIES:
        assert not fuzzy, text
        assert len(translations) == (1 if text.plural is None else 2), text
        assert all(each.strip() for each in translations), text
        for original, translated in zip((text.msgid, text.plural), translations, strict=False):
            assert original is not None
            assert placeholders(translated) == placeholders(original), text


def test_the_compiled_file_is_the_written_one() -> None:
    expected: dict[str | tuple[str, int], str] = {"": HEADER.translations[0]}
    for text, translations, _fuzzy in ENTRIES:
        key = text.msgid if text.context is None else f"{text.context}\x04{text.msgid}"
        if text.plural is None:
            expected[key] = translations[0]
        else:
            expected.update({(key, index): each for index, each in enumerate(translations)})
    with PO.with_suffix(".mo").open("rb") as file:
        assert gettext.GNUTranslations(file)._catalog == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize(("pattern", "find"), [("*.py", asked_for), ("*.html", in_template)])
def test_no_text_of_the_source_is_left_out(pattern: str, find: Callable[[str], Iterator[Text]]) -> None:
    known = {entry.text for entry in ENTRIES}
    plurals = {text for text in known if text.plural is not None}
    asked: dict[Text, str] = {}
    for path in PACKAGE.rglob(pattern):
        for text in find(path.read_text()):
            asked[text] = path.name
    # gettext keeps one entry for a text that is asked for with a plural here and without there.
    singulars = {text._replace(plural=None) for text in plurals}
    assert len(asked) > 5
    assert {text: name for text, name in asked.items() if text not in known | singulars} == {}


def test_texts_are_found_under_any_name() -> None:
    source = (
        "from django.utils import translation\n"
        "from django.utils.translation import gettext as _, ngettext, pgettext_lazy as p\n"
        "_('one' ' text'); ngettext('a', 'b', n); p('month', 'May'); translation.gettext('far'); other('no')\n"
    )
    assert list(asked_for(source)) == [Text("one text"), Text("a", "b"), Text("May", context="month"), Text("far")]
    with pytest.raises(ValueError, match="malformed"):
        list(asked_for("from django.utils.translation import gettext\ngettext(f'{made} up')"))
    counted = "{% blocktranslate count n=m %}{{ n }} a{% plural %}b{% endblocktranslate %}"
    page = '{% load i18n %}{% translate "it\'s" %}' + counted
    assert list(in_template(page)) == [Text("it's"), Text("%(n)s a", "b")]


def test_who_reads_german_is_told_in_german() -> None:
    with translation.override("de"):
        assert str(StashSlice._meta.verbose_name) == "Stash-Slice"
        assert str(StashOwner._meta.verbose_name_plural) == "Stash-Sitzungen"
        # Django's own words for the same text, like auth's "Aktiv", would win.
        words = ["ausstehend", "aktiv", "ausgesetzt", "widerrufen", "abgelaufen"]
        assert [str(label) for label in Connection.Status.labels] == words
        assert str(InvalidCode()) == "Dieser Code ist nicht gültig. Prüfen Sie ihn oder fordern Sie einen neuen an."
        assert AccessRefused("disabled").as_dict()["message"] == "Dies ist hier abgeschaltet."
    with translation.override("en"):
        assert str(InvalidCode()).startswith("This code")


def test_sentences_of_several_parts_hold_together() -> None:
    with translation.override("de"):
        with pytest.raises(InvalidValue, match=r"^„a“ bei \[1\] kann nicht gespeichert werden: set ist kein JSON\.$"):
            judge({"a": [1, set()]})
        pruned = sentence(Pruned(unseen=1, superseded=2), dry_run=False)
    assert pruned == "Entfernt: 2 überholte Versionen und 1 Slice, der länger als 30 Tage nicht gesehen wurde."
