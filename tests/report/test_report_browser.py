"""The HTML report in real Chromium: quiet, right, and to be used without a mouse.

The page's policy forbids evaluation, and nothing here gets around it: waiting is done by locators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.example_fleet import Fleet, fleet

from espcert.fleet.reports import html

SIZE = 400
CHARTS = ("verdicts", "expiry", "layouts", "keys", "frequency")
WATCH = """addEventListener("securitypolicyviolation",
    (event) => console.error(`violation: ${event.violatedDirective} ${event.blockedURI}`));"""

Opener = Callable[..., Page]


def ready(page: Page) -> Page:
    expect(page.locator("html")).to_have_attribute("data-ready", re.compile(r"\d"), timeout=60_000)
    return page


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """Opens a report. In the end: not a word on the console, no request but for the file itself."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def opened(made: Fleet | Path, **settings: Any) -> Page:
        path = made if isinstance(made, Path) else tmp_path / "report.html"
        if isinstance(made, Fleet):
            html.write(made, path, full_report="all.jsonl")
        context = browser.new_context(**settings)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.add_init_script(WATCH)
        page.goto(path.as_uri())
        return page if settings.get("java_script_enabled") is False else ready(page)

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert len(asked) == len(contexts)
    assert all(url.endswith(".html") for url in asked)


@pytest.fixture(scope="module")
def example() -> Fleet:
    made = fleet(SIZE)
    made.rows[200]["id"] = "id-7 (spare)"
    return made


@pytest.fixture(scope="module")
def report(example: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    html.write(example, path, full_report="all.jsonl")
    return path


def table_of(page: Page, figure: str) -> dict[str, list[str]]:
    """The cells of a figure's table by the name of the row."""
    rows = page.locator(f"#{figure} tbody tr").all()
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return {name.strip(): values for name, *values in cells}


def shown(page: Page) -> list[str]:
    """The names of the modules whose rows are drawn."""
    return page.locator("#table .open").all_inner_texts()


def count(page: Page) -> Locator:
    return page.locator("#count")


def heading(page: Page, name: str) -> Locator:
    return page.locator("#table").get_by_role("button", name=name, exact=True)


# --- Quiet and complete ------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_without_a_word(open_page: Opener, report: Path, scheme: str, width: int) -> None:
    page = open_page(report, color_scheme=scheme, viewport={"width": width, "height": 900})
    page.locator("#modules").scroll_into_view_if_needed()
    expect(page.locator("#explorer")).to_be_visible()
    widths = page.locator("html").evaluate("(html) => [html.scrollWidth, html.clientWidth]")
    assert widths[0] == widths[1], "the page scrolls sideways"


PIXELS = """(canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height)
        .getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Map();
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] === 255) {
            const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`;
            seen.set(colour, (seen.get(colour) ?? 0) + 1);
        }
    }
    return [...seen].filter(([, pixels]) => pixels > 150).map(([colour]) => colour);
}"""


@pytest.mark.parametrize(
    ("scheme", "sound", "wrong"),
    [("light", "43,138,104", "192,57,47"), ("dark", "76,181,142", "232,105,94")],
)
def test_charts_are_drawn_in_the_colours_of_the_page(
    open_page: Opener, report: Path, scheme: str, sound: str, wrong: str
) -> None:
    page = open_page(report, color_scheme=scheme)
    for name in CHARTS:
        colours = page.locator(f"#{name}-chart").evaluate(PIXELS)
        assert wrong in colours, name
        assert (sound in colours) == (name != "frequency"), name


def test_charts_change_their_colours_with_the_page(open_page: Opener, report: Path) -> None:
    page = open_page(report, color_scheme="light")
    page.emulate_media(color_scheme="dark")
    for name in CHARTS:
        assert "232,105,94" in page.locator(f"#{name}-chart").evaluate(PIXELS), name
    page.emulate_media(media="print", color_scheme="dark")
    for name in CHARTS:
        assert "192,57,47" in page.locator(f"#{name}-chart").evaluate(PIXELS), name


def test_every_chart_has_its_table(open_page: Opener, report: Path) -> None:
    page = open_page(report)
    for name in CHARTS:
        figure = page.locator(f"#{name}")
        expect(figure.get_by_role("img")).to_have_count(1)
        expect(figure.get_by_role("table")).to_be_visible()


def test_landmarks_and_names(open_page: Opener, report: Path) -> None:
    page = open_page(report)
    for role in ("banner", "main", "contentinfo", "grid"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    for name in ("Find", "Verdict", "Layout", "Key", "Expires", "Finding"):
        expect(page.get_by_label(name, exact=True)).to_be_visible()


# --- Figures -----------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_records(
    open_page: Opener, report: Path, example: Fleet
) -> None:
    page, rows = open_page(report), example.rows
    verdicts = [row.get("verdict") for row in rows]
    words = {"Sound": "ok", "Sound, with warnings": "warning", "Not sound": "error"}
    sound = verdicts.count("ok") + verdicts.count("warning")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        f"{sound} of {len(rows)} modules are sound."
    )
    tiles = page.locator(".tiles div").all()
    told = {t.locator("dt").inner_text(): t.locator("strong").inner_text() for t in tiles}
    expected = {name: str(verdicts.count(verdict)) for name, verdict in words.items()}
    expected |= {"Modules": str(len(rows)), "Not readable": str(verdicts.count(None))}
    assert told == expected
    table = {name: cells[0] for name, cells in table_of(page, "verdicts").items()}
    assert table | {"Modules": str(len(rows))} == expected


def test_layouts_expiry_and_findings_are_those_of_the_records(
    open_page: Opener, report: Path, example: Fleet
) -> None:
    page, rows = open_page(report), example.rows
    layouts = {row["layout"] or "not read" for row in rows}
    assert {name: cells[-1] for name, cells in table_of(page, "layouts").items()} == {
        name: str(sum((row["layout"] or "not read") == name for row in rows)) for name in layouts
    }
    ends = [row["not_after"][:4] for row in rows if row.get("not_after")]
    assert {year: sum(map(int, cells)) for year, cells in table_of(page, "expiry").items()} == {
        year: ends.count(year) for year in map(str, range(int(min(ends)), int(max(ends)) + 1))
    }
    findings = table_of(page, "frequency")
    codes = {finding["code"] for row in rows for finding in row.get("findings", ())}
    for code in codes:
        having = [r for r in rows if code in {f["code"] for f in r.get("findings", ())}]
        assert findings[code][1] == str(len(having)), code


# --- The table ---------------------------------------------------------------------------------


def worst_first(example: Fleet) -> list[str]:
    """The modules that are not sound, then those that cannot be read."""
    failing = [row["source"] for row in example.rows if row.get("verdict") == "error"]
    return failing + [row["source"] for row in example.rows if row["exit_code"] == 3]


def test_the_worst_come_first(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    assert shown(page)[:12] == worst_first(example)[:12]
    expect(count(page)).to_have_text(f"{SIZE} modules")


def test_sorting(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    names = sorted(row["source"] for row in example.rows)
    heading(page, "Module").click()
    expect(page.locator("#table .open").first).to_have_text(names[0])
    assert shown(page)[:10] == names[:10]
    heading(page, "Module").press("Enter")
    expect(page.locator("#table .open").first).to_have_text(names[-1])
    assert shown(page)[:10] == names[::-1][:10]
    column = page.locator('#table [role="columnheader"][aria-sort="descending"]')
    expect(column).to_contain_text("Module")


def test_finding_a_module(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    row = next(row for row in example.rows[100:] if row.get("serial"))
    named = "ID-7 (spare)"
    for text in (row["serial"], row["serial"].upper(), row["source"], "000150 devices", named):
        page.get_by_label("Find", exact=True).fill(text)
        expect(count(page)).to_have_text(f"1 of {SIZE} modules")
    page.get_by_label("Find", exact=True).fill("no such module")
    expect(page.locator("#table")).to_contain_text("No module is like this.")
    page.get_by_role("button", name="Clear").click()
    expect(count(page)).to_have_text(f"{SIZE} modules")


def test_filters(open_page: Opener, report: Path, example: Fleet) -> None:
    page, rows = open_page(report), example.rows

    def expect_count(expected: int) -> None:
        expect(count(page)).to_have_text(f"{expected} of {SIZE} modules")

    page.get_by_label("Verdict", exact=True).select_option("Sound, with warnings")
    warned = [row for row in rows if row.get("verdict") == "warning"]
    expect_count(len(warned))
    page.get_by_label("Layout", exact=True).select_option("cust_flash")
    expect_count(sum(row["layout"] == "cust_flash" for row in warned))
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Expires", exact=True).select_option("expired")
    expect_count(sum((row.get("not_after") or "9") < "2026-03-02T08" for row in rows))
    page.get_by_label("Expires", exact=True).select_option("none")
    expect_count(sum(not row.get("not_after") for row in rows))


def test_what_to_do_leads_to_its_modules(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    shared, own = page.locator(".steps li").all()[:2]
    expect(shared).to_contain_text("4 modules. Modules of a fleet have the same private key")
    code = own.locator("button").get_attribute("data-code")
    own.get_by_role("button").press("Enter")
    having = [
        row for row in example.rows
        if code in {finding["code"] for finding in row.get("findings", ())}
    ]  # fmt: skip
    expect(own).to_contain_text(f"{len(having)} modules.")
    expect(count(page)).to_have_text(f"{len(having)} of {SIZE} modules")
    expect(page.locator("#modules")).to_be_in_viewport()


def test_a_row_opens_to_its_findings(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    by_source = {row["source"]: row for row in example.rows}
    dialog = page.get_by_role("dialog")
    page.locator("#table .open").nth(3).click()
    for _ in range(3):
        expect(dialog.locator(".facts")).to_be_visible()
        row = by_source[dialog.get_by_role("heading", level=2).inner_text()]
        items = dialog.locator(".findings > li")
        expect(items).to_have_count(len(row["findings"]))
        for item, finding in zip(items.all(), row["findings"], strict=True):
            expect(item).to_contain_text(finding["message"])
            expect(item).to_contain_text(finding["code"])
            if not finding["hint"].startswith("nothing to do"):
                expect(item).to_contain_text(finding["hint"][1:].replace("`", ""))
        expect(dialog).to_contain_text(row["layout"])
        name = dialog.get_by_role("heading", level=2)
        before = name.inner_text()
        dialog.get_by_role("button", name="Next").click()
        expect(name).not_to_have_text(before)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_an_unreadable_module_says_why(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    row = next(row for row in example.rows if row["exit_code"] == 3)
    page.get_by_label("Find", exact=True).fill(row["source"])
    expect(count(page)).to_have_text(f"1 of {SIZE} modules")
    page.locator("#table .open").click()
    expect(page.get_by_role("dialog")).to_contain_text(row["error"]["message"])


def test_a_shared_key_names_the_other_modules(
    open_page: Opener, report: Path, example: Fleet
) -> None:
    page = open_page(report)
    first, *others = example.across[0]["sources"]
    expect(page.locator("section:has(#across)")).to_contain_text(others[-1])
    page.get_by_label("Find", exact=True).fill(first)
    expect(count(page)).to_have_text(f"1 of {SIZE} modules")
    page.locator("#table .open").click()
    assert page.locator("#details .sources li").all_inner_texts() == others


def test_the_keyboard_is_enough(open_page: Opener, report: Path, example: Fleet) -> None:
    page = open_page(report)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the modules")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Find", exact=True).focus()
    holder = page.locator("#table .tabulator-tableholder")
    for _ in range(20):
        page.keyboard.press("Tab")
        if holder.evaluate("(holder) => holder === document.activeElement"):
            break
    expect(holder).to_be_focused()
    for _ in range(25):
        page.keyboard.press("ArrowDown")
    focused = page.locator("#table .open:focus")
    name = worst_first(example)[24]
    expect(focused).to_have_text(name)
    expect(focused).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("heading", level=2)).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("End")
    expect(page.locator("#table .open:focus")).not_to_have_text(name)


# --- Strings of others -------------------------------------------------------------------------

HOSTILE = {
    "<script>document.title='taken'</script>": "<script>document.title='taken'</script>",
    '=HYPERLINK("https://example.com","x")': '=HYPERLINK("https://example.com","x")',
    "<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>",
    "CN=\u202egnp\x1b[31m": "CN=\\u202egnp\\x1b[31m",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_certificates_and_paths_are_text(open_page: Opener, text: str) -> None:
    made = fleet(30)
    row = next(row for row in made.rows if row.get("verdict") == "error")
    row |= {"subject": text, "source": text, "serial": text}
    row["findings"] = [{**row["findings"][0], "message": text, "item": text}]
    page = open_page(made, viewport={"width": 1800, "height": 900})
    title = page.title()
    page.get_by_label("Find", exact=True).fill(HOSTILE[text].split("\\")[0])
    button = page.locator("#table .open").filter(has_text=HOSTILE[text])
    expect(button).to_have_text(HOSTILE[text])
    expect(page.locator("#table .tabulator-row bdi.text").first).to_have_text(HOSTILE[text])
    button.click()
    expect(page.locator("#details-title")).to_have_text(HOSTILE[text])
    expect(page.locator("#details .findings .what bdi")).to_have_text(HOSTILE[text])
    assert page.title() == title
    assert page.locator("#table script, #table img, #details script, #details img").count() == 0


# --- Large fleets ------------------------------------------------------------------------------


def test_a_hundred_thousand_rows(open_page: Opener) -> None:
    size, limit = 100_300, 100_000
    made = fleet(size)
    page = open_page(made)
    assert page.locator("*").count() < 3000
    expect(page.locator("#total")).to_have_text("100,300")
    expect(count(page)).to_have_text("100,000 modules")
    expect(page.locator("#cut")).to_contain_text(f"{size - limit} more are in the figures above")
    expect(page.locator("#cut")).to_contain_text("all.jsonl")
    sound = sum(row.get("verdict") in ("ok", "warning") for row in made.rows)
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{sound:,} of 100,300")
    page.get_by_label("Verdict", exact=True).select_option("Not sound")
    failing = [row["source"] for row in made.rows if row.get("verdict") == "error"]
    expect(count(page)).to_have_text(f"{len(failing):,} of 100,000 modules")
    heading(page, "Module").click()
    expect(page.locator("#table .open").first).to_have_text(min(failing))
    heading(page, "Module").click()
    expect(page.locator("#table .open").first).to_have_text(max(failing))
    page.get_by_label("Find", exact=True).fill(failing[-2])
    expect(count(page)).to_have_text("1 of 100,000 modules")
    page.locator("#table .open").click()
    row = next(row for row in made.rows if row["source"] == failing[-2])
    expect(page.get_by_role("dialog")).to_contain_text(row["findings"][0]["message"])
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    page.locator("#table .tabulator-tableholder").press("End")
    assert page.locator("*").count() < 3000


# --- Paper, and without scripts ----------------------------------------------------------------


def test_it_prints(open_page: Opener, report: Path) -> None:
    page = open_page(report)
    page.get_by_label("Verdict", exact=True).select_option("Not sound")
    page.emulate_media(media="print")
    page.locator("html").evaluate("() => dispatchEvent(new Event('beforeprint'))")
    printed = page.locator("#printed tbody tr")
    expect(printed.first).to_be_visible()
    expect(page.locator("#table")).to_be_hidden()
    expect(page.locator(".filters")).to_be_hidden()
    text = count(page).text_content() or ""
    assert printed.count() == int(text.split()[0])
    page.locator("html").evaluate("() => dispatchEvent(new Event('afterprint'))")
    expect(printed).to_have_count(0)
    assert page.pdf().startswith(b"%PDF")


def test_without_scripts_the_figures_are_there(open_page: Opener, report: Path) -> None:
    page = open_page(report, java_script_enabled=False)
    expect(page.get_by_role("heading", level=1)).to_contain_text("modules are sound.")
    expect(page.locator("#frequency tbody tr").first).to_be_visible()
    expect(page.get_by_text("needs JavaScript")).to_be_visible()
    expect(page.locator("#explorer")).to_be_hidden()
