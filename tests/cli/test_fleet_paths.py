"""`espcert fleet`: what its reports and outputs never replace, and where they can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.cli.runner import material, run, start
from tests.cli.test_fleet import AT, JOURNAL, copied, fleet

# --- What is never replaced -----------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an image and files of every kind that a run reads."""
    copied(tmp_path / "in" / "m.bin", tmp_path / "in" / "m.csv")
    names = {"ca.csv": "ec_ca.pem", "keys/m.bin": "hmac_key.bin"}
    for name, source in names.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(material(source), tmp_path / name)
    (tmp_path / "sign.csv").write_bytes(Path(material("ec_ca.pem")).read_bytes())
    (tmp_path / "list.xml").write_text("in/m.bin\n")
    (tmp_path / "password.csv").write_text("secret\n")
    shutil.copy(material("hmac_key.bin"), tmp_path / "key.csv")
    shutil.copy(material("hmac_key.bin"), tmp_path / "key.bin")
    (tmp_path / "fleet.csv").write_text("image,hmac_key\nin/m.bin,key.csv\n")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    return tmp_path


REPORTS = {
    "a new journal": ("in/m.bin --journal q.csv", "q.csv", "is the journal"),
    "a journal by another path": ("in/m.bin --journal q.csv", "link/q.csv", "is the journal"),
    "a source": ("in/m.bin in/m.csv", "in/m.csv", "is a source"),
    "a source by another path": ("in/m.bin in/m.csv", "link/in/m.csv", "is a source"),
    "a source of a pattern": ("in/*", "in/m.csv", "is a source"),
    "a source of a directory": ("in", "in/m.csv", "is a source"),
    "a source of a list": ("@list", "in/m.csv", "is a source"),
    "a list": ("@list.xml", "list.xml", "is a list of sources"),
    "a manifest": ("fleet.csv", "fleet.csv", "is a manifest"),
    "a key of a manifest": ("fleet.csv", "key.csv", "is a key"),
    "the CA file": ("in/m.bin --ca ca.csv", "ca.csv", "is the CA file"),
    "the signing key": ("in/m.bin --signing-key sign.csv", "sign.csv", "is the signing key"),
    "a password": (
        "in/m.bin --key-password-file password.csv",
        "password.csv",
        "is the key's password",
    ),
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_report_never_replaces_what_the_run_needs(case: str, place: Path) -> None:
    arguments, report, text = REPORTS[case]
    (place / "list").write_text("in/m.bin\nin/m.csv\n")
    before = contents(place)
    done = fleet("audit", *arguments.split(), *AT, "--report", report, "--force", cwd=place)
    assert (done.code, done.out) == (2, "")
    assert f"{report} {text}" in done.err.replace(f"{place}/", "")
    assert len(done.err.splitlines()) == 1
    assert contents(place) == before


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "html", "sarif", "xml", "parquet"])
def test_a_report_among_the_images_is_replaced_and_is_no_image(suffix: str, place: Path) -> None:
    same = ("audit", "in", *AT, "--report", f"in/r.{suffix}", "--json")
    assert len(fleet(*same, cwd=place).objects) == 2
    again = fleet(*same, "--force", cwd=place)
    assert {one["status"] for one in again.objects} == {"done"}
    assert len(again.objects) == 2


def contents(top: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_report_never_replaces_a_journal_that_is_there(place: Path) -> None:
    same = ("audit", "in/m.bin", *AT, "--journal", "q.csv", "--quiet")
    assert fleet(*same, cwd=place).code == 0
    os.link(place / "q.csv", place / "other.csv")
    for report in ("q.csv", "other.csv"):
        done = fleet(*same, "--report", report, "--force", cwd=place)
        assert (done.code, "is the journal" in done.err) == (2, True)
        done = fleet("report", "q.csv", "-o", report, "--force", cwd=place)
        assert (done.code, "is the journal" in done.err) == (2, True)
    assert fleet(*same, cwd=place).code == 0


def test_a_later_report_never_replaces_a_source(place: Path, tmp_path: Path) -> None:
    fleet("audit", "in/m.bin", "in/m.csv", *AT, "--journal", "j", "--quiet", cwd=place)
    before = (place / "in" / "m.csv").read_bytes()
    done = fleet("report", place / "j", "-o", place / "in" / "m.csv", "--force", cwd=tmp_path)
    assert (done.code, "is a source" in done.err) == (2, True)
    assert (place / "in" / "m.csv").read_bytes() == before


def test_a_report_never_replaces_an_output(place: Path) -> None:
    (place / "fleet.csv").write_text("image,output\nin/m.bin,sub/R.csv\n")
    for report in ("out/sub/R.csv", "link/out/sub/R.csv"):
        (place / "out" / "sub").mkdir(parents=True, exist_ok=True)
        more = ("--report", report, "--force")
        done = fleet("migrate", "fleet.csv", "-o", "out", *AT, *more, cwd=place)
        assert (done.code, "is an output" in done.err) == (2, True)
        assert contents(place / "out") == {}


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_output_never_replaces_the_journal(force: tuple[str, ...], place: Path) -> None:
    (place / "fleet.csv").write_text(f"image,output\nin/m.bin,{JOURNAL}\n")
    done = fleet("migrate", "fleet.csv", "-o", "out", *AT, *force, cwd=place)
    assert (done.code, "is the journal" in done.err) == (2, True)
    assert "--force replaces it" not in done.err
    assert not (place / "out").exists()


OUTPUTS = {
    "a key of a directory": ("in/m.bin", "keys", ("--hmac-keys", "keys"), "is an HMAC key"),
    "a key of a manifest": ("fleet.csv", ".", (), "is a key"),
    "the manifest": ("self.csv", ".", (), "is a manifest"),
    "the CA file": ("ca.jsonl", ".", ("--ca", "ca.csv"), "is the CA file"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_never_replaces_what_the_run_reads(case: str, place: Path) -> None:
    source, output, more, text = OUTPUTS[case]
    (place / "fleet.csv").write_text("image,hmac_key,output\nin/m.bin,key.bin,key.bin\n")
    (place / "self.csv").write_text("image,output\nin/m.bin,self.csv\n")
    (place / "ca.jsonl").write_text('{"image": "in/m.bin", "output": "ca.csv"}\n')
    before = contents(place)
    for force in ((), ("--force",)):
        done = fleet("migrate", source, "-o", output, *AT, *more, *force, cwd=place)
        assert (done.code, text in done.err) == (2, True), done.err
        assert contents(place) == before


def test_merging_never_replaces_a_journal(place: Path) -> None:
    fleet("audit", "in/m.bin", *AT, "--journal", "1", "--quiet", cwd=place)
    before = contents(place)
    for output in ("1", "link/1", "1-wal"):
        done = fleet("merge", "1", "-o", output, cwd=place)
        assert (done.code, "is the journal" in done.err) == (2, True)
    assert contents(place) == before
    assert run("fleet", "merge", "1", "-o", "2", cwd=place).code == 0


# --- Where reports go -----------------------------------------------------------------------------


def test_a_report_given_twice_is_refused_before_any_work(place: Path) -> None:
    for other in ("a.csv", "./a.csv", "link/a.csv"):
        more = ("--report", "a.csv", "--report", other, "--force")
        done = fleet("audit", "in/m.bin", *AT, "--journal", "j", *more, cwd=place)
        assert (done.code, done.out) == (2, "")
        assert f"{Path(other)}: given twice" in done.err
        assert not (place / "a.csv").exists()
        assert not (place / "j").exists()
    fleet("audit", "in/m.bin", *AT, "--journal", "j", "--quiet", cwd=place)
    done = fleet("report", "j", "-o", "a.csv", "-o", "./a.csv", cwd=place)
    assert (done.code, "a.csv: given twice" in done.err) == (2, True)
    assert not (place / "a.csv").exists()


def test_the_same_command_replaces_its_own_reports(place: Path) -> None:
    reports = [one for end in ("jsonl", "csv") for one in ("--report", f"r.{end}")]
    same = ("audit", "in/m.bin", *AT, "--journal", "j", "--quiet", *reports)
    for _ in range(3):
        done = fleet(*same, cwd=place)
        assert (done.code, done.err) == (0, "")
    (place / "r.csv").write_text("my notes")
    before = contents(place)
    done = fleet(*same, cwd=place)
    assert (done.code, done.out) == (2, "")
    assert "r.csv: exists; --force replaces it" in done.err
    assert {name: before[name] for name in before if "/r." in name} == {
        name: data for name, data in contents(place).items() if "/r." in name
    }
    assert fleet(*same, "--force", cwd=place).code == 0
    assert fleet(*same, cwd=place).code == 0


def test_reports_of_others_are_not_replaced(place: Path) -> None:
    audit = ("audit", "in/m.bin", *AT, "--quiet", "--report", "r.csv")
    assert fleet(*audit, "--journal", "j", cwd=place).code == 0
    for more in ((), ("--journal", "k")):
        done = fleet(*audit, *more, cwd=place)
        assert (done.code, "r.csv: exists" in done.err) == (2, True)
    assert not (place / "k").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no directory without new files")
def test_a_directory_that_takes_no_report_is_seen_before_the_run(place: Path) -> None:
    folder = place / "read-only"
    folder.mkdir(0o555)
    folders = ["/proc"] if os.geteuid() == 0 else ["/proc", str(folder)]
    for one in folders:
        more = ("--journal", "j", "--report", f"{one}/r.csv")
        done = fleet("audit", "in/m.bin", *AT, *more, "--force", cwd=place)
        assert (done.code, done.out) == (4, "")
        assert f"{one}/r.csv: cannot be written" in done.err
        assert not (place / "j").exists()


def test_a_report_that_fails_at_the_end_leaves_summary_and_other_reports(place: Path) -> None:
    (place / "gone").mkdir()
    more = ("--journal", "j", "--report", "gone/r.csv", "--report", "r.jsonl")
    running = start("fleet", "audit", "-", *AT, *more, cwd=place, stdin=subprocess.PIPE)
    end = time.monotonic() + 30
    while not (place / "j").exists() and time.monotonic() < end:
        time.sleep(0.01)
    (place / "gone").rmdir()
    out, err = running.communicate(b"in/m.bin\n", timeout=30)
    assert running.returncode == 4
    assert out.startswith(b"1 images: ")
    assert b"gone/r.csv" not in out
    assert b"report          r.jsonl" in out
    assert b"gone/r.csv: cannot be written" in err
    assert (place / "r.jsonl").exists()
