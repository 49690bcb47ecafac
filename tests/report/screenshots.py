"""Makes the README's pictures of the HTML report.

    python -m tests.report.screenshots

From the repository's root. The fleet is made up from the fixtures and always the same.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, expect
from tests.example_fleet import fleet
from tests.report import chromium
from tests.support import ROOT

from espcert.fleet.reports import html

IMAGES: Final = ROOT / "docs" / "images"
MODULES: Final = 2000
LARGEST: Final = 200_000
"""Bytes that a picture may have."""


def shoot(browser: Browser, page_file: Path, scheme: str, selector: str, target: Path) -> None:
    """One picture of the page, beginning with an element."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 860})  # type: ignore[arg-type]
    page.goto(page_file.as_uri())
    expect(page.locator("html[data-ready]")).to_be_attached(timeout=30_000)
    page.locator(selector).evaluate("(found) => found.scrollIntoView({ behavior: 'instant' })")
    page.screenshot(path=target)
    page.close()
    size = target.stat().st_size
    if size > LARGEST:
        sys.exit(f"{target} has {size} bytes, more than {LARGEST}")
    print(f"{target.relative_to(ROOT)}: {size} bytes")


def main() -> None:
    """The first screen in the light, the pictures in the dark."""
    path = chromium.find()
    if path is None:
        sys.exit(chromium.MISSING)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium.running(path) as browser:
        report = Path(place) / "report.html"
        html.write(fleet(MODULES), report, full_report="fleet.jsonl")
        shoot(browser, report, "light", "body", IMAGES / "report-light.png")
        shoot(browser, report, "dark", "#pictures", IMAGES / "report-dark.png")


if __name__ == "__main__":
    main()
