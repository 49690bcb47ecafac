"""Many IMAGEs in one run: one object each, in order, the highest code; what is no image."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.cli.runner import fixture, run

ERASED = b"\xff" * 8192
EACH = pytest.mark.parametrize("verb", ["detect", "inspect"])


@pytest.fixture
def erased(tmp_path: Path) -> Path:
    path = tmp_path / "erased.bin"
    path.write_bytes(ERASED)
    return path


@EACH
def test_a_bad_image_stops_no_other(verb: str, erased: Path) -> None:
    names = [fixture("tlv_ec"), str(erased), fixture("nvs_ec")]
    result = run(verb, "--json", *names)
    assert result.code == 3
    assert [found["file"] for found in result.objects] == names
    first, bad, last = result.objects
    assert (first["layout"], last["layout"]) == ("tlv", "nvs")
    if verb == "detect":
        assert (bad["layout"], bad["reason_code"]) == (None, "erased")
    else:
        assert set(bad) == {"schema", "file", "error"}
        assert bad["error"]["code"] == "erased"
    human = run(verb, *names)
    assert human.code == 3
    assert [line for line in human.out.splitlines() if line.startswith(fixture("nvs_ec"))]
    assert str(erased) in human.err


@EACH
def test_the_highest_code_is_returned(verb: str, erased: Path, tmp_path: Path) -> None:
    result = run(verb, "--json", tmp_path / "none.bin", erased, fixture("tlv_ec"))
    assert result.code == 3
    assert len(result.objects) == 2
    assert run(verb, "--json", fixture("tlv_ec"), tmp_path / "none.bin").code == 2


@EACH
def test_missing_file(verb: str, tmp_path: Path) -> None:
    missing = tmp_path / "none.bin"
    result = run(verb, "--json", missing)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"espcert: {missing}: no such file\n"


@EACH
def test_directory(verb: str, tmp_path: Path) -> None:
    result = run(verb, "--json", tmp_path)
    assert (result.code, result.out) == (2, "")
    assert "directory" in result.err


def test_missing_file_to_migrate(tmp_path: Path, out: Path) -> None:
    result = run("migrate", "--json", tmp_path / "none.bin", "-o", out)
    assert (result.code, result.out) == (2, "")
    assert "no such file" in result.err


def test_empty_name_is_no_directory() -> None:
    result = run("detect", "--json", "")
    assert (result.code, result.out) == (2, "")


@pytest.mark.skipif(sys.platform == "win32", reason="names may be longer there")
@EACH
def test_name_that_is_too_long(verb: str, tmp_path: Path) -> None:
    result = run(verb, "--json", "a" * 300, cwd=tmp_path)
    assert result.code in (2, 4), result.err
    assert "bug" not in result.err


def test_standard_input() -> None:
    data = Path(fixture("cust_flash_rsa")).read_bytes()
    result = run("inspect", "--json", "-", stdin=data)
    assert result.code == 0
    assert (result.object["file"], result.object["layout"]) == ("-", "cust_flash")
    assert "standard input: cust_flash" in run("detect", "-", stdin=data).out


def test_standard_input_among_files() -> None:
    data = Path(fixture("cust_flash_rsa")).read_bytes()
    result = run("detect", "--json", fixture("tlv_ec"), "-", fixture("nvs_ec"), stdin=data)
    assert [found["layout"] for found in result.objects] == ["tlv", "cust_flash", "nvs"]


@EACH
def test_standard_input_twice(verb: str) -> None:
    result = run(verb, "--json", "-", "-", stdin=ERASED)
    assert (result.code, result.out) == (2, "")
    assert "standard input" in result.err


def test_standard_input_as_image_and_certificate(out: Path) -> None:
    data = Path(fixture("tlv_ec")).read_bytes()
    result = run("migrate", "-", "--ca-cert", "-", "-o", out, stdin=data)
    assert result.code == 2, result.err
    assert not out.exists()


def test_message_names_the_image_whatever_its_name(tmp_path: Path) -> None:
    """Also where the message begins with the same letters as the name."""
    (tmp_path / "e").write_bytes(ERASED)
    assert run("inspect", "e", cwd=tmp_path).err.startswith("espcert: e: ")


def test_hostile_file_name(tmp_path: Path) -> None:
    name = "\x1b[31mred\nline.bin"
    if os.name == "nt":
        pytest.skip("no such file names there")
    (tmp_path / name).write_bytes(Path(fixture("tlv_ec")).read_bytes())
    for verb in ("detect", "inspect"):
        result = run(verb, name, name + "2", cwd=tmp_path)
        assert "\x1b" not in result.text
        assert "\\x1b[31mred\\x0aline.bin" in result.out
    assert "\x1b" not in run("migrate", name, "--dry-run", cwd=tmp_path).text
