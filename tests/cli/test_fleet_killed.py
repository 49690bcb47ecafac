"""`espcert fleet` that is killed, interrupted, or loses workers: it goes on as if nothing was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests import fleet_maker
from tests.cli.runner import BIN, environment, run
from tests.cli.test_fleet import AT, JOURNAL, records_of

COUNT = 400
KILLS = 20

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for children in /proc")


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough images that a run takes a while."""
    folder = tmp_path_factory.mktemp("fleet") / "dumps"
    fleet_maker.make(folder, COUNT, seed=3)
    return folder


def start(arguments: list[str | Path], cwd: Path) -> subprocess.Popen[bytes]:
    """The command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [str(BIN), "fleet", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )


def children(process: int) -> list[int]:
    """The workers of a run: its children that were spawned to run batches."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in command:
                found.append(int(child))
    return found


def gone(process: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def wait_until(condition: Any, seconds: float = 30) -> None:
    """Wait for something to come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def done_in(journal: Path) -> int:
    """How many images a journal has, which nobody has open."""
    if not journal.exists() or not journal.stat().st_size:
        return 0
    with contextlib.closing(sqlite3.connect(journal)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        number: int = database.execute("SELECT COUNT(*) FROM records").fetchone()[0]
        return number


def outputs(folder: Path) -> dict[str, bytes]:
    """Every file below a directory that is no journal."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(JOURNAL)
    }


@pytest.fixture(scope="module")
def undisturbed(dumps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbs, in a directory of its own, with its report."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run("fleet", "migrate", dumps, "-o", "out", *AT, "--report", "r.jsonl", cwd=folder)
    assert done.code == 3
    return folder


def kill_one(number: int, process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Kill a run somewhere; of three, one loses a worker before."""
    if number % 3 == 2:
        wait_until(lambda: children(process.pid) or process.poll() is not None)
        time.sleep(chance.uniform(0, 0.5))
        for worker in children(process.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
    time.sleep(chance.uniform(0.05, 1.0))
    workers = children(process.pid) if process.poll() is None else []
    if process.poll() is None:
        target = os.killpg if number % 3 == 0 else os.kill
        target(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: all(gone(worker) for worker in workers))


def test_killed_at_random_moments_and_resumed(
    dumps: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The whole group, the parent alone, or one worker, each at a moment nobody chose."""
    chance = random.Random(os.urandom(8))
    command: list[str | Path] = ["migrate", dumps, "-o", "out", *AT, "--quiet"]
    whole = outputs(undisturbed / "out")
    before = 0
    for number in range(KILLS):
        kill_one(number, start(command, tmp_path), chance)
        for name, data in outputs(tmp_path / "out").items():
            assert Path(name).name.startswith(".espcert-") or whole[name] == data
        now = done_in(tmp_path / "out" / JOURNAL)
        assert now >= before
        before = now
    done = run("fleet", *command, "--report", "r.jsonl", cwd=tmp_path)
    assert done.code == 3
    assert outputs(tmp_path / "out") == whole
    assert before <= done_in(tmp_path / "out" / JOURNAL) == COUNT
    assert records_of(tmp_path / "r.jsonl") == records_of(undisturbed / "r.jsonl")


def test_a_worker_that_is_killed_costs_nothing(
    dumps: Path, undisturbed: Path, tmp_path: Path
) -> None:
    process = start(
        ["migrate", dumps, "-o", "out", *AT, "--quiet", "--report", "r.jsonl"], tmp_path
    )
    killed = 0
    while process.poll() is None and killed < 3:
        workers = children(process.pid)
        if workers and any((tmp_path / "out").rglob("m*.bin")):
            os.kill(workers[0], signal.SIGKILL)
            killed += 1
            time.sleep(0.2)
    process.communicate()
    assert killed
    assert process.returncode == 3
    assert outputs(tmp_path / "out") == outputs(undisturbed / "out")
    assert records_of(tmp_path / "r.jsonl") == records_of(undisturbed / "r.jsonl")


def test_interrupted(dumps: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Ctrl-C goes to the whole group, workers included."""
    command: list[str | Path] = ["migrate", dumps, "-o", "out", *AT, "--report", "r.jsonl"]
    process = start(command, tmp_path)
    wait_until(lambda: len(list((tmp_path / "out").rglob("m*.bin"))) > 60)
    workers = children(process.pid)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert process.returncode == 130
    text = err.decode()
    assert "interrupted: " in text
    assert f"of {COUNT} images are done" in text
    assert f"the same command goes on; the journal is out/{JOURNAL}" in text
    assert "Traceback" not in text
    wait_until(lambda: all(gone(worker) for worker in workers))
    assert 0 < done_in(tmp_path / "out" / JOURNAL) < COUNT
    assert not (tmp_path / "r.jsonl").exists()
    assert run("fleet", *command, cwd=tmp_path).code == 3
    assert outputs(tmp_path / "out") == outputs(undisturbed / "out")


def test_an_audit_that_is_interrupted_says_what_is_lost(dumps: Path, tmp_path: Path) -> None:
    process = start(["audit", dumps, *AT, "--json"], tmp_path)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["source"]
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "nothing of it is kept" in err.decode()


def test_a_pipe_that_closes_ends_the_run_silently(dumps: Path, tmp_path: Path) -> None:
    process = start(["audit", dumps, *AT, "--json", "--journal", "j", "--quiet"], tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
