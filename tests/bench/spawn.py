"""Runs one command and prints its wall time, CPU time (seconds) and peak memory (KiB).

It is a process of its own, and imports next to nothing, because the peak that a child reports
begins with that of the process it was started from.
"""

from __future__ import annotations

import os
import sys
import time

KIB_OF_MAXRSS = 1024 if sys.platform == "darwin" else 1
"""macOS counts in bytes, other systems in KiB."""


def main(command: list[str]) -> int:
    """Run the command with its output thrown away; its exit status."""
    silence: list[tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)
    ]
    begin = time.perf_counter()
    child = os.posix_spawn(command[0], command, os.environ, file_actions=silence)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss // KIB_OF_MAXRSS)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) != 0)
