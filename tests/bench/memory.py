"""Whether the memory of a long run grows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.commands import IMAGES, child_environment
from tests.bench.table import Table

LOOP: Final = Path(__file__).with_name("loop.py")


def measure(turns: int) -> list[tuple[int, int]]:
    """(turns done, KiB in use) on the way through `turns` turns over all fixtures."""
    images = [str(path) for path in sorted(IMAGES.glob("*.bin"))]
    done = subprocess.run(
        [sys.executable, str(LOOP), str(turns), *images],
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    pairs = (line.split() for line in done.stdout.splitlines())
    return [(int(turn), int(memory)) for turn, memory in pairs]


def memory_table(measured: list[tuple[int, int]]) -> Table:
    """Memory on the way."""
    rows = [(f"{turn:,}", f"{memory / 1024:.1f}") for turn, memory in measured]
    return Table(
        "Memory of a long run",
        "One process that detects and migrates the images of the fixtures in turn. What it "
        "needs must not grow with the number of images.",
        ("images", "memory in use, MiB"),
        rows,
    )
