"""A real browser for the report's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tests.report import chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Skips where it is not installed."""
    path = chromium.find()
    if path is None:
        pytest.skip(chromium.MISSING)
    with chromium.running(path) as browser:
        yield browser
