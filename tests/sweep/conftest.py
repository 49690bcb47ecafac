"""The sweep's clock, and its summary over all workers."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

MINUTES = "ESPCERT_SWEEP_MINUTES"
UNTIL = "ESPCERT_SWEEP_UNTIL"
"""When a slice's last case may start, and before it the last run of the command."""
COMMANDS_UNTIL = "ESPCERT_SWEEP_COMMANDS_UNTIL"
COMMANDS_SHARE = 0.4
CLOSING_SECONDS = 10
PROPERTY = "sweep"


def pytest_configure() -> None:
    """Start a slice's clock, once: workers inherit it."""
    minutes = os.environ.get(MINUTES)
    if minutes and UNTIL not in os.environ:
        now, seconds = time.time(), max(60 * float(minutes) - CLOSING_SECONDS, 0)
        os.environ[UNTIL] = str(now + seconds)
        os.environ[COMMANDS_UNTIL] = str(now + seconds * COMMANDS_SHARE)


def _told(reporter: pytest.TerminalReporter) -> Iterator[dict[str, Any]]:
    """What the tests of the sweep recorded, whichever worker ran them."""
    for report in (*reporter.stats.get("passed", ()), *reporter.stats.get("failed", ())):
        for name, value in getattr(report, "user_properties", ()):
            if name == PROPERTY and report.when == "call":
                yield value


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases ran, and at which offsets which damage could not be seen."""
    ran: Counter[str] = Counter()
    total: Counter[str] = Counter()
    exempt: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for told in _told(terminalreporter):
        ran[told["kind"]] += told["ran"]
        total[told["kind"]] += told["total"]
        for why, offset, number in told["exempt"]:
            exempt[told["fixture"], why][offset] += number
    if not total:
        return
    write = terminalreporter.write_line
    terminalreporter.section("sweep")
    for kind, number in [*total.items(), ("all", sum(total.values()))]:
        shown = sum(ran.values()) if kind == "all" else ran[kind]
        write(f"{kind:8} {shown:>9,} of {number:>9,} cases")
    if exempt:
        write("damages that nobody can see, by offset (and how many cases):")
    for (fixture, why), offsets in sorted(exempt.items()):
        places = ", ".join(f"{at:#x} ({cases})" for at, cases in sorted(offsets.items()))
        write(f"  {fixture}: {why}: {places}")
