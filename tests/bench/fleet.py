"""Fleets: images a second, memory, and a shell loop over the official tool beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, NamedTuple

from tests import fleet_maker
from tests.bench.commands import child_environment
from tests.bench.table import Table

import espcert
from espcert import migration, verification

FIXTURES: Final = Path(__file__).resolve().parents[2] / "fixtures"
KEY: Final = FIXTURES / "inputs" / "hmac_key.bin"
AT: Final = datetime(2026, 6, 1, tzinfo=timezone.utc)
ESPCERT: Final = str(Path(sysconfig.get_path("scripts")) / "espcert")
MILLION: Final = 1_000_000
SECONDS_A_DAY: Final = 86_400
LOOP: Final = 20
"""Images of the shell loop, each of which takes long."""


class Case(NamedTuple):
    """A kind of run: its verb, whether with HMAC keys, and the library's own calls for an image."""

    name: str
    verb: str
    keys: bool
    single: Callable[[Path], object]


def _audit(path: Path, key: bytes | None = None) -> object:
    reading = espcert.detect(espcert.open_image(path))
    if reading.contents is None:
        return None
    return espcert.verify(reading, at=AT, hmac_key=key)


def _migrate(path: Path, key: bytes | None = None) -> object:
    reading = espcert.detect(espcert.open_image(path))
    if reading.contents is None:
        return None
    means = verification.means(at=AT, hmac_key=key)
    result = espcert.migrate(reading, migration.Options(means=means))
    if not result.refused:
        output = path.parents[1] / "single" / path.name
        output.parent.mkdir(exist_ok=True)
        espcert.save(result, output, force=True)
    return result


def cases() -> Iterator[Case]:
    """Every kind of run that is measured."""
    key = KEY.read_bytes()
    yield Case("audit", "audit", False, _audit)
    yield Case("audit, HMAC keys", "audit", True, lambda path: _audit(path, key))
    yield Case("migrate", "migrate", False, _migrate)
    yield Case("migrate, HMAC keys", "migrate", True, lambda path: _migrate(path, key))


class Cost(NamedTuple):
    """Seconds an image: on the clock, and of CPU time of all processes together."""

    wall: float
    cpu: float


def _best(one: Cost, other: Cost) -> Cost:
    return Cost(min(one.wall, other.wall), min(one.cpu, other.cpu))


def _cpu() -> float:
    """Seconds of CPU time of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _fleet(folder: Path, case: Case, jobs: int, count: int) -> Cost:
    """What an image costs in a run, start-up included."""
    out = folder / "out"
    command = [ESPCERT, "fleet", case.verb, str(folder / "dumps"), "--quiet", "--at", "2026-06-01"]
    command += ["--jobs", str(jobs), "--journal", str(folder / "journal")]
    command += ["-o", str(out)] if case.verb == "migrate" else []
    command += ["--hmac-keys", str(folder / "keys")] if case.keys else []
    begin, cpu = time.perf_counter(), _cpu()
    done = subprocess.run(command, env=child_environment(), capture_output=True, check=False)
    cost = Cost((time.perf_counter() - begin) / count, (_cpu() - cpu) / count)
    if done.stderr or done.returncode not in (0, 1, 3):
        sys.exit(f"{case.name}: {done.returncode} {done.stderr.decode()}")
    for path in folder.glob("journal*"):
        path.unlink()
    shutil.rmtree(out, ignore_errors=True)
    return cost


def _single(paths: list[Path], case: Case) -> Cost:
    begin, cpu = time.perf_counter(), _cpu()
    for path in paths:
        case.single(path)
    return Cost((time.perf_counter() - begin) / len(paths), (_cpu() - cpu) / len(paths))


def measure(rounds: int, count: int) -> dict[str, list[Cost]]:
    """Seconds an image of the library, of one process and of all cores; the best of the rounds."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    best: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = fleet_maker.make(folder / "dumps", count)
        (folder / "keys").mkdir()
        for path in paths:
            shutil.copy(KEY, folder / "keys" / path.name)
        for _ in range(rounds):
            for case in cases():
                now = [
                    _single(paths, case),
                    _fleet(folder, case, 1, count),
                    _fleet(folder, case, cores, count),
                ]
                old = best.setdefault(case.name, now)
                best[case.name] = [_best(*pair) for pair in zip(old, now, strict=True)]
    return best


def rates_table(best: dict[str, list[Cost]], rounds: int, count: int) -> Table:
    """Images a second, and what a million modules cost."""
    rows = [
        (
            name,
            *(f"{1 / cost.wall:,.0f}" for cost in (single, one, every)),
            f"{one.wall / single.wall:.2f}",
            f"{one.cpu / single.cpu:.2f}",
            f"{one.wall / every.wall:.2f}",
            f"{every.wall * MILLION / 3600:.2f}",
            f"{one.wall * 100 * MILLION / SECONDS_A_DAY / 256:.2f}",
        )
        for name, (single, one, every) in best.items()
    ]
    return Table(
        "Fleets",
        f"A fleet of {count:,} mixed modules, 5 % damaged and 1 % foreign; start-up, planning and "
        "the journal included. The library's own cost is a loop of the same calls in one process, "
        "with the same writing. The last column is calculated, not measured: a hundred million "
        "modules on 256 cores, if storage keeps up. "
        f"Best of {rounds} rounds, one after the other.",
        (
            "run",
            "library, images/s",
            "one process, images/s",
            "all cores, images/s",
            "one process, times the library's time",
            "CPU time, times the library's",
            "all cores, times one process",
            "a million modules, hours",
            "a hundred million on 256 cores, days (calculated)",
        ),
        rows,
    )


# --- Memory ---------------------------------------------------------------------------------------

_PEAK: Final = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def memory(counts: tuple[int, ...]) -> dict[int, float]:
    """MiB that the largest process of a run needs, by the number of images."""
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = fleet_maker.make(folder / "made", 500)
        for count in counts:
            dumps = folder / f"dumps{count}"
            for number in range(count):
                target = dumps / str(number % 100) / f"{number}.bin"
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(made[number % len(made)], target)
            command = [ESPCERT, "fleet", "audit", str(dumps), "--quiet", "--at", "2026-06-01"]
            done = subprocess.run(
                [sys.executable, "-c", _PEAK, *command],
                env=child_environment(), capture_output=True, text=True, check=True,
            )  # fmt: skip
            found[count] = int(done.stdout.split()[1]) / 1024
            shutil.rmtree(dumps)
    return found


def memory_table(found: dict[int, float]) -> Table:
    """Peak memory beside the number of images."""
    return Table(
        "Memory of a fleet",
        "The resident memory of the largest process of `espcert fleet audit`, at its peak. It must "
        "not grow with the fleet.",
        ("images", "peak memory, MiB"),
        [(f"{count:,}", f"{peak:.1f}") for count, peak in found.items()],
    )


# --- The official tool ----------------------------------------------------------------------------


def loop_table(official: Path) -> Table:
    """A shell loop over the official tool's parser beside one run over the same TLV images."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tlv = (path for path in fleet_maker.FIXED if path.stem in ("tlv_ec", "tlv_rsa"))
        for path in tlv:
            for number in range(LOOP // 2):
                target = folder / "dumps" / f"{path.stem}{number}.bin"
                target.parent.mkdir(exist_ok=True)
                shutil.copy(path, target)
        script = official.with_name("configure_esp_secure_cert.py")
        loop = f'for image in dumps/*.bin; do "{script}" --parse_bin "$image"; done'
        begin = time.perf_counter()
        subprocess.run(["sh", "-c", loop], cwd=folder, capture_output=True, check=True)
        theirs = time.perf_counter() - begin
        case = next(cases())
        ours = min(_fleet(folder, case, 1, LOOP).wall for _ in range(3)) * LOOP
    return Table(
        "A shell loop over the official tool",
        f"{LOOP} TLV images: `configure_esp_secure_cert.py --parse_bin` for each, which parses and "
        "verifies nothing, beside one `espcert fleet audit --jobs 1`, start-up included.",
        ("images", "loop, s", "fleet, s", "ratio"),
        [(str(LOOP), f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs:.3f}")],
    )
