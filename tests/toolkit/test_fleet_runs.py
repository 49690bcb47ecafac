"""Beginning a run of a fleet: what is checked before any work starts."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.toolkit import pki
from tests.toolkit.test_fleet_work import image_with

from espcert.errors import FileError
from espcert.fleet import runs
from espcert.fleet.journal import Journal, read_journal
from espcert.fleet.settings import Request
from espcert.fleet.task import MIGRATE, Task


def test_too_little_space_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    image_with(pki.make_leaf(None, "module"), tmp_path / "in", "1.bin")
    task = Task(MIGRATE, datetime(2026, 6, 1, tzinfo=timezone.utc))
    request = Request((str(tmp_path / "in"),), task, str(tmp_path / "out"))
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(FileError, match="0 MiB are free; nothing was done"):
        runs.begin(request, None)
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(shutil, "disk_usage", real)
    runs.begin(request, tmp_path / "j").journal.close()
    image_with(pki.make_leaf(None, "other"), tmp_path / "in", "2.bin")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(FileError):
        runs.begin(request, tmp_path / "j")
    journal = read_journal(tmp_path / "j")
    assert (journal.fact("run"), journal.left()) == (1, 1)
    journal.close()


def test_existing_outputs_do_not_each_read_the_list_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    images = [image_with(pki.make_leaf(None, "module"), tmp_path, f"{name}.bin") for name in "abc"]
    for image in images:
        (tmp_path / "out" / image.name).write_bytes(b"older")
    task = Task(MIGRATE, datetime(2026, 6, 1, tzinfo=timezone.utc), force=True)
    asked: list[str] = []
    real = Journal.fact

    def fact(journal: Journal, name: str) -> Any:
        asked.append(name)
        return real(journal, name)

    monkeypatch.setattr(Journal, "fact", fact)
    counts = []
    for given in (images[:1], images):
        asked.clear()
        request = Request(tuple(map(str, given)), task, str(tmp_path / "out"))
        runs.begin(request, tmp_path / f"j{len(given)}").journal.close()
        counts.append(asked.count("options"))
    assert counts[0] == counts[1]


def test_what_appears_after_a_run_that_was_cut_short_left_nothing_is_not_its_own(
    tmp_path: Path,
) -> None:
    image_with(pki.make_leaf(None, "module"), tmp_path)
    image, output = tmp_path / "image.bin", tmp_path / "out" / "image.bin"
    task = Task(MIGRATE, datetime(2026, 6, 1, tzinfo=timezone.utc))
    request = Request((str(image),), task, str(tmp_path / "out"))

    def planned(write: bytes | None, *, begin: bool = False) -> str | None:
        """What a start takes for its own, after which others write something, if anything."""
        begun = runs.begin(request, None)
        if begin:
            begun.journal.begin([str(image)])
        (row,) = [row for row, _ in begun.journal.todo(begun.plan.run, rehash=False)]
        begun.journal.close()
        if write is not None:
            output.write_bytes(write)
        ours: str | None = row["output_sha256"]
        return ours

    assert planned(None, begin=True) is None
    assert planned(b"theirs") is None
    assert planned(None) is None
