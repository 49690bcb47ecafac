"""Too little space on the disk: a migration says so before it begins, and leaves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.support import FIXTURES
from typer.testing import CliRunner, Result

from espcert.cli.fleet import group
from espcert.fleet import plan

MIB = 1 << 20
FLASH = 4 * MIB
PARTITION = 0x6000
"""Bytes that a partition is taken for, whatever it has."""

Migrate = Callable[..., Result]


class Disk(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two images as large as a flash, and one of a partition."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        with (folder / name).open("wb") as file:
            file.truncate(FLASH)
    shutil.copy(FIXTURES / "images" / "tlv_ec.bin", folder / "c.bin")
    return folder


@pytest.fixture
def migrate(monkeypatch: pytest.MonkeyPatch) -> Migrate:
    """Runs `fleet migrate` on a disk of which so many bytes are free."""

    def run(free: int, *arguments: str | Path) -> Result:
        def usage(path: str) -> Disk:
            assert Path(path).is_dir()
            return Disk(1 << 40, (1 << 40) - free, free)

        monkeypatch.setattr(plan, "shutil", type("Shutil", (), {"disk_usage": staticmethod(usage)}))
        return CliRunner().invoke(group, ["migrate", *map(str, arguments)])

    return run


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder; directories are there without bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


NEEDED = {
    "whole images": ((), 2 * FLASH + PARTITION, "about 9 MiB are needed, 8 MiB are free"),
    "partitions": (("--partition-only",), 3 * PARTITION, "about 1 MiB are needed, 0 MiB are free"),
}


@pytest.mark.parametrize("case", NEEDED)
def test_a_byte_too_little_ends_it_before_it_begins(
    case: str, source: Path, migrate: Migrate, tmp_path: Path
) -> None:
    options, needed, text = NEEDED[case]
    before = files(tmp_path)
    out = tmp_path / "new" / "out"
    done = migrate(needed - 1, source, "-o", out, *options)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert done.stderr == f"espcert: {out}: {text}; nothing was done\n"
    assert files(tmp_path) == before


def test_enough_is_enough(source: Path, migrate: Migrate, tmp_path: Path) -> None:
    """Without a byte to spare."""
    done = migrate(2 * FLASH + PARTITION, source, "-o", tmp_path / "out", "--jobs", "1", "--quiet")
    assert done.exit_code == 3  # of the two that hold nothing
    assert (tmp_path / "out" / "c.bin").is_file()


def test_a_journal_is_as_it_was(source: Path, migrate: Migrate, tmp_path: Path) -> None:
    """What is done needs no space again, and a refusal changes nothing of what is known."""
    same = (source, "-o", tmp_path / "out", "--jobs", "1", "--quiet")
    assert migrate(1 << 40, *same).exit_code == 3
    assert migrate(0, *same).exit_code == 3
    shutil.copy(source / "c.bin", source / "d.bin")
    before = files(tmp_path)
    assert migrate(PARTITION - 1, *same).exit_code == 4
    assert files(tmp_path) == before
    assert migrate(PARTITION, *same).exit_code == 3
    assert (tmp_path / "out" / "d.bin").is_file()


def test_a_disk_that_tells_nothing(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_path: str) -> Disk:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(plan, "shutil", type("Shutil", (), {"disk_usage": staticmethod(broken)}))
    out = tmp_path / "out"
    done = CliRunner().invoke(group, ["migrate", str(source), "-o", str(out)])
    assert done.exit_code == 4
    assert done.stderr == f"espcert: {out}: Input/output error\n"
    assert not out.exists()
