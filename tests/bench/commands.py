"""Whole commands: how long they take, what of it is CPU time, and how much memory they need."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from fixtures.tools import envs
from tests.bench.table import Table

ROOT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = ROOT / "fixtures" / "images"
SPAWN: Final = Path(__file__).with_name("spawn.py")

OFFICIAL: Final = "configure_esp_secure_cert.py --parse_bin tlv_rsa.bin"
TYPER: Final = "python -c 'import typer'"
DETECT: Final = "espcert detect --json tlv_rsa.bin"
DETECT_OTHERS: Final = (
    "espcert detect --json cust_flash_rsa.bin",
    "espcert detect --json nvs_ec.bin",
)
AIMS: Final = (
    (DETECT, OFFICIAL, 0.45),
    *((command, TYPER, 1.4) for command in (DETECT, *DETECT_OTHERS)),
)
"""A command, what it is compared with, and the ratio aimed at."""


class Run(NamedTuple):
    """Seconds on the clock, seconds of CPU time, KiB of memory at the peak."""

    wall: float
    cpu: float
    peak: int


def official_python() -> Path:
    """The interpreter of the official tool's own environment, made where needed."""
    return envs.environment(ROOT / "build" / "tool-envs", "current", sys.executable)


def command_lines(official: Path) -> dict[str, list[str]]:
    """What is run, by what is shown of it."""
    espcert = str(Path(sysconfig.get_path("scripts")) / "espcert")
    image = {name: str(IMAGES / f"{name}.bin") for name in ("tlv_rsa", "cust_flash_rsa", "nvs_ec")}
    script = official.with_name("configure_esp_secure_cert.py")
    migrate = [espcert, "migrate", "--force", "--output", "migrated.bin", image["nvs_ec"]]
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        TYPER: [sys.executable, "-c", "import typer"],
        OFFICIAL: [str(script), "--parse_bin", image["tlv_rsa"]],
        DETECT: [espcert, "detect", "--json", image["tlv_rsa"]],
        DETECT_OTHERS[0]: [espcert, "detect", "--json", image["cust_flash_rsa"]],
        DETECT_OTHERS[1]: [espcert, "detect", "--json", image["nvs_ec"]],
        "espcert inspect nvs_ec.bin": [espcert, "inspect", image["nvs_ec"]],
        "espcert migrate nvs_ec.bin": migrate,
    }


def child_environment() -> dict[str, str]:
    """This environment, but Python keeps its compiled modules, as it does for users."""
    return {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}


def _run(shown: str, command: list[str], folder: str) -> Run:
    spawn = [sys.executable, "-I", "-S", str(SPAWN), *command]
    done = subprocess.run(
        spawn, cwd=folder, env=child_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{shown}: failed{done.stderr and ': '}{done.stderr}")
    wall, cpu, peak = done.stdout.split()
    return Run(float(wall), float(cpu), int(peak))


def measure(lines: dict[str, list[str]], rounds: int) -> dict[str, Run]:
    """The best of the rounds, each of which runs every command once; the peak is the highest."""
    runs: dict[str, list[Run]] = {shown: [] for shown in lines}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for shown, command in lines.items():
                run = _run(shown, command, folder)
                if number:  # the first round fills the caches of files and compiled modules
                    runs[shown].append(run)
    return {shown: _best(some) for shown, some in runs.items()}


def _best(runs: list[Run]) -> Run:
    return Run(
        min(run.wall for run in runs), min(run.cpu for run in runs), max(run.peak for run in runs)
    )


def commands_table(best: dict[str, Run], rounds: int) -> Table:
    """Every command by itself."""
    rows = [
        (shown, f"{run.wall * 1e3:.0f}", f"{run.cpu * 1e3:.0f}", f"{run.peak / 1024:.1f}")
        for shown, run in best.items()
    ]
    return Table(
        "Commands",
        f"Start-up and run, best of {rounds} rounds that run every command once, one after the "
        "other; peak memory is the highest of them. The official tool has an environment of its "
        "own.",
        ("command", "time, ms", "CPU time, ms", "peak memory, MiB"),
        rows,
    )


def ratios_table(best: dict[str, Run]) -> Table:
    """`espcert detect` beside what it is compared with."""
    rows = [
        (one, other, f"{wall:.2f}", f"{cpu:.2f}", f"{aim:.2f}")
        for one, other, aim in AIMS
        for wall, cpu in [(best[one].wall / best[other].wall, best[one].cpu / best[other].cpu)]
    ]
    return Table(
        "Ratios of commands",
        "CPU time is what remains comparable where other programs share the machine. The "
        "official tool parses TLV images only.",
        ("command", "beside", "time", "CPU time", "aim"),
        rows,
    )
