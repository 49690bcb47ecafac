"""How far a run of a fleet is, on a real pseudo-terminal and where there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests import fleet_maker
from tests.cli.runner import BIN, Result, controls, environment
from tests.cli.test_fleet import AT

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="needs a pseudo-terminal as Linux has it"
)

COUNT = 60
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
WORDS = {"failed": "without result"}


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mixed fleet, with a file that is none of it."""
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, COUNT - 1, seed=5)
    (folder / "notes.pem").write_bytes(b"-----BEGIN NOTES-----\n")
    return folder


def on_a_terminal(*arguments: str | Path, columns: int = 120, **changes: str) -> Result:
    """A run whose standard error is a terminal; `err` is all that was drawn there."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    given = environment({"TERM": "xterm-256color"} | changes)
    del given["COLUMNS"]
    drawn = b""
    # A file takes what is said while the terminal is looked at; a pipe would be full.
    with tempfile.TemporaryFile() as said:
        command = [BIN, "fleet", *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=theirs, env=given
        )
        os.close(theirs)
        while part := _read(ours):
            drawn += part
        os.close(ours)
        code = process.wait(timeout=60)
        said.seek(0)
        return Result(code, said.read().decode(), drawn.decode())


def _read(terminal: int) -> bytes:
    """What was drawn since; nothing where the last process has left the terminal."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def last_drawn(text: str) -> str:
    """What a terminal shows of a bar at the end: its words, one blank between any two."""
    frames = re.split(r"\x1b\[2K", text)
    start = max(number for number, frame in enumerate(frames) if "━" in frame or "/s" in frame)
    return " ".join(ESCAPE.sub("", " ".join(frames[start:])).replace("━", " ").split())


def counts_of(records: list[dict[str, Any]]) -> Counter[str]:
    """How many records there are by what the bar calls them."""
    told = (one["verdict"] if one["status"] == "done" else one["status"] for one in records)
    return Counter(WORDS.get(name, name) for name in told)


@pytest.mark.parametrize("columns", [120, 80, 60])
def test_the_bar_on_a_terminal(columns: int, dumps: Path) -> None:
    """All its numbers, however narrow the terminal is."""
    done = on_a_terminal("audit", dumps, *AT, "--json", "--jobs", "1", columns=columns)
    counted = counts_of(done.objects)
    assert counted.total() == COUNT
    assert len(counted) == 5
    shown = last_drawn(done.err)
    assert re.search(rf"\b{COUNT}/{COUNT}\b", shown), shown
    assert re.search(r"\b[\d,]+/s\b", shown), shown
    assert re.search(r"\b0:00:00\b", shown), shown
    for word, number in counted.items():
        assert re.search(rf"\b{number} {word}\b", shown), shown
    assert "…" not in done.err
    assert done.err.endswith("\x1b[?25h"), "the cursor is shown again"
    assert controls(done.out) == set()


def test_a_summary_is_not_drawn_over(dumps: Path) -> None:
    done = on_a_terminal("audit", dumps, *AT, "--jobs", "1")
    assert done.out.startswith(f"{COUNT} images: ")
    assert controls(done.out) == set()
    assert f"{COUNT}/{COUNT}" in done.err


def test_nothing_on_a_terminal_with_quiet(dumps: Path) -> None:
    done = on_a_terminal("audit", dumps, *AT, "--quiet", "--json", "--jobs", "1")
    assert done.err == ""
    assert len(done.objects) == COUNT


def without_a_terminal(*arguments: str | Path) -> Result:
    """A run whose standard error is a pipe, and that tells of every batch."""
    code = (
        "import espcert.cli.fleet_progress as progress\nprogress.INTERVAL = 0\n"
        "import sys\nsys.argv[0] = 'espcert'\nfrom espcert.cli import run\nrun()\n"
    )
    command = [sys.executable, "-c", code, "fleet", *arguments]
    given = environment({"TERM": "xterm-256color"})
    done = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def test_plain_lines_where_there_is_no_terminal(dumps: Path) -> None:
    done = without_a_terminal("audit", dumps, *AT, "--json", "--jobs", "1")
    assert controls(done.out + done.err) == set()
    first, *lines = done.err.splitlines()
    assert "without --journal" in first
    assert lines
    for line in lines:
        assert re.fullmatch(
            rf"espcert: \d+ of {COUNT}, [\d,]+ a second, ([\d,]+ s left|no end in sight): .*", line
        )
    counted = counts_of(done.objects)
    assert counted.total() == COUNT
    told = lines[-1].rpartition(": ")[2].split(", ")
    assert sorted(told) == sorted(f"{number} {word}" for word, number in counted.items())
    assert without_a_terminal("audit", dumps, *AT, "--quiet", "--jobs", "1").err == ""
