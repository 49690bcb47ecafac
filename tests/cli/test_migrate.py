"""`espcert migrate`: what it writes, what it refuses, and that nothing else is touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import Result, assert_no_output, fixture, run, run_many
from tests.support import fixture_truth, sha256

Row = dict[str, Any]
TRUTH = {Path(row["file"]).stem: row for row in fixture_truth()}
ONE_OF_EACH = {row["layout"]: name for name, row in TRUTH.items() if not row["refused"]}
SEALS = ("integrity", "signature_block")
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX modes or descriptors")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Result]]:
    """Every fixture, migrated with --json, and where to."""
    folder = tmp_path_factory.mktemp("migrated")
    paths = {name: folder / f"{name}.bin" for name in TRUTH}
    commands = [
        ["migrate", "--json", fixture(name), "-o", str(path)] for name, path in paths.items()
    ]
    results = run_many(commands, folder)
    return {name: (paths[name], result) for name, result in zip(TRUTH, results, strict=True)}


@pytest.mark.parametrize("name", [name for name, row in TRUTH.items() if not row["refused"]])
def test_migrated(migrated: dict[str, tuple[Path, Result]], name: str) -> None:
    path, result = migrated[name]
    assert (result.code, result.err) == (0, "")
    found = result.object
    data = path.read_bytes()
    assert (found["file"], found["output"]) == (fixture(name), str(path))
    assert found["output_sha256"] == sha256(data)
    assert found["layout"] == TRUTH[name]["layout"]
    assert len(data) % 0x1000 == 0
    assert len(data) >= (0x6000 if found["layout"].startswith("cust_flash") else 0x2000)
    assert not [f for f in found["findings"] if f["severity"] == "error"]
    if found["layout"] != "tlv":
        assert found["changes"][0] == f"layout {found['layout']} → tlv"
    line = f"esp_secure_cert, 0x3f, 0x06, <offset>, {len(data):#x},"
    assert found["partition_table"] == {"before": None, "after": line}
    assert found["flash_command"] is None


@posix
def test_migrated_files_are_private(migrated: dict[str, tuple[Path, Result]]) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path, _ in migrated.values() if path.exists()}
    assert modes == {0o600}


@pytest.mark.parametrize("name", [name for name, row in TRUTH.items() if row["refused"]])
def test_refused(migrated: dict[str, tuple[Path, Result]], name: str) -> None:
    path, result = migrated[name]
    assert result.code == 1
    assert_no_output(path)
    found = result.object
    assert (found["output"], found["output_sha256"], found["items"]) == (None, None, [])
    errors = {f["code"] for f in found["findings"] if f["severity"] == "error"}
    assert errors == set(TRUTH[name]["refused"])
    for finding in found["findings"]:
        assert finding["message"]
        assert finding["hint"]


@pytest.mark.parametrize("name", [name for name, row in TRUTH.items() if row["refused"]])
def test_accepted(name: str, tmp_path: Path, out: Path) -> None:
    """Each code alone is not enough; all together are, and `changes` tells what was lost."""
    codes = TRUTH[name]["refused"]
    accepted = [part for code in codes for part in ("--accept", code)]
    few = [["migrate", fixture(name), "-o", str(out), *accepted[2:]]] if len(codes) > 1 else []
    assert all(result.code == 1 for result in run_many(few, tmp_path))
    result = run("migrate", "--json", fixture(name), "-o", out, *accepted)
    assert (result.code, result.err) == (0, "")
    told = " ".join(result.object["changes"])
    for code in codes:
        assert code in told
    kept = {(item["kind"], item["index"]) for item in result.object["items"]}
    assert {kind for kind, _ in kept}.isdisjoint(TRUTH[name].get("damaged", ()))


@pytest.mark.parametrize("layout", sorted(ONE_OF_EACH))
def test_human_form(layout: str, out: Path) -> None:
    result = run("migrate", fixture(ONE_OF_EACH[layout]), "-o", out)
    assert result.code == 0
    assert str(out) in result.out
    assert out.exists()
    advice = layout in ("cust_flash_legacy", "nvs", "nvs_legacy", "nvs_esp_ds")
    assert ("Keep the old dump" in result.out) == (result.out.count("nothing: the image") == 0)
    assert (f"esp_secure_cert, 0x3f, 0x06, <offset>, {out.stat().st_size:#x}," in result.out) == (
        advice
    )
    assert ("erases it" in result.out) == layout.startswith("nvs")
    if advice:
        assert result.out.index("Keep the old dump") < result.out.index("written")


def test_human_refusal_goes_to_standard_error(out: Path) -> None:
    result = run("migrate", fixture("nvs_other_data"), "-o", out)
    assert (result.code, result.out) == (1, "")
    for text in ("other-data", "nvs-damage", "--accept", "app/ssid"):
        assert text in result.err
    assert_no_output(out)


def test_dry_run_needs_no_output_and_writes_none(tmp_path: Path, out: Path) -> None:
    alone = run("migrate", "--json", "--dry-run", fixture("nvs_ec"), cwd=tmp_path)
    named = run("migrate", "--json", "--dry-run", fixture("nvs_ec"), "-o", out, cwd=tmp_path)
    for result in (alone, named):
        assert result.code == 0
        found = result.object
        assert (found["output"], found["output_sha256"]) == (None, None)
        assert found["items"]
        assert found["changes"]
    assert list(tmp_path.iterdir()) == []
    assert run("migrate", "--dry-run", fixture("nvs_lost_key")).code == 1


def test_output_is_needed() -> None:
    result = run("migrate", "--json", fixture("tlv_ec"))
    assert (result.code, result.out) == (2, "")
    assert "-o" in result.err


def test_no_output_to_standard_output(tmp_path: Path) -> None:
    assert run("migrate", fixture("tlv_ec"), "-o", "-", cwd=tmp_path).code == 2
    assert list(tmp_path.iterdir()) == []


# --- The output that is there already ----------------------------------------------------------


def test_existing_output(out: Path) -> None:
    out.write_bytes(b"mine")
    result = run("migrate", "--json", fixture("tlv_ec"), "-o", out)
    assert (result.code, result.out) == (2, "")
    assert "--force" in result.err
    assert out.read_bytes() == b"mine"
    assert run("migrate", fixture("tlv_ec"), "-o", out, "--force").code == 0
    assert out.read_bytes()[:4] == b"\x11\xba\x5e\xba"
    assert len(list(out.parent.iterdir())) == 1


def test_refusal_leaves_an_existing_output_alone(out: Path) -> None:
    out.write_bytes(b"mine")
    assert run("migrate", fixture("nvs_lost_key"), "-o", out, "--force").code == 1
    assert out.read_bytes() == b"mine"


@posix
def test_force_gives_a_private_mode(out: Path) -> None:
    out.write_bytes(b"mine")
    out.chmod(0o644)
    run("migrate", fixture("tlv_ec"), "-o", out, "--force")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "force"])
@pytest.mark.parametrize("link", ["same", "dots", "symlink", "hard link"])
def test_output_that_is_the_input(link: str, force: tuple[str, ...], tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(Path(fixture("tlv_2_0")).read_bytes())
    target = tmp_path / "target.bin"
    if link == "same":
        target = image
    elif link == "dots":
        target = tmp_path / ".." / tmp_path.name / "image.bin"
    elif link == "symlink":
        target.symlink_to(image)
    else:
        os.link(image, target)
    result = run("migrate", "--json", image, "-o", target, *force)
    assert (result.code, result.out) == (2, "")
    assert "input" in result.err
    assert image.read_bytes() == Path(fixture("tlv_2_0")).read_bytes()


@posix
def test_input_that_is_a_symlink_to_the_output(tmp_path: Path) -> None:
    image, link = tmp_path / "image.bin", tmp_path / "link.bin"
    image.write_bytes(Path(fixture("tlv_2_0")).read_bytes())
    link.symlink_to(image)
    assert run("migrate", link, "-o", image, "--force").code == 2
    assert image.read_bytes() == Path(fixture("tlv_2_0")).read_bytes()


@posix
def test_output_that_is_standard_input(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(Path(fixture("tlv_2_0")).read_bytes())
    with image.open("rb") as file:
        result = run("migrate", "-", "-o", image, "--force", stdin=file.fileno())
    assert (result.code, result.out) == (2, "")
    assert "input" in result.err
    assert image.read_bytes() == Path(fixture("tlv_2_0")).read_bytes()


def test_migrate_from_standard_input(out: Path) -> None:
    data = Path(fixture("nvs_ec")).read_bytes()
    result = run("migrate", "--json", "-", "-o", out, stdin=data)
    assert result.code == 0
    assert result.object["file"] == "-"
    assert out.exists()


@pytest.mark.parametrize("option", ["--ca-cert", "--device-cert"])
def test_output_that_is_a_certificate_file(option: str, tmp_path: Path) -> None:
    """Inputs are never changed, whichever option names them."""
    from tests.cli.runner import INPUTS

    name = "ec_ca.pem" if option == "--ca-cert" else "ec_device.pem"
    certificate = tmp_path / name
    certificate.write_bytes((INPUTS / name).read_bytes())
    result = run("migrate", fixture("tlv_ec"), option, certificate, "-o", certificate, "--force")
    assert result.code == 2
    assert certificate.read_bytes() == (INPUTS / name).read_bytes()


def test_output_directory_missing(tmp_path: Path) -> None:
    result = run("migrate", "--json", fixture("tlv_ec"), "-o", tmp_path / "none" / "out.bin")
    assert (result.code, result.out) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_output_is_a_directory(tmp_path: Path) -> None:
    for force in ((), ("--force",)):
        assert run("migrate", fixture("tlv_ec"), "-o", tmp_path, *force).code == 2


@posix
def test_output_is_a_device() -> None:
    assert run("migrate", fixture("tlv_ec"), "-o", "/dev/null", "--force").code == 2
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@posix
def test_output_is_a_dangling_link(out: Path) -> None:
    out.symlink_to(out.parent / "nowhere")
    assert run("migrate", fixture("tlv_ec"), "-o", out).code == 2
    assert out.is_symlink()


def test_several_runs_to_one_output_write_it_once(out: Path) -> None:
    """The race for one name has one winner; the others find that it exists."""
    from tests.cli.runner import start

    names = ["tlv_ec", "tlv_rsa", "nvs_ec", "cust_flash_rsa"]
    running = [start("migrate", "--quiet", fixture(name), "-o", out) for name in names]
    for process in running:
        process.communicate(timeout=60)
    codes = sorted(process.returncode for process in running)
    assert codes == [0, 2, 2, 2]
    assert_complete(out)
    assert len(list(out.parent.iterdir())) == 1


def assert_complete(path: Path) -> None:
    result = run("inspect", "--json", path)
    assert result.code == 0
    assert all(item["intact"] for item in result.object["items"])
