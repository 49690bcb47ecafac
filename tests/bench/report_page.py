"""How long the HTML report takes to write and to open, by the number of its rows."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import Browser, Page, expect
from tests.bench.table import Table
from tests.example_fleet import fleet
from tests.report import chromium

from espcert.fleet.reports import html

SIZES: Final = (10_000, 100_000)
ROUNDS: Final = 5
TIMED_FILTER: Final = """async (find) => {
    const count = document.getElementById("count");
    const before = count.textContent;
    const start = performance.now();
    find.dispatchEvent(new Event("change"));
    while (count.textContent === before) {
        await new Promise(requestAnimationFrame);
    }
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""
"""From a choice in a filter to the answer on the screen."""


class Opened(NamedTuple):
    """One page: rows, milliseconds, bytes and elements."""

    rows: int
    written: float
    size: int
    ready: float
    filtered: float
    elements: int


def measure() -> list[Opened]:
    """All sizes, or nothing where there is no browser."""
    path = chromium.find()
    if path is None:
        return []
    with chromium.running(path) as browser:
        return list(_pages(browser))


def _pages(browser: Browser) -> Iterator[Opened]:
    with tempfile.TemporaryDirectory() as place:
        for rows in SIZES:
            made, target = fleet(rows), Path(place) / f"{rows}.html"
            start = time.perf_counter()
            html.write(made, target)
            written = 1000 * (time.perf_counter() - start)
            ready, filtered, elements = zip(
                *(_opened(browser, target) for _ in range(ROUNDS)), strict=True
            )
            size = target.stat().st_size
            yield Opened(
                rows, written, size, statistics.median(ready), statistics.median(filtered),
                max(elements),
            )  # fmt: skip


def _opened(browser: Browser, target: Path) -> tuple[float, float, int]:
    """Milliseconds until the page is ready and to a filter's answer, and how many elements."""
    page = browser.new_page()
    page.goto(target.as_uri())
    expect(page.locator("html[data-ready]")).to_be_attached(timeout=60_000)
    ready = float(page.locator("html").get_attribute("data-ready") or "nan")
    measured = ready, _filter(page), page.locator("*").count()
    page.close()
    return measured


def _filter(page: Page) -> float:
    chosen = page.locator("#by-state")
    chosen.evaluate("(select) => { select.selectedIndex = 1; }")
    return float(chosen.evaluate(TIMED_FILTER))


def page_table(measured: list[Opened]) -> Table:
    """Times of the page."""
    rows = [
        (
            f"{page.rows:,}", f"{page.size / 1e6:.1f}", f"{page.written:,.0f}",
            f"{page.ready:,.0f}", f"{page.filtered:,.0f}", f"{page.elements:,}",
        )
        for page in measured
    ]  # fmt: skip
    return Table(
        "The HTML report in Chromium",
        f"Median of {ROUNDS} openings each. Ready: from the start of the navigation until the "
        "table of modules answers. Filter: from a choice of the verdict to its rows on the screen. "
        "Elements: all that the document has."
        + ("" if measured else f" Not measured: {chromium.MISSING}."),
        ("rows", "MB", "written in, ms", "ready, ms", "filter, ms", "elements"),
        rows,
    )
