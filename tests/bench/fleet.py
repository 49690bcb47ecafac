"""Fleets: images a second, memory, and a shell loop over the official tool beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from tests import fleet_maker
from tests.bench.commands import child_environment
from tests.bench.table import Table

from espcert.fleet.workers import cores

ROOT: Final = Path(__file__).resolve().parents[2]
KEY: Final = ROOT / "fixtures" / "inputs" / "hmac_key.bin"
ESPCERT: Final = str(Path(sysconfig.get_path("scripts")) / "espcert")
MILLION: Final = 1_000_000
FEW, MANY = 500, 2500
LOOP: Final = 20
"""Images of the shell loop, each of which takes long."""


class Case(NamedTuple):
    """A kind of run: its name, its verb, and whether with HMAC keys."""

    name: str
    verb: str
    keys: bool


CASES: Final = (
    Case("audit", "audit", keys=False),
    Case("audit, HMAC keys", "audit", keys=True),
    Case("migrate", "migrate", keys=False),
    Case("migrate, HMAC keys", "migrate", keys=True),
)


class Fleet(NamedTuple):
    """Images below a directory, and the directory of their HMAC keys."""

    dumps: Path
    keys: Path
    paths: list[Path]


def _made(folder: Path, count: int) -> Fleet:
    paths = fleet_maker.make(folder / "dumps", count)
    (folder / "keys").mkdir()
    for path in paths:
        shutil.copy(KEY, folder / "keys" / path.name)
    return Fleet(folder / "dumps", folder / "keys", paths)


class Cost(NamedTuple):
    """Seconds: on the clock, and of CPU time of all processes together."""

    wall: float
    cpu: float


def _best(one: Cost, other: Cost) -> Cost:
    return Cost(min(one.wall, other.wall), min(one.cpu, other.cpu))


def _cpu() -> float:
    """Seconds of CPU time of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _run(command: list[str], codes: tuple[int, ...]) -> Cost:
    """What a command costs; what runs before it have left to write is written out first."""
    os.sync()
    begin, cpu = time.perf_counter(), _cpu()
    done = subprocess.run(
        command, cwd=ROOT, env=child_environment(), capture_output=True, check=False
    )
    cost = Cost(time.perf_counter() - begin, _cpu() - cpu)
    if done.stderr or done.returncode not in codes:
        sys.exit(f"{command}: {done.returncode} {done.stderr.decode()}")
    return cost


def _fleet(folder: Path, fleet: Fleet, case: Case, jobs: int) -> Cost:
    """What a whole run costs, start-up, planning and journal included."""
    out = folder / "out"
    command = [ESPCERT, "fleet", case.verb, str(fleet.dumps), "--quiet", "--at", "2026-06-01"]
    command += ["--jobs", str(jobs), "--journal", str(folder / "journal")]
    command += ["-o", str(out)] if case.verb == "migrate" else []
    command += ["--hmac-keys", str(fleet.keys)] if case.keys else []
    cost = _run(command, (0, 1, 3))
    for path in folder.glob("journal*"):
        path.unlink()
    shutil.rmtree(out, ignore_errors=True)
    return cost


def _library(fleet: Fleet, case: Case) -> Cost:
    """What a loop of the library's own calls costs, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.library_loop", case.verb, str(fleet.dumps)]
    cost = _run([*command, str(fleet.keys)] if case.keys else command, (0,))
    shutil.rmtree(fleet.dumps.parent / "single", ignore_errors=True)
    return cost


class Measured(NamedTuple):
    """The library's loop, runs with one process and on all cores, over FEW and over MANY images."""

    library_few: Cost
    library_many: Cost
    one_few: Cost
    one_many: Cost
    all_few: Cost
    all_many: Cost

    @property
    def library_each(self) -> Cost:
        """What one more image costs in the library's loop."""
        return _slope(self.library_few, self.library_many)

    @property
    def one_each(self) -> Cost:
        """What one more image costs in a run with one process."""
        return _slope(self.one_few, self.one_many)

    @property
    def all_each(self) -> Cost:
        """What one more image costs in a run on all cores."""
        return _slope(self.all_few, self.all_many)

    @property
    def start_up(self) -> float:
        """Seconds of a run with one process that no image is to blame for."""
        return self.one_few.wall - FEW * self.one_each.wall


def _slope(few: Cost, many: Cost) -> Cost:
    more = MANY - FEW
    return Cost((many.wall - few.wall) / more, (many.cpu - few.cpu) / more)


def measure(rounds: int) -> dict[str, Measured]:
    """Seconds of the library, of one process and of all cores; the best of the rounds."""
    best: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        few, many = (_made(folder / str(count), count) for count in (FEW, MANY))
        for _ in range(rounds):
            for case in CASES:
                now = Measured(
                    *(_library(fleet, case) for fleet in (few, many)),
                    *(
                        _fleet(folder, fleet, case, jobs)
                        for jobs in (1, cores())
                        for fleet in (few, many)
                    ),
                )
                old = best.get(case.name, now)
                best[case.name] = Measured(*(_best(*pair) for pair in zip(old, now, strict=True)))
    return best


def rates_table(best: dict[str, Measured], rounds: int) -> Table:
    """Images a second, and what a million modules cost."""
    rows = [
        (
            name,
            *(f"{1 / each.wall:,.0f}" for each in (one.library_each, one.one_each, one.all_each)),
            f"{one.one_each.wall / one.library_each.wall:.2f}",
            f"{one.one_each.cpu / one.library_each.cpu:.2f}",
            f"{one.one_each.wall / one.all_each.wall:.2f}",
            f"{one.start_up:.2f}",
            f"{one.one_many.wall / MANY / one.library_each.wall:.2f}",
            f"{one.all_each.wall * MILLION / 3600:.2f}",
        )
        for name, one in best.items()
    ]
    return Table(
        "Fleets",
        f"Mixed modules, 5 % damaged and 1 % foreign, in runs over {FEW:,} and over {MANY:,} of "
        "them: the difference is what an image costs in a run, journal, plan and outputs included, "
        "and what is left is start-up. The library's own cost is the same of a loop of the same "
        "calls in a process of its own, with the same reading of images and key files and the same "
        "writing; it forms no JSON. A million modules are "
        "calculated from the cost on all cores here. "
        f"Best of {rounds} rounds, interleaved.",
        (
            "run",
            "library, images/s",
            "one process, images/s",
            "all cores, images/s",
            "one process, times the library's time",
            "CPU time, times the library's",
            "all cores, times one process",
            "start-up, s",
            f"{MANY:,} images with start-up, times the library's time",
            "a million modules, hours",
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
        fleet = Fleet(folder / "dumps", folder, [])
        ours = min(_fleet(folder, fleet, CASES[0], 1).wall for _ in range(3))
    return Table(
        "A shell loop over the official tool",
        f"{LOOP} TLV images: `configure_esp_secure_cert.py --parse_bin` for each, which parses and "
        "verifies nothing, beside one `espcert fleet audit --jobs 1`, start-up included.",
        ("images", "loop, s", "fleet, s", "ratio"),
        [(str(LOOP), f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs:.3f}")],
    )
