"""Detects and migrates images, one after the other, and prints its memory in KiB on the way.

    python tests/bench/loop.py TURNS IMAGE...

It prints the memory in use after a tenth of the turns and after all of them.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import espcert

STATUS = Path("/proc/self/status")


def resident() -> int:
    """KiB in use; where the system does not tell, the most that ever was."""
    if STATUS.exists():
        lines = STATUS.read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


def main(turns: int, images: list[str]) -> None:
    """Take the images in turn."""
    for turn in range(1, turns + 1):
        espcert.migrate(espcert.detect(espcert.open_image(images[turn % len(images)])))
        if turn in (turns // 10, turns):
            print(turn, resident())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
