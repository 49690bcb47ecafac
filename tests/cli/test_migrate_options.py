"""The options of `espcert migrate`: sizes, losses, labels, certificates that are supplied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import INPUTS, assert_no_output, fixture, material, run
from tests.support import crc, sha256

SEALS = ("integrity", "signature_block")


def migrate(name: str, *options: str, out: Path) -> dict[str, Any]:
    """Migrate a fixture that must migrate; the JSON object."""
    result = run("migrate", "--json", fixture(name), "-o", out, *options)
    assert (result.code, result.err) == (0, "")
    return result.object


def refused(*arguments: str | Path, out: Path, code: int) -> str:
    """Run a migration that must fail with this exit code, and write nothing; its messages."""
    result = run("migrate", *arguments, "-o", out)
    assert (result.code, result.out) == (code, "")
    assert_no_output(out)
    return result.err


def stored(found: dict[str, Any], kind: str) -> list[str]:
    """The digests of the items of a kind."""
    return [item["sha256"] for item in found["items"] if item["kind"] == kind]


# --- Size --------------------------------------------------------------------------------------

BAD_SIZES = {
    "no whole sectors": ("tlv_ec", "0x2001"),
    "none": ("tlv_ec", "0"),
    "below the least": ("tlv_ec", "0x1000"),
    "below the least of cust_flash": ("cust_flash_rsa", "0x5000"),
    "below the least of cust_flash_legacy": ("cust_flash_legacy_ec", "0x2000"),
    "negative": ("tlv_ec", "-4096"),
    "no number": ("tlv_ec", "8k"),
    "octal": ("tlv_ec", "0o20000"),
    "binary": ("tlv_ec", "0b10000000000000"),
    "underscores": ("tlv_ec", "8_192"),
    "larger than any flash": ("tlv_ec", "0x100000000000"),
    "just larger than any flash": ("tlv_ec", "0x10001000"),
}


@pytest.mark.parametrize("case", BAD_SIZES)
def test_bad_size(case: str, out: Path) -> None:
    name, size = BAD_SIZES[case]
    assert "size" in refused(fixture(name), f"--size={size}", out=out, code=2)


@pytest.mark.parametrize(("text", "size"), [("0x4000", 0x4000), ("12288", 0x3000)])
def test_size(text: str, size: int, out: Path) -> None:
    found = migrate("tlv_ec", "--size", text, out=out)
    data = out.read_bytes()
    assert len(data) == size
    assert data[:1408] == Path(fixture("tlv_ec")).read_bytes()
    assert data[1408:] == b"\xff" * (size - 1408)
    assert f"{size:#x}" in found["partition_table"]["after"]


def test_size_that_is_too_small_for_the_items(out: Path) -> None:
    """0x2000 hold 8192 - 16 bytes; the message has the arithmetic."""
    message = refused(fixture("tlv_over_8k"), "--size", "0x2000", out=out, code=1)
    assert "does-not-fit" in message
    assert "0x2000" in message


def test_size_that_would_leave_old_material_behind(tmp_path: Path, out: Path) -> None:
    """An NVS image with its key on the third page, written back as two."""
    image = Path(fixture("nvs_ec")).read_bytes()
    path = tmp_path / "late.bin"
    path.write_bytes(b"\xff" * 8192 + image[:4096] + b"\xff" * 4096)
    message = refused(path, "--size", "0x2000", out=out, code=1)
    assert "0x2000" in message


def test_default_size_of_the_overlong_writer(out: Path) -> None:
    assert len(Path(fixture("cust_flash_der_no_ca")).read_bytes()) == 24577
    migrate("cust_flash_der_no_ca", out=out)
    assert out.stat().st_size == 0x6000


# --- Losses ------------------------------------------------------------------------------------


def flipped(name: str, at: int, tmp_path: Path) -> Path:
    """A fixture with one bit flipped."""
    image = bytearray(Path(fixture(name)).read_bytes())
    image[at] ^= 1
    path = tmp_path / "flipped.bin"
    path.write_bytes(image)
    return path


def with_context(tmp_path: Path, *, key_id: int = 2, bits: int = 2048) -> Path:
    """The DS fixture with another context, its CRC right."""
    image = bytearray(Path(fixture("cust_flash_ds_c3")).read_bytes())
    image[30:32] = bits.to_bytes(2, "little")
    image[32] = key_id
    path = tmp_path / f"context_{key_id}_{bits}.bin"
    path.write_bytes(image)
    return path


def accepted_cases(tmp_path: Path) -> dict[str, tuple[str | Path, tuple[str, ...]]]:
    return {
        "item-crc": (flipped("cust_flash_rsa", 2200, tmp_path), ()),
        "trailing-data": (fixture("tlv_trailing_data"), ()),
        "duplicate-entry": (fixture("tlv_duplicate"), ()),
        "label-contradiction": (fixture("tlv_ec"), ("--label", "pre_prov")),
        "ds-incomplete": (fixture("tlv_ds_incomplete"), ()),
        "signature-lost": (fixture("tlv_2_0_signed"), ()),
        "ds-key-id": (with_context(tmp_path, key_id=9), ()),
        "ds-key-size": (with_context(tmp_path, bits=3072), ()),
        "ds-chip": (fixture("cust_flash_ds_c3"), ("--chip", "esp32s2")),
    }


CODES = (
    *("item-crc", "trailing-data", "duplicate-entry", "label-contradiction"),
    *("ds-incomplete", "signature-lost", "ds-key-id", "ds-key-size", "ds-chip"),
)
"""Those of `--accept`, but for `other-data` and `nvs-damage`: their fixtures need both."""


def test_every_code_that_can_be_accepted_is_tested() -> None:
    """Those that take an item as it is stored are tested with the checks that find them."""
    from espcert.catalogue import ACCEPTABLE, AS_STORED, CATALOGUE

    named = {code for code in ACCEPTABLE if CATALOGUE[code].accepted != AS_STORED}
    assert named == {*CODES, "other-data", "nvs-damage", "integrity-mismatch"}


@pytest.mark.parametrize("code", CODES)
def test_accept(code: str, tmp_path: Path, out: Path) -> None:
    image, options = accepted_cases(tmp_path)[code]
    message = refused(image, *options, out=out, code=1)
    assert f"[{code}]" in message
    assert f"--accept {code}" in message
    result = run("migrate", "--json", image, "-o", out, *options, "--accept", code)
    assert (result.code, result.err) == (0, "")
    assert out.exists()
    assert code not in {finding["code"] for finding in result.object["findings"]}
    losses = [change for change in result.object["changes"] if code in change]
    kept = ("label-contradiction", "ds-key-id", "ds-key-size", "ds-chip")
    assert losses or code in kept


def test_accepting_one_code_accepts_no_other(tmp_path: Path, out: Path) -> None:
    """Half of a DS key goes with its damaged half only where that is accepted, too."""
    path = flipped("tlv_ds_c3", 100, tmp_path)
    message = refused(path, "--accept", "item-crc", out=out, code=1)
    assert "[ds-incomplete]" in message
    codes = ("--accept", "item-crc", "--accept", "ds-incomplete")
    assert run("migrate", path, "-o", out, *codes).code == 0


def test_accept_that_is_not_needed_changes_nothing(out: Path) -> None:
    found = migrate("tlv_ec", "--accept", "item-crc", out=out)
    assert found["changes"] == []


NO_CODES = ("bogus", "does-not-fit", "missing-key", "", "item-crc,other-data")


@pytest.mark.parametrize("code", NO_CODES)
def test_unknown_code(code: str, out: Path) -> None:
    message = refused(fixture("tlv_ec"), "--accept", code, out=out, code=2)
    assert "--list-findings" in message


def test_nothing_left(tmp_path: Path, out: Path) -> None:
    """An image whose only item is damaged leaves nothing to write."""
    path = flipped("tlv_ca_only", 100, tmp_path)
    message = refused(path, "--accept", "item-crc", out=out, code=1)
    assert "nothing-left" in message


def test_findings_of_a_warning_do_not_refuse(out: Path) -> None:
    found = migrate("tlv_ca_only", out=out)
    codes = {(finding["code"], finding["severity"]) for finding in found["findings"]}
    assert {("missing-device-cert", "warning"), ("missing-key", "warning")} <= codes


def test_warnings_go_to_standard_error(out: Path) -> None:
    result = run("migrate", fixture("tlv_ca_only"), "-o", out)
    assert result.code == 0
    assert "missing-device-cert" in result.err
    assert "missing-device-cert" not in result.out


def test_label_that_fits(out: Path) -> None:
    migrate("cust_flash_legacy_ec", "--label", "pre_prov", out=out)


# --- Seals -------------------------------------------------------------------------------------


def test_current_image_keeps_every_byte_and_its_seals(out: Path) -> None:
    source = Path(fixture("tlv_signed_p256")).read_bytes()
    found = migrate("tlv_signed_p256", out=out)
    assert len(found["changes"]) == 1
    assert "ff ff 00 00" in found["changes"][0]
    data = out.read_bytes()
    assert source.endswith(b"\xff\xff\x00\x00")
    assert data[: len(source) - 4] == source[:-4]
    assert set(data[len(source) - 4 :]) == {0xFF}


def test_no_integrity(out: Path) -> None:
    found = migrate("nvs_ec", "--no-integrity", out=out)
    assert stored(found, "integrity") == []
    assert not any("integrity" in change for change in found["changes"])


def test_integrity_is_made_and_told(out: Path) -> None:
    found = migrate("nvs_ec", out=out)
    (seal,) = [item for item in found["items"] if item["kind"] == "integrity"]
    data = out.read_bytes()
    assert sha256(data[: seal["entry_offset"]]) == data[seal["offset"] :][:32].hex()
    assert "integrity entry added" in found["changes"]


def test_no_integrity_leaves_out_the_one_of_the_source(out: Path) -> None:
    found = migrate("tlv_duplicate", "--accept", "duplicate-entry", "--no-integrity", out=out)
    assert stored(found, "integrity") == []
    assert any("--no-integrity" in change for change in found["changes"])


def test_written_entries_have_right_checksums(out: Path) -> None:
    """By a walk of the test's own."""
    migrate("nvs_legacy_ds_c3", out=out)
    data, at, types = out.read_bytes(), 0, []
    while data[at : at + 4] == b"\x11\xba\x5e\xba":
        length = int.from_bytes(data[at + 10 : at + 12], "little")
        end = at + 12 + -(-length // 16) * 16
        assert crc(data[at:end]) == int.from_bytes(data[end : end + 4], "little")
        assert set(data[at + 12 + length : end]) <= {0}
        types.append(data[at + 8])
        at = end + 4
    assert types == [3, 4, 0, 1, 9]
    assert set(data[at:]) == {0xFF}


# --- Certificates that are supplied ------------------------------------------------------------

PEM_NUL = (INPUTS / "ec_ca.pem").read_bytes() + b"\0"


def test_missing_certificate_is_added(out: Path) -> None:
    found = migrate("cust_flash_legacy_no_ca", "--ca-cert", material("ec_ca.pem"), out=out)
    assert stored(found, "ca_cert") == [sha256(PEM_NUL)]
    assert any("--ca-cert" in change for change in found["changes"])
    assert "missing-ca-cert" not in {finding["code"] for finding in found["findings"]}


def test_missing_certificate_is_added_as_der(out: Path) -> None:
    found = migrate("cust_flash_der_no_ca", "--ca-cert", material("ec_ca.der"), out=out)
    assert stored(found, "ca_cert") == [sha256((INPUTS / "ec_ca.der").read_bytes())]


def test_missing_device_certificate_is_added(out: Path) -> None:
    found = migrate("nvs_esp_ds_c3", "--device-cert", material("rsa_device.pem"), out=out)
    stored_pem = (INPUTS / "rsa_device.pem").read_bytes() + b"\0"
    assert stored(found, "device_cert") == [sha256(stored_pem)]
    assert "missing-device-cert" not in {finding["code"] for finding in found["findings"]}


def test_same_certificate_is_no_change(out: Path) -> None:
    for options in (("--ca-cert", "ec_ca.pem"), ("--ca-cert", "ec_ca.der")):
        found = migrate("tlv_ec", options[0], material(options[1]), out=out)
        assert found["changes"] == []
        assert out.read_bytes()[:1408] == Path(fixture("tlv_ec")).read_bytes()
        out.unlink()


@pytest.mark.parametrize(
    ("option", "name"), [("--ca-cert", "ec_ca2.pem"), ("--device-cert", "rsa_device.pem")]
)
def test_other_certificate(option: str, name: str, out: Path) -> None:
    message = refused(fixture("tlv_ec"), option, material(name), out=out, code=2)
    assert option in message


@pytest.mark.parametrize("name", ["nvs_esp_ds_c3"])
def test_certificate_that_does_not_fit_the_ds_key(name: str, out: Path) -> None:
    for other in ("ec_device.pem", "rsa4096_device.pem"):
        option = ("--device-cert", material(other))
        assert "--device-cert" in refused(fixture(name), *option, out=out, code=2)


def test_certificate_that_does_not_fit_the_key(tmp_path: Path, out: Path) -> None:
    """An image with a key and no device certificate."""
    image = Path(fixture("tlv_ec")).read_bytes()
    path = tmp_path / "key.bin"
    path.write_bytes(image[:544] + image[1104:1360])
    option = ("--device-cert", material("rsa_device.pem"))
    assert "--device-cert" in refused(path, *option, out=out, code=2)
    right = run("migrate", path, "-o", out, "--device-cert", material("ec_device.pem"))
    assert right.code == 0


@pytest.mark.parametrize("name", ["ec_device.key", "hmac_key.bin", "ec_device.password.txt"])
@pytest.mark.parametrize("option", ["--ca-cert", "--device-cert"])
def test_file_that_is_no_certificate(option: str, name: str, out: Path) -> None:
    assert option in refused(fixture("nvs_esp_ds_c3"), option, material(name), out=out, code=2)


def test_certificate_file_that_is_missing_or_too_large(tmp_path: Path, out: Path) -> None:
    refused(fixture("tlv_ec"), "--ca-cert", tmp_path / "none.pem", out=out, code=2)
    large = tmp_path / "large.pem"
    large.write_bytes(bytes(2 << 20))
    message = refused(fixture("tlv_ec"), "--ca-cert", large, out=out, code=2)
    assert "flash" not in message


def test_supplied_chain_is_kept_whole(out: Path) -> None:
    found = migrate("nvs_esp_ds_c3", "--ca-cert", material("ec_chain.pem"), out=out)
    (item,) = [item for item in found["items"] if item["kind"] == "ca_cert"]
    assert item["certificates"] == 2
