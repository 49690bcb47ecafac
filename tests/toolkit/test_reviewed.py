"""Faults that a review found, each with the image that showed it."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from tests.support import FIXTURES

from espcert import detection, extraction, image, migration
from espcert.errors import UnreadableError, UsageError
from espcert.migration import Migration, Options
from espcert_formats import tlv

IMAGES = FIXTURES / "images"
ESPCERT = str(Path(sys.executable).with_name("espcert"))


def migrate(data: bytes, *accept: str, label: str | None = None) -> Migration:
    reading = detection.detect(image.locate(data, label=label))
    return migration.migrate(reading, Options(accept=frozenset(accept)))


def fixture(name: str) -> bytearray:
    return bytearray((IMAGES / f"{name}.bin").read_bytes())


def codes(result: Migration) -> set[str]:
    return {finding.code for finding in result.blocking}


def tlv_entry(kind: int, data: bytes, reserved: bytes = bytes(3), fill: bytes = b"\0") -> bytes:
    body = struct.pack("<IB3sBBH", 0xBA5EBA11, 0, reserved, kind, 0, len(data)) + data
    body += fill * (-len(data) % 16)
    return body + struct.pack("<I", zlib.crc32(body, 0xFFFFFFFF))


@pytest.mark.parametrize("bits", [0, 16, 2047])
def test_a_key_size_that_no_key_has_is_never_written(bits: int) -> None:
    data = fixture("cust_flash_ds_c3")
    struct.pack_into("<H", data, 30, bits)
    assert "ds-incomplete" in codes(migrate(bytes(data), "ds-key-size"))


@pytest.mark.parametrize(("name", "offset"), [("cust_flash_ds_c3", 20), ("tlv_ds_c3", 10)])
@pytest.mark.parametrize("bit", range(16))
def test_a_ciphertext_of_a_damaged_length(name: str, offset: int, bit: int) -> None:
    data = fixture(name)
    data[offset + bit // 8] ^= 1 << bit % 8
    assert "item-crc" in codes(migrate(bytes(data)))


def test_an_entry_inside_a_damaged_one_is_not_lost_unnamed() -> None:
    data = fixture("tlv_ec")
    second = next(e for e in list(tlv.walk(bytes(data)))[1:])
    first = next(tlv.walk(bytes(data)))
    struct.pack_into("<H", data, 10, second.end - first.offset - 16)
    assert codes(migrate(bytes(data), "item-crc")) == {"trailing-data"}
    assert not migrate(bytes(data), "item-crc", "trailing-data").refused


def test_what_is_missing_is_asked_of_what_is_kept() -> None:
    result = migrate(bytes(fixture("tlv_damaged_ca")), "item-crc")
    assert [finding.code for finding in result.findings] == ["missing-ca-cert", "issuer-missing"]


def test_accepting_what_leaves_nothing_out_is_told() -> None:
    result = migrate(bytes(fixture("tlv_ec")), "label-contradiction", label="pre_prov")
    assert any("label-contradiction" in change for change in result.changes)


def test_metadata_behind_the_magic_is_not_dropped_unasked() -> None:
    data = fixture("cust_flash_rsa")
    data[44:48] = b"note"
    assert codes(migrate(bytes(data))) == {"trailing-data"}


def test_odd_reserved_bytes_and_padding_are_told() -> None:
    chain = tlv_entry(51, b"one", b"\x12\x34\x56") + tlv_entry(52, b"other", fill=b"x")
    result = migrate(chain.ljust(0x2000, b"\xff"))
    assert not result.refused
    told = " ".join(result.changes)
    assert "reserved bytes 12 34 56 at 0x5" in told
    assert "padding of 11 bytes" in told


def test_a_current_image_with_odd_padding_is_kept() -> None:
    image_with_padding = tlv_entry(51, b"mine", fill=b"x").ljust(0x2000, b"\xff")
    result = migrate(image_with_padding)
    assert (result.output, result.changes) == (image_with_padding, ())


def test_damaged_ds_data_is_named_by_a_kind_of_the_contract() -> None:
    data = fixture("tlv_ds_c3")
    data[100] ^= 1
    named = {finding.item for finding in migrate(bytes(data)).findings}
    assert "ds_ciphertext" in named
    assert "ds_data" not in named


def test_a_current_image_of_seals_alone_comes_back() -> None:
    nothing = hashlib.sha256(b"").digest()
    seal = tlv.encode(tlv.NewEntry(tlv.TYPE_INTEGRITY, 0, 0, nothing))
    result = migrate(seal.ljust(0x2000, b"\xff"))
    assert result.output == seal.ljust(0x2000, b"\xff")


@pytest.mark.parametrize("names", [["a/X.bin", "b/x.img"], ["...bin", "image.bin"]])
def test_directories_that_some_file_system_takes_for_one(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        extraction.directories_for(names, tmp_path)


def test_unknown_chip_is_the_users_error() -> None:
    with pytest.raises(UsageError, match="nope"):
        Options(chip="nope")


def test_a_table_that_is_not_where_it_is_said_to_be() -> None:
    with pytest.raises(UnreadableError, match="0x9000"):
        image.locate(bytes(0x20000), table_offset=0x9000)


def test_a_label_that_is_no_text() -> None:
    row = struct.pack("<2sBBLL16sL", b"\xaa\x50", 0x3F, 6, 0xD000, 0x6000, b"esp_secure_cert", 0)
    flash = bytes(b"\xff" * 0x8000 + row).ljust(0x20000, b"\xff")
    assert image.locate(flash, label="\udcff").row is None


def run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("verb", ["detect", "inspect"])
def test_closed_standard_output(verb: str, tmp_path: Path) -> None:
    done = run(f"'{ESPCERT}' {verb} '{IMAGES / 'tlv_ec.bin'}' >&-", tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 4)


def test_a_file_below_a_file_is_missing_and_the_others_are_processed(tmp_path: Path) -> None:
    good = IMAGES / "tlv_ec.bin"
    done = run(f"'{ESPCERT}' detect --json '{good}/x' '{'a' * 300}' '{good}'", tmp_path)
    assert done.returncode == 4
    assert [line.count('"layout": "tlv"') for line in done.stdout.splitlines()] == [0, 1]
