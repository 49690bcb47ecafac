"""The HTML report as a file: its policy, its escaping, and how it is written."""

from __future__ import annotations

import base64
import functools
import hashlib
import html as stdlib_html
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_fleet import Fleet, fleet, shared

from espcert.errors import UsageError
from espcert.fleet.reports import html

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    '"><b>bold</b>',
    "{{ 7 * 7 }}{% raw %}",
    '=HYPERLINK("x","y")',
    "\x1b[31mred\x1b[0m\x00\r\n",
    "\u202egnp.exe\u2028\u2066",
    "\ud800",
]


class Elements(HTMLParser):
    """Every element and all text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.inside: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = None
        if tag in ("script", "style") and "type" not in dict(attrs):
            self.inside = tag
            self.inline.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside:
            tag, text = self.inline[-1]
            self.inline[-1] = (tag, text + data)
        else:
            self.text.append(data)


def page(made: Fleet) -> str:
    return html.page(made, full_report="all.jsonl").decode("utf-8")


@pytest.fixture(scope="module")
def example() -> str:
    return page(fleet(120))


def policy_of(parsed: Elements) -> dict[str, list[str]]:
    [content] = [
        attributes["content"] for tag, attributes in parsed.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    directives = [part.split() for part in (content or "").split(";")]
    return {name: values for name, *values in directives}


def test_the_policy_allows_the_scripts_and_styles_of_the_page_and_nothing_else(
    example: str,
) -> None:
    parsed = Elements(example)
    policy = policy_of(parsed)
    for tag in ("script", "style"):
        texts = [text for kind, text in parsed.inline if kind == tag]
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        expected = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
        assert policy.pop(f"{tag}-src") == expected
    assert [kind for kind, _ in parsed.inline] == ["style"] * 2 + ["script"] * 3
    assert policy == {
        "default-src": ["'none'"], "base-uri": ["'none'"], "form-action": ["'none'"],
    }  # fmt: skip


def test_the_page_refers_to_nothing_outside(example: str) -> None:
    for tag, attributes in Elements(example).tags:
        assert tag not in ("link", "img", "iframe", "object", "form", "base")
        assert not {"src", "action", "style", "srcset"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "sourceMappingURL" not in example
    assert "\r" not in example


def test_the_page_says_what_it_was_made_of(example: str) -> None:
    text = " ".join("".join(Elements(example).text).split())
    for told in ("espcert 0.1.0, espcert fleet audit", "2026-03-02T08:00:00Z", "3f" * 32,
                 "--ca factory-ca.pem, --expires-within 180, --redact", "12 hidden, 1 too-large",
                 "all.jsonl", "Permission is hereby granted"):  # fmt: skip
        assert told in text


def test_the_same_fleet_gives_the_same_bytes() -> None:
    assert html.page(fleet(30)) == html.page(fleet(30))


def spoilt(text: str) -> Fleet:
    """A fleet in which every string that an image or a path can choose is this one."""
    made = fleet(12)
    for record in made.rows:
        record |= {"source": text, "id": text, "subject": text, "label": text, "revision": text}
        record["findings"] = [
            {**finding, "message": text, "item": text} for finding in record.get("findings", ())
        ]
        if "error" in record:
            record["error"] = {"code": record["error"]["code"], "message": text}
    made.across = [shared("shared-serial", made.rows[:2], "share", "look")]
    made.across[0]["message"] = text
    made.header["options"] = {"label": text}
    return made


@functools.cache
def harmless() -> Elements:
    """The page of the same fleet with a harmless string."""
    return Elements(page(spoilt("plain")))


def assert_no_more_than_text(parsed: Elements) -> None:
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in harmless().tags]
    assert parsed.inline == harmless().inline


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_images_and_paths_are_text(text: str) -> None:
    parsed = Elements(page(spoilt(text)))
    assert_no_more_than_text(parsed)
    whole = "".join(parsed.text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]", whole)


@given(st.text(min_size=1))
@settings(max_examples=15, deadline=None)
def test_any_string_is_text(text: str) -> None:
    assert_no_more_than_text(Elements(page(spoilt(text))))


def test_the_name_of_the_full_report_is_text_too() -> None:
    made = fleet(40)
    name = "<script>x</script>.jsonl"
    text = html.page(made, full_report=name, limit=10).decode()
    assert name not in text
    assert stdlib_html.escape(name) in text


def test_an_empty_fleet_has_a_page() -> None:
    text = page(fleet(0))
    assert "No module was examined." in text
    assert "<canvas" not in text


@pytest.mark.parametrize("size", [1, 2])
def test_numbers_and_nouns_agree(size: int) -> None:
    text = page(fleet(size))
    assert ("1 modules" in text) is False
    assert "2 module " not in text


def test_a_migration_says_so() -> None:
    made = fleet(50)
    made.header["verb"] = "migrate"
    text = page(made)
    assert "modules are migrated." in " ".join(text.split())
    assert "Refused" in text
    assert "Not sound" not in text


def test_a_run_that_was_not_finished_says_so_on_the_first_screen() -> None:
    made = fleet(20)
    assert "not finished" not in page(made)
    made.header |= {"finished": None, "left": 1234}
    first = " ".join(page(made).split()).partition("<main>")[0]
    assert "The run was not finished.</strong> 1,234 modules of its sources are not" in first


def test_sound_modules_that_share_a_key_are_not_just_sound() -> None:
    made = fleet(300)
    made.rows = [row for row in made.rows if row.get("verdict") == "ok"]
    assert {one["severity"] for one in made.across} >= {"error"}
    title = " ".join(page(made).split()).partition("</h1>")[0]
    assert title.endswith("are sound by themselves, but share what they must not. ")
    made.across = []
    assert " ".join(page(made).split()).partition("</h1>")[0].endswith("modules are sound. ")


def test_files_that_were_left_out_are_no_modules() -> None:
    made = fleet(20)
    blank = dict.fromkeys(("layout", "key", "verdict", "not_after"))
    made.rows.append(
        {"source": "zzz.pem", "id": "zzz", "status": "skipped", "exit_code": 0} | blank
    )
    text = " ".join(page(made).split())
    assert "of 20 modules" in text
    assert '<strong data-state="skipped" data-value="1">1</strong>' in text
    assert 'id="cut"' not in text


def test_groups_that_are_not_listed_are_counted() -> None:
    made = fleet(60)
    made.header["across"] = {"shared-private-key": 1, "shared-serial": 1234}
    assert "1,233 more such groups are not listed here; all are in all.jsonl." in page(made)


def test_long_options_are_cut() -> None:
    made = fleet(1)
    made.header["options"] = {"sources": [f"dump-{n}.bin" for n in range(5000)], "size": 0}
    text = page(made)
    assert "dump-9.bin and 4,990 more" in text
    assert "--size 0" in text


def test_writing_refuses_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    html.write(fleet(5), target)
    first = target.read_bytes()
    assert first.startswith(b"<!doctype html>")
    with pytest.raises(UsageError, match="--force replaces it"):
        html.write(fleet(6), target)
    assert target.read_bytes() == first
    html.write(fleet(6), target, force=True)
    assert target.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_without_jinja_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError) as raised:
        html.write(fleet(5), tmp_path / "report.html")
    assert str(raised.value) == "an HTML report needs Jinja2: pip install 'espcert[report]'"
    assert raised.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []
