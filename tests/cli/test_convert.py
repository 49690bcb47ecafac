"""`espcert convert` and `espcert diff`: what they print, write, refuse, and exit with."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.cli.runner import assert_no_output, controls, fixture, run
from tests.support import FIXTURES, sha256


def test_a_conversion_says_what_it_did(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    result = run("convert", fixture("tlv_ec"), "--to", "nvs_legacy", "-o", out)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == f"{fixture('tlv_ec')}: tlv → nvs_legacy"
    assert lines[1:4] == [
        "  holds     ca_cert (515), device_cert (535), private_key (228)",
        "  proven    read back, 3 items equal to the source's byte for byte",
        "  changed   layout tlv → nvs_legacy",
    ]
    assert "  row       pre_prov, 0x1, 0x02, <offset>, 0x3000," in lines
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(out.read_bytes()) == 0x3000
    assert run("diff", fixture("tlv_ec"), out).code == 0


def test_as_json(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    result = run("convert", "--json", fixture("nvs_ec"), "--to", "cust_flash", "-o", out)
    assert (result.code, result.err) == (0, "")
    found = result.object
    assert (found["layout"], found["to"], found["output"]) == ("nvs", "cust_flash", str(out))
    assert found["output_sha256"] == sha256(out.read_bytes())
    assert {item["kind"]: item["offset"] for item in found["items"]} == {
        "device_cert": 64,
        "ca_cert": 2112,
        "private_key": 6208,
    }
    assert found["findings"] == []


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    result = run("convert", fixture("tlv_ec"), "--to", "nvs", "--dry-run", "-o", out)
    assert result.code == 0
    assert "nothing written" in result.out
    assert_no_output(out)
    assert run("convert", fixture("tlv_ec"), "--to", "nvs", "--dry-run").code == 0


def test_what_the_target_cannot_hold_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    result = run("convert", fixture("tlv_every_type"), "--to", "cust_flash", "-o", out)
    assert (result.code, result.out) == (1, "")
    assert "refused, nothing written" in result.err
    assert "tee_key: cust_flash has no place for it [does-not-fit]" in result.err
    assert_no_output(out)
    as_json = run("convert", "--json", fixture("tlv_every_type"), "--to", "nvs", "-o", out)
    assert as_json.code == 1
    assert as_json.object["output"] is None
    assert_no_output(out)


def test_a_signature_needs_to_be_accepted(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    command = ("convert", fixture("tlv_signed_p256"), "--to", "cust_flash", "-o", out)
    refused = run(*command)
    assert refused.code == 1
    assert "--accept signature-lost" in refused.err
    taken = run(*command, "--accept", "signature-lost")
    assert taken.code == 0
    assert "left out: 1 signature block" in taken.out


def test_quiet(tmp_path: Path) -> None:
    result = run("convert", "--quiet", fixture("tlv_ds_s2"), "--to", "nvs", "-o", tmp_path / "o")
    assert (result.code, result.text) == (0, "")


def test_outputs_are_protected(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    out.write_bytes(b"mine")
    command = ("convert", fixture("tlv_ec"), "--to", "nvs")
    exists = run(*command, "-o", out)
    assert (exists.code, exists.out) == (2, "")
    assert "--force replaces it" in exists.err
    assert out.read_bytes() == b"mine"
    assert run(*command, "-o", out, "--force").code == 0
    source = tmp_path / "source.bin"
    source.write_bytes(Path(fixture("tlv_ec")).read_bytes())
    same = run("convert", source, "--to", "nvs", "-o", source, "--force")
    assert same.code == 2
    assert "is the input" in same.err
    assert run(*command, "-o", tmp_path).code == 2
    assert run(*command, "-o", "-").code == 2
    assert run(*command).code == 2
    assert run(*command, "-o", tmp_path / "no" / "out.bin").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--to", "bin"), 2, "--to bin: none of tlv"),
        (("--to", "nvs", "--size", "0x3001"), 2, "whole sectors"),
        (("--to", "nvs", "--size", "0x2000"), 1, "whole pages of 0x1000 bytes, 3 at least"),
        (("--to", "nvs", "--accept", "bogus"), 2, "not a code that can be accepted"),
        (("--to", "nvs", "--chip", "esp8266"), 2, "is none of"),
        ((), 2, "--to"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    result = run("convert", fixture("tlv_ec"), *arguments, "-o", out)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert_no_output(out)


@pytest.mark.parametrize("data", [b"", b"\xff" * 4096, b"\x11\xba", bytes(4096)])
def test_what_is_no_image(data: bytes, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(data)
    result = run("convert", image, "--to", "nvs", "-o", tmp_path / "out.bin")
    assert (result.code, result.out) == (3, "")
    assert len(result.err.splitlines()) == 1
    assert_no_output(tmp_path / "out.bin")


def test_standard_input(tmp_path: Path) -> None:
    data = Path(fixture("tlv_ec")).read_bytes()
    result = run("convert", "-", "--to", "nvs", "-o", tmp_path / "out.bin", stdin=data)
    assert result.code == 0
    assert result.out.startswith("standard input: tlv → nvs")


# --- CSV and PEM -------------------------------------------------------------------------------


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("to", "name"), [("csv", "out.csv"), ("pem", "out")])
def test_files_of_text_and_back(to: str, name: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    result = run("convert", "--json", fixture("tlv_ds_c3"), "--to", to, "-o", made / name)
    assert (result.code, result.err) == (0, "")
    found = result.object
    base = made if to == "csv" else made / name
    assert found["output"] == str(made / name)
    index = base / found["files"][-1]
    assert found["output_sha256"] == sha256(index.read_bytes())
    assert {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()} == set(
        found["files"]
    )
    assert modes(made) == {0o600}
    assert all(item["offset"] is None for item in found["items"])
    assert run("diff", made / name, fixture("tlv_ds_c3")).code == 0
    back = run("convert", made / name, "--to", "cust_flash", "-o", tmp_path / "back.bin")
    assert back.code == 0
    assert (tmp_path / "back.bin").read_bytes() == Path(fixture("cust_flash_ds_c3")).read_bytes()


@pytest.mark.parametrize(("to", "name"), [("csv", "out.csv"), ("pem", "out")])
def test_files_are_not_overwritten(to: str, name: str, tmp_path: Path) -> None:
    command = ("convert", fixture("tlv_ec"), "--to", to, "-o", tmp_path / name)
    assert run(*command).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = run(*command)
    assert (again.code, again.out) == (2, "")
    assert "--force replaces it" in again.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    other = run("convert", fixture("tlv_rsa"), "--to", to, "-o", tmp_path / name, "--force")
    assert other.code == 0
    assert run("diff", tmp_path / name, fixture("tlv_rsa")).code == 0


@pytest.mark.parametrize(("to", "name"), [("csv", "out.csv"), ("pem", "out")])
def test_files_are_never_their_own_source(to: str, name: str, tmp_path: Path) -> None:
    assert run("convert", fixture("tlv_ec"), "--to", to, "-o", tmp_path / name).code == 0
    result = run("convert", tmp_path / name, "--to", to, "-o", tmp_path / name, "--force")
    assert result.code == 2
    assert "is the input" in result.err


def test_what_the_official_csv_cannot_express(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    command = ("convert", fixture("tlv_ecdsa_peripheral"), "--to", "csv", "-o", out)
    refused = run(*command)
    assert refused.code == 1
    assert "private_key with flags 0x08; --espcert-csv adds a column" in refused.err
    assert list(tmp_path.iterdir()) == []
    assert run(*command, "--espcert-csv").code == 0
    assert run("diff", out, fixture("tlv_ecdsa_peripheral")).code == 0


def test_a_dry_run_leaves_no_files(tmp_path: Path) -> None:
    for to in ("csv", "pem"):
        command = ("convert", fixture("tlv_ec"), "--to", to, "--dry-run", "-o", tmp_path / "x")
        assert run(*command).code == 0
    assert list(tmp_path.iterdir()) == []


def test_options_of_other_targets(tmp_path: Path) -> None:
    for arguments in (("--to", "csv", "--size", "0x2000"), ("--to", "nvs", "--espcert-csv")):
        result = run("convert", fixture("tlv_ec"), *arguments, "-o", tmp_path / "x")
        assert (result.code, result.out) == (2, "")


# --- diff --------------------------------------------------------------------------------------


def test_equal_images() -> None:
    result = run("diff", fixture("tlv_ec"), fixture("nvs_worn"))
    assert (result.code, result.err) == (0, "")
    assert result.out == f"{fixture('tlv_ec')} and {fixture('nvs_worn')} hold the same 3 items\n"


def test_different_images() -> None:
    result = run("diff", fixture("tlv_ec"), fixture("tlv_ca_only"))
    assert (result.code, result.err) == (1, "")
    lines = result.out.splitlines()
    assert lines[0] == f"A is {fixture('tlv_ec')}, B is {fixture('tlv_ca_only')}"
    assert [line.split(":")[0] for line in lines[1:]] == ["  device_cert", "  private_key"]
    assert all("only in A" in line for line in lines[1:])


def test_diff_as_json() -> None:
    result = run("diff", "--json", fixture("tlv_ec"), fixture("tlv_no_nul"))
    assert result.code == 1
    found = result.object
    assert (found["file"], found["other"]) == (fixture("tlv_ec"), fixture("tlv_no_nul"))
    assert found["equal"] is False
    assert [one["item"] for one in found["differences"]] == [
        "ca_cert",
        "device_cert",
        "private_key",
    ]
    same = run("diff", "--json", fixture("tlv_ec"), fixture("tlv_2_0"))
    assert (same.code, same.object["equal"], same.object["differences"]) == (0, True, [])


def test_damage_is_told_on_standard_error() -> None:
    result = run("diff", fixture("tlv_damaged_ca"), fixture("tlv_damaged_ca"))
    assert result.code == 0
    assert (
        result.err.splitlines()
        == [f"espcert: {fixture('tlv_damaged_ca')}: ca_cert does not have its checksum"] * 2
    )


def test_quiet_diff() -> None:
    result = run("diff", "--quiet", fixture("tlv_ec"), fixture("tlv_rsa"))
    assert (result.code, result.text) == (1, "")


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    erased = tmp_path / "erased.bin"
    erased.write_bytes(b"\xff" * 4096)
    for pair in ((erased, fixture("tlv_ec")), (fixture("tlv_ec"), erased)):
        result = run("diff", "--json", *pair)
        assert result.code == 3
        assert [one["file"] for one in result.objects] == [str(erased)]
        assert result.err.startswith(f"espcert: {erased}: erased flash")
    assert run("diff", fixture("tlv_ec"), tmp_path / "none.bin").code == 2
    assert run("diff", fixture("tlv_ec")).code == 2


def test_one_of_two_from_standard_input() -> None:
    data = Path(fixture("nvs_ec")).read_bytes()
    result = run("diff", "-", fixture("tlv_ec"), stdin=data)
    assert result.code == 0
    assert result.out.startswith("standard input and ")
    assert run("diff", "-", "-", stdin=data).code == 2


def test_hostile_names_reach_no_terminal(tmp_path: Path) -> None:
    image = tmp_path / "\x1b[31m.bin"
    image.write_bytes((FIXTURES / "images" / "tlv_hostile.bin").read_bytes())
    result = run("diff", image, fixture("tlv_ec"))
    assert result.code == 1
    assert controls(result.text) == set()
