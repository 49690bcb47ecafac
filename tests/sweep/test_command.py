"""Some damages through the real command: it says in a process what its functions say in memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests.sweep import damage, judge

pytestmark = pytest.mark.sweep

CASES: Final = 300
VERBS: Final = ("detect", "inspect", "migrate")
SECONDS: Final = 120
SEED: Final = os.environ.get("ESPCERT_SWEEP_SLICE", "espcert")
UNTIL: Final = float(os.environ.get("ESPCERT_SWEEP_COMMANDS_UNTIL", "inf"))


class Case(NamedTuple):
    """One run of the command. Every sixth image comes through standard input."""

    fixture: judge.Fixture
    damage: damage.Damage
    verb: str
    as_json: bool
    stdin: bool


def _case(number: int) -> Case:
    """All fixtures in turn, and of each all verbs, kinds of damage, with and without JSON."""
    chance = random.Random(f"{SEED}/{number}")
    sources = judge.sources()
    name, accept, size = sources[number % len(sources)]
    turn = number // len(sources) + number
    kind = damage.KINDS[turn % len(damage.KINDS)]
    done = damage.at(kind, size, chance.randrange(damage.count(kind, size)))
    return Case(
        judge.fixture(name, accept),
        done,
        VERBS[turn % len(VERBS)],
        chance.random() < 0.5,
        chance.random() < 1 / 6,
    )


@cache
def _command() -> str:
    beside = str(Path(sys.executable).parent)
    found = shutil.which("espcert", path=beside) or shutil.which("espcert")
    assert found, "the command espcert is not installed"
    return found


def _run(case: Case, damaged: bytes, folder: Path) -> subprocess.CompletedProcess[bytes]:
    image = folder / "damaged.bin"
    if not case.stdin:
        image.write_bytes(damaged)
    arguments = [case.verb, "-" if case.stdin else str(image)]
    if case.verb == "migrate":
        arguments += ["-o", str(folder / "out.bin")]
        for code in sorted(case.fixture.accept):
            arguments += ["--accept", code]
    if case.as_json:
        arguments.append("--json")
    return subprocess.run(
        [_command(), *arguments],
        input=damaged if case.stdin else b"",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("number", range(CASES))
def test_the_command_agrees_with_its_functions(
    number: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    case = _case(number)
    told = {"fixture": case.fixture.id, "kind": "command", "total": 1, "exempt": []}
    over = time.time() > UNTIL
    record_property("sweep", told | {"ran": int(not over)})
    if over:
        return
    damaged = case.damage.apply(case.fixture.data)
    expected = judge.run(damaged, case.fixture.accept)
    done = _run(case, damaged, tmp_path)
    shown = f"{case.fixture.id}, {case.damage}\n{done.stdout!r}\n{done.stderr!r}"
    code = expected.codes[VERBS.index(case.verb)]
    assert done.returncode == code, shown
    assert code in (0, 1, 3), shown
    _check_errors(case, code, done.stderr.decode(), shown)
    if case.as_json:
        _check_object(case, expected, done.stdout.decode(), tmp_path)
    elif code == 0:
        assert done.stdout, shown
    else:
        assert not done.stdout, shown
    _check_files(case, expected, tmp_path)


def _check_errors(case: Case, code: int, text: str, shown: str) -> None:
    lines = text.splitlines()
    assert "Traceback" not in text and "internal error" not in text, shown
    assert not any(line.startswith("  File ") for line in lines), shown
    named = [line for line in lines if line.startswith("espcert: ")]
    if code == 3 and not (case.as_json and case.verb == "detect"):  # its object says why
        assert lines == named and len(named) == 1, shown
    elif code == 1 and not case.as_json:
        assert len(named) == 1, shown
    else:
        assert not named, shown
    assert text.replace("\n", "").isprintable(), shown


def _check_object(case: Case, expected: judge.Outcome, text: str, folder: Path) -> None:
    lines = text.splitlines()
    assert len(lines) == 1, text
    said = json.loads(lines[0])
    file = "-" if case.stdin else str(folder / "damaged.bin")
    assert (said.pop("schema"), said.pop("file")) == (1, file)
    wanted = dict(expected.objects[VERBS.index(case.verb)])
    if wanted.get("output") is not None:
        wanted["output"] = str(folder / "out.bin")
    assert said == json.loads(json.dumps(wanted))


def _check_files(case: Case, expected: judge.Outcome, folder: Path) -> None:
    """Nothing is written but the output of a migration that went well."""
    names = {path.name for path in folder.iterdir()} - {"damaged.bin"}
    output = folder / "out.bin"
    if case.verb != "migrate" or expected.output is None:
        assert not names
        return
    assert names == {output.name}
    written = output.read_bytes()
    assert hashlib.sha256(written).digest() == hashlib.sha256(expected.output).digest()
    if os.name == "posix":
        assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_the_cases_cover_everything() -> None:
    cases = [_case(number) for number in range(CASES)]
    kinds = {(case.damage.kind, case.verb) for case in cases}
    assert len(kinds) == len(damage.KINDS) * len(VERBS)
    assert {case.fixture.id for case in cases} == {
        "+".join([name, *sorted(accept)]) for name, accept, _ in judge.sources()
    }
