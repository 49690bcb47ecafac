"""Runs the installed command `espcert`, as users do, and keeps what it said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import FIXTURES

BIN = Path(sys.executable).parent / ("espcert.exe" if os.name == "nt" else "espcert")
FIXED = FIXTURES / "images"
INPUTS = FIXTURES / "inputs"
TIMEOUT = 60

_UNSET = ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "ESPCERT_DEBUG", "PYTHONUTF8")

_FORKS = """
import json, os, sys
os.environ.update(json.loads(sys.argv[2]))
import espcert.cli.app, espcert.cli.inspect, espcert.cli.migrate, espcert.cli.partition_map
import espcert.cli.verify
import espcert.extraction, espcert.migration, espcert.checks
import cryptography.x509, kaitaistruct
for number, arguments in enumerate(json.load(open(sys.argv[1]))):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        for descriptor, name in ((1, "out"), (2, "err")):
            target = os.open(f"{sys.argv[1]}.{number}.{name}", os.O_CREAT | os.O_WRONLY, 0o600)
            os.dup2(target, descriptor)
        sys.argv = ["espcert", *arguments]
        espcert.cli.app.main()
        os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@dataclass(frozen=True)
class Result:
    """What a run of the command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON Lines of standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> dict[str, Any]:
        """The only JSON object of standard output."""
        (found,) = self.objects
        return found

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.out + self.err


def fixture(name: str) -> str:
    """The path of a fixture, by its name without suffix."""
    return str(FIXED / f"{name}.bin")


def material(name: str) -> str:
    """The path of an input of the fixtures."""
    return str(INPUTS / name)


def environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without what changes colours or output, and with these changes."""
    kept = {name: value for name, value in os.environ.items() if name not in _UNSET}
    return kept | {"COLUMNS": "120", "PYTHONIOENCODING": "utf-8"} | (changes or {})


def run(
    *arguments: str | Path,
    stdin: bytes | int = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> Result:
    """Run the command; `stdin` is its input's bytes or a descriptor."""
    feed: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(
        [str(BIN), *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(env),
        timeout=TIMEOUT,
        check=False,
        **feed,
    )
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


def run_many(
    commands: Sequence[Sequence[str]], folder: Path, env: dict[str, str] | None = None
) -> list[Result]:
    """Run many commands, each in a process forked from one that has imported everything.

    Where there is no fork, each is started anew.
    """
    if not hasattr(os, "fork"):
        return [run(*command, env=env) for command in commands]
    listed = folder / "commands.json"
    listed.write_text(json.dumps([list(command) for command in commands]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, str(listed), json.dumps(env or {})],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(env),
        timeout=TIMEOUT,
        check=True,
    )
    codes = [int(line) for line in done.stdout.split()]
    return [_kept(listed, number, code) for number, code in enumerate(codes)]


def _kept(listed: Path, number: int, code: int) -> Result:
    out, err = (Path(f"{listed}.{number}.{name}").read_text("utf-8") for name in ("out", "err"))
    return Result(code, out, err)


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command and leave it running."""
    return subprocess.Popen(
        [str(BIN), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        **options,
    )


def assert_no_output(path: Path) -> None:
    """Neither the file is there nor a temporary one beside it."""
    assert not os.path.lexists(path)
    assert list(path.parent.glob(".*.tmp")) == []


def controls(text: str) -> set[str]:
    """Control characters in a text, line ends aside."""
    return {character for character in text if character != "\n" and not character.isprintable()}
