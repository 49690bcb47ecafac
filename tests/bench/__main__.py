"""Measures espcert against the official tool and against the least work there is.

    python -m tests.bench [--write FILE] [--rounds N] [--turns N]

From the repository's root, on Linux or macOS. Nothing is asserted: the numbers are for reading.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench import calls, commands, fleet, layout, memory, report_page
from tests.bench.table import Table

LIBRARIES: Final = ("espcert", "typer", "cryptography", "kaitaistruct")
OFFICIAL: Final = "esp-secure-cert-tool"
FLEET_ROUNDS: Final = 5
FLEETS: Final = (10_000, 100_000)
BATCHES_A_ROUND: Final = 5
"""Calls take less time than commands, so they get more rounds."""


def load() -> str:
    """Load averages of the last one and five minutes."""
    one, five, _ = os.getloadavg()
    return f"{one:.1f} over 1 minute, {five:.1f} over 5"


def facts(official: Path) -> Iterator[tuple[str, str]]:
    """When, where and with what it was measured."""
    ask = f"from importlib.metadata import version; print(version({OFFICIAL!r}))"
    theirs = subprocess.check_output([str(official), "-c", ask], text=True).strip()
    yield "date", f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    yield "load average before", load()
    yield "versions", ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    yield "official tool", f"{OFFICIAL} {theirs}"


def tables(official: Path, rounds: int, turns: int) -> Iterator[Table]:
    """Everything that is measured, as it gets done."""
    best = commands.measure(commands.command_lines(official), rounds)
    yield commands.ratios_table(best)
    yield commands.commands_table(best, rounds)
    batches = BATCHES_A_ROUND * rounds
    yield calls.calls_table(calls.measure(batches), batches)
    yield memory.memory_table(memory.measure(turns))
    rates = fleet.measure(FLEET_ROUNDS)
    yield fleet.rates_table(rates, FLEET_ROUNDS)
    yield layout.layout_table(rates, layout.measure())
    yield fleet.memory_table(fleet.memory(FLEETS))
    yield fleet.loop_table(official)
    yield report_page.page_table(report_page.measure())


def document(command: str, known: list[tuple[str, str]], shown: list[Table]) -> str:
    """The Markdown document."""
    head = [
        "# Performance",
        "",
        f"Written by `{command}` (`make bench` prints the same), all measured in one run.",
        "",
        *(f"- {name}: {text}" for name, text in known),
    ]
    return "\n\n".join(["\n".join(head), *(table.markdown() for table in shown)]) + "\n"


def main() -> None:
    """Measure, print, and write the document if asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a Markdown document")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=10_000, help="default: %(default)s")
    options = parser.parse_args()
    official = commands.official_python()
    known = list(facts(official))
    for name, text in known:
        print(f"{name}: {text}")
    shown = []
    for table in tables(official, options.rounds, options.turns):
        print(f"\n{table.text()}", flush=True)
        shown.append(table)
    known.append(("load average after", load()))
    print(": ".join(known[-1]))
    if options.write:
        command = shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]])
        options.write.write_text(document(command, known, shown), encoding="utf-8")


if __name__ == "__main__":
    main()
