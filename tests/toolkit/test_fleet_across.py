"""What modules of a fleet share, told from their records in a journal."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from tests.support import FIXTURES
from tests.toolkit import pki
from tests.toolkit.test_fleet_work import image_with

from espcert.fleet import across, engine, merging, runs
from espcert.fleet.journal import read_journal
from espcert.fleet.settings import Request
from espcert.fleet.task import AUDIT, MIGRATE, Source, Task
from espcert.fleet.work import Record, run_batch
from espcert.fleet.workers import Batch, Finished

AT = datetime(2026, 6, 1, tzinfo=timezone.utc)


class Here:
    """A pool that works in this process."""

    slots = 1
    hides_deaths = False

    def __init__(self, task: Task) -> None:
        self.task = task
        self.batches: list[Batch] = []

    def submit(self, batch: Batch) -> None:
        self.batches.append(batch)

    def finished(self, _: float) -> list[Finished]:
        batch = self.batches.pop(0)
        return [Finished(batch, run_batch(batch.sources, self.task))]

    def close(self) -> None:
        pass


def audited(*sources: str | Path, journal: Path | None = None) -> runs.Begun:
    """A run over files or a directory, all images done."""
    begun = runs.begin(Request(tuple(map(str, sources)), Task(AUDIT, AT)), journal)
    engine.run(begun.journal, begun.plan, begun.task, Here(begun.task), lambda _: None)
    return begun


def shared_in(folder: Path) -> dict[str, Any]:
    """The findings across a directory, by code; one of each at most."""
    begun = audited(folder)
    try:
        found = across.findings(begun.journal)
        assert across.counts(begun.journal) == {one["code"]: 1 for one in found}
        return {one["code"]: one for one in found}
    finally:
        begun.journal.close()


def test_modules_of_their_own(tmp_path: Path) -> None:
    ca = pki.make_ca()
    for number in range(3):
        image_with(pki.make_leaf(ca, f"module {number}"), tmp_path, f"{number}.bin")
    assert shared_in(tmp_path) == {}


def test_copies_of_a_dump(tmp_path: Path) -> None:
    """`shared-private-key` and `shared-device-cert`, but no serial number given twice."""
    path = image_with(pki.make_leaf(pki.make_ca(), "module"), tmp_path, "a.bin")
    shutil.copy(path, tmp_path / "b.bin")
    found = shared_in(tmp_path)
    assert set(found) == {"shared-private-key", "shared-device-cert"}
    one = found["shared-device-cert"]
    assert one["sources"] == [str(path), str(tmp_path / "b.bin")]
    assert (one["count"], one["severity"]) == (2, "error")
    assert "perhaps one module twice" in one["message"]
    assert one["hint"]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_under_two_names_is_one_module(link: Any, tmp_path: Path) -> None:
    path = image_with(pki.make_leaf(pki.make_ca(), "module"), tmp_path, "m1.bin")
    link(path, tmp_path / "latest.bin")
    assert shared_in(tmp_path) == {}
    shutil.copy(path, tmp_path / "m2.bin")
    one = shared_in(tmp_path)["shared-device-cert"]
    assert one["count"] == 2
    assert one["sources"] == [str(tmp_path / "latest.bin"), str(tmp_path / "m2.bin")]


def test_a_path_from_here_and_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_with(pki.make_leaf(None, "module"), tmp_path, "1.bin")
    monkeypatch.chdir(tmp_path)
    begun = audited("1.bin", path)
    assert len(list(begun.journal.records())) == 2
    assert across.findings(begun.journal) == []
    begun.journal.close()


def test_other_bytes_under_the_number_of_a_file_that_has_gone(tmp_path: Path) -> None:
    key = pki.make_key("P-256", 78)
    for name in ("a", "b"):
        image_with(pki.make_leaf(None, f"module {name}", key=key), tmp_path, f"{name}.bin")
    begun = audited(tmp_path)
    begun.journal.database.execute("UPDATE sources SET inode = '1:1'")
    assert across.counts(begun.journal) == {"shared-private-key": 1}
    begun.journal.close()


def test_a_merged_journal_tells_files_apart_by_their_machines(tmp_path: Path) -> None:
    """Files of different machines may have one number, and be copies of one dump."""
    dump = image_with(pki.make_leaf(None, "module"), tmp_path)
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        path = Path(shutil.copy(dump, tmp_path / name / "a.bin"))
        path.with_name("b.bin").hardlink_to(path)
        begun = audited(tmp_path / name, journal=tmp_path / f"{name}.sqlite")
        assert across.counts(begun.journal) == {}
        begun.journal.database.execute("UPDATE sources SET inode = '1:1'")
        begun.journal.close()
    shards = [tmp_path / "1.sqlite", tmp_path / "2.sqlite"]
    merging.merge(shards, tmp_path / "merged")
    merged = read_journal(tmp_path / "merged")
    assert {one["count"] for one in across.findings(merged)} == {2}
    merged.close()


def test_one_key_in_two_certificates(tmp_path: Path) -> None:
    key = pki.make_key("P-256", 77)
    for name in ("a", "b"):
        image_with(pki.make_leaf(None, f"module {name}", key=key), tmp_path, f"{name}.bin")
    found = shared_in(tmp_path)
    assert set(found) == {"shared-private-key"}
    assert "twice" not in found["shared-private-key"]["message"]


def test_one_serial_number_twice(tmp_path: Path) -> None:
    """`shared-serial`: of one issuer; those of different issuers may be the same."""
    names = ("CA", "CA", "another CA")
    for number, issuer in enumerate(names):
        device = pki.make_leaf(None, f"module {number}")
        builder = x509.CertificateBuilder().subject_name(pki.name_of(f"module {number}"))
        builder = builder.issuer_name(pki.name_of(issuer)).serial_number(4711)
        builder = builder.public_key(device.key.public_key()).not_valid_before(
            AT.replace(tzinfo=None)
        )
        builder = builder.not_valid_after(datetime(2040, 1, 1))
        signed = pki.Issued(builder.sign(device.key, hashes.SHA256()), device.key)
        image_with(signed, tmp_path, f"{number}.bin")
    found = shared_in(tmp_path)
    assert set(found) == {"shared-serial"}
    assert [Path(name).name for name in found["shared-serial"]["sources"]] == ["0.bin", "1.bin"]


def test_copies_of_a_ds_dump(tmp_path: Path) -> None:
    """`shared-ds-block` and `shared-hmac-key-id`."""
    for name in ("a", "b"):
        shutil.copy(FIXTURES / "images" / "tlv_ds_c3.bin", tmp_path / f"{name}.bin")
    assert {"shared-ds-block", "shared-hmac-key-id"} <= set(shared_in(tmp_path))


def test_many_findings_are_counted_and_few_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(across, "MOST", 2)
    monkeypatch.setattr(across, "LISTED", 1)
    for number in range(6):
        image_with(
            pki.make_leaf(None, f"m {number}", key=pki.make_key("P-256", 900 + number // 2)),
            tmp_path,
            f"{number}.bin",
        )
    begun = audited(tmp_path)
    try:
        found = across.findings(begun.journal)
        assert across.counts(begun.journal) == {"shared-private-key": 3}
        assert [(one["count"], len(one["sources"])) for one in found] == [(2, 1), (2, 1)]
    finally:
        begun.journal.close()


class Dying(Here):
    """A pool whose workers die on some images, whatever else is in the batch."""

    def __init__(self, task: Task, deadly: set[str], times: int) -> None:
        super().__init__(task)
        self.deadly = deadly
        self.left = times
        self.slots = 3

    def finished(self, _: float) -> list[Finished]:
        batch = self.batches.pop(0)
        ids = {source.id for source in batch.sources}
        if self.left and ids & self.deadly:
            self.left -= 1
            return [Finished(batch, None)]
        return [Finished(batch, run_batch(batch.sources, self.task))]


@pytest.mark.parametrize(("times", "status"), [(1, "done"), (2, "done"), (99, "failed")])
def test_only_the_culprit_of_a_death_fails(times: int, status: str, tmp_path: Path) -> None:
    for number in range(20):
        shutil.copy(FIXTURES / "images" / "tlv_ec.bin", tmp_path / f"{number}.bin")
    begun = runs.begin(Request((str(tmp_path),), Task(AUDIT, AT)), None)
    pool = Dying(begun.task, {"7"}, times)
    told: list[Record] = []
    engine.run(begun.journal, begun.plan, begun.task, pool, told.extend)
    found = {record["id"]: record for record in begun.journal.records()}
    assert len(found) == len(told) == 20
    assert found.pop("7")["status"] == status
    assert {record["status"] for record in found.values()} == {"done"}
    begun.journal.close()


def test_a_cluster_leaves_no_temporary_file_of_a_worker_that_died_unseen(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(FIXTURES / "images" / "tlv_ec.bin", tmp_path / "in" / "1.bin")
    out = tmp_path / "out"
    begun = runs.begin(Request((str(tmp_path / "in"),), Task(MIGRATE, AT), str(out)), None)
    (out / f".espcert-{begun.task.mark}-1.tmp").write_bytes(b"half")
    (out / ".espcert-of-another-run.tmp").write_bytes(b"half")
    pool = Here(begun.task)
    pool.hides_deaths = True
    engine.run(begun.journal, begun.plan, begun.task, pool, lambda _: None)
    begun.journal.close()
    names = sorted(path.name for path in out.iterdir() if not path.name.endswith("sqlite"))
    assert names == [".espcert-of-another-run.tmp", "1.bin"]


def test_what_cannot_be_removed_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(FIXTURES / "images" / "tlv_ec.bin", tmp_path / "in" / "1.bin")
    out = tmp_path / "out"
    begun = runs.begin(Request((str(tmp_path / "in"),), Task(MIGRATE, AT), str(out)), None)
    try:
        (out / f".espcert-{begun.task.mark}-1.tmp").mkdir()
        (out / f".espcert-{begun.task.mark}-2.tmp").write_bytes(b"half")
        engine.remove_remains(begun.journal, begun.task)
    finally:
        begun.journal.close()
    left = [path.name for path in out.iterdir() if path.suffix == ".tmp"]
    assert left == [f".espcert-{begun.task.mark}-1.tmp"]


def test_when_no_worker_lives_the_run_is_given_up(tmp_path: Path) -> None:
    from espcert.errors import FileError

    for number in range(40):
        shutil.copy(FIXTURES / "images" / "tlv_ec.bin", tmp_path / f"{number}.bin")
    begun = runs.begin(Request((str(tmp_path),), Task(AUDIT, AT)), None)
    pool = Dying(begun.task, {str(number) for number in range(40)}, 999)
    with pytest.raises(FileError, match="workers in a row"):
        engine.run(begun.journal, begun.plan, begun.task, pool, lambda _: None)
    begun.journal.close()


def test_a_source_is_what_a_worker_needs_and_no_more() -> None:
    """Key bytes never travel: a source has paths alone."""
    assert set(get_type_hints(Source).values()) <= {str, bool, str | None, int | None}
