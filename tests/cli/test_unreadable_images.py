"""Images that are no known layout: exit code 3, why, and what to do instead."""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.runner import Result, assert_no_output, fixture, run
from tests.support import NvsPage, nvs_image, nvs_namespace, nvs_number, real_image

RANDOM = random.Random(7)
NOISE = RANDOM.randbytes(4096)
ROW = struct.Struct("<2sBBLL16sL")

Rows = list[tuple[str, int, int, int, int]]
"""Label, type, subtype, offset, size."""


def table(rows: Rows, *, md5: bool = True) -> bytes:
    """A partition table as gen_esp32part.py writes it."""
    listed = b"".join(
        ROW.pack(b"\xaa\x50", kind, subtype, offset, size, label.encode(), 0)
        for label, kind, subtype, offset, size in rows
    )
    digest = b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(listed).digest() if md5 else b""
    return (listed + digest).ljust(0xC00, b"\xff")


def flash(rows: Rows, partition: bytes, *, at: int, md5: bool = True) -> bytes:
    """A whole flash image: a bootloader, the table at `at`, the partition in its place."""
    image = bytearray(b"\xff" * 0x20000)
    image[0x1000:0x1018] = b"\xe9\x03\x02\x20" + bytes(20)
    image[at : at + 0xC00] = table(rows, md5=md5)
    for label, _, _, offset, _ in rows:
        if label in ("esp_secure_cert", "pre_prov", "factory_certs"):
            image[offset : offset + len(partition)] = partition
    return bytes(image)


def nvs_without_credentials() -> bytes:
    return nvs_image(NvsPage(0).add(nvs_namespace("wifi", 1), nvs_number(1, "channel", 6)))


SYNTHETIC = {
    "empty": (b"", "empty"),
    "erased": (b"\xff" * 0x6000, "erased"),
    "one byte of erased flash": (b"\xff", "erased"),
    "cut TLV magic": (b"\x11\xba\x5e", "truncated"),
    "twenty bytes": (bytes(range(20)), "truncated"),
    "cut NVS page": (nvs_without_credentials()[:64], "truncated"),
    "random": (NOISE, "encrypted_or_random"),
    "random, then erased": (NOISE + b"\xff" * 8192, "encrypted_or_random"),
    "halves repeat": (
        b"".join(NOISE[at : at + 16] * 2 for at in range(0, len(NOISE), 16)),
        "esp32_encrypted",
    ),
    "partition table": (table([("nvs", 1, 2, 0x9000, 0x6000)]), "partition_table"),
    "app": (b"\xe9\x06\x02\x20" + NOISE, "app_image"),
    "nvs of an application": (nvs_without_credentials(), "unknown"),
    "zeros": (bytes(8192), "unknown"),
    "text": (b"-----BEGIN CERTIFICATE-----\n" * 40, "unknown"),
    "flash without the partition": (
        flash([("nvs", 1, 2, 0x9000, 0x6000)], b"", at=0x8000),
        "no_partition",
    ),
    "flash with the partition": (
        flash([("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000)], b"\x11", at=0x8000),
        "partition_table",
    ),
}


def check_unreadable(path: Path | str, code: str, stdin: bytes = b"") -> None:
    """All verbs say the same: layout null or an error object, exit code 3, a sentence."""
    detected = run("detect", "--json", path, stdin=stdin)
    assert (detected.code, detected.err) == (3, "")
    found = detected.object
    facts = (found["layout"], found["key"], found["revision"], found["reason_code"])
    assert facts == (None, "none", None, code)
    for verb in (("inspect",), ("migrate", "--dry-run")):
        result = run(*verb, "--json", path, stdin=stdin)
        assert result.code == 3
        assert set(result.object) == {"schema", "file", "error"}
        assert result.object["error"] == {"code": code, "message": found["reason"]}
    human = run("detect", path, stdin=stdin)
    assert (human.code, human.out) == (3, "")
    assert found["reason"] in human.err


@pytest.mark.parametrize("case", SYNTHETIC)
def test_unreadable(case: str, tmp_path: Path) -> None:
    data, code = SYNTHETIC[case]
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    check_unreadable(path, code)


def test_every_reason_has_an_image() -> None:
    assert {code for _, code in SYNTHETIC.values()} == {
        *("empty", "erased", "truncated", "encrypted_or_random", "esp32_encrypted"),
        *("partition_table", "app_image", "no_partition", "unknown"),
    }


def test_nothing_on_standard_input() -> None:
    check_unreadable("-", "empty")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nvs_samples/part_old_blob_format.bin", "unknown"),
        ("cust_flash/partition-table.bin", "partition_table"),
        ("nvs_rsa_ds_c3/hmac_key.bin", "truncated"),
    ],
)
def test_real_files_that_are_no_image(name: str, code: str) -> None:
    real_image(name)
    from tests.support import IMAGES

    check_unreadable(IMAGES / name, code)


def test_unreadable_writes_nothing(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "noise.bin"
    path.write_bytes(NOISE)
    assert run("migrate", path, "-o", out).code == 3
    assert_no_output(out)


# --- Whole flash images ------------------------------------------------------------------------

PARTITION = Path(fixture("cust_flash_rsa")).read_bytes()
CREDENTIALS: Rows = [
    ("nvs", 1, 2, 0x13000, 0x6000),
    ("esp_secure_cert", 0x3F, 6, 0xD000, 0x6000),
    ("factory", 0, 0, 0x20000, 0x10000),
]


def detect_flash(path: Path, image: bytes, *options: str) -> Result:
    path.write_bytes(image)
    return run("detect", "--json", *options, path)


@pytest.mark.parametrize("md5", [True, False], ids=["md5", "no md5"])
@pytest.mark.parametrize("at", [0x8000, 0x9000, 0xC000, 0x10000, 0xB000], ids=hex)
def test_flash_image(at: int, md5: bool, tmp_path: Path) -> None:
    shifted = [(*row[:3], row[3] + 0x4000, row[4]) for row in CREDENTIALS]
    image = flash(shifted, PARTITION, at=at, md5=md5)
    result = detect_flash(tmp_path / "flash.bin", image)
    assert (result.code, result.err) == (3, "")
    found = result.object
    assert (found["container"], found["layout"]) == ("flash", None)
    assert (found["label"], found["reason_code"]) == ("esp_secure_cert", "partition_table")
    place = {"file_offset": 0x11000, "size": 0x6000, "type": 0x3F, "subtype": 6}
    assert found["partition"] == place | {"encrypted": False}
    assert f"{at:#x}" in found["reason"]
    assert "0x11000" in found["reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="the command is for POSIX shells")
@pytest.mark.parametrize("folder", ["plain", "with a space", "it's; rm -rf $HOME"])
def test_the_cut_command_works(folder: str, tmp_path: Path) -> None:
    """Copied into a shell, it makes the partition that `migrate` then takes."""
    place = tmp_path / folder
    place.mkdir()
    path = place / "flash.bin"
    reason = detect_flash(path, flash(CREDENTIALS, PARTITION, at=0xC000)).object["reason"]
    command = reason[reason.index("dd if=") :]
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    cut = tmp_path / "esp_secure_cert.bin"
    assert cut.read_bytes() == PARTITION
    assert run("detect", "--json", cut).object["layout"] == "cust_flash"


def test_the_cut_command_is_one_of_dd(tmp_path: Path) -> None:
    image = flash(CREDENTIALS, PARTITION, at=0x8000)
    reason = detect_flash(tmp_path / "flash.bin", image).object["reason"]
    words = shlex.split(reason[reason.index("dd if=") :])
    assert words[0] == "dd"
    assert {"bs=4096", "skip=13", "count=6"} <= set(words)


def test_pre_prov_is_found_in_a_flash_image(tmp_path: Path) -> None:
    rows: Rows = [("pre_prov", 1, 2, 0x10000, 0x3000)]
    found = detect_flash(tmp_path / "flash.bin", flash(rows, PARTITION, at=0x8000)).object
    assert (found["label"], found["partition"]["type"]) == ("pre_prov", 1)


def test_label_names_the_partition_of_a_flash_image(tmp_path: Path) -> None:
    rows: Rows = [*CREDENTIALS, ("factory_certs", 0x40, 0, 0x19000, 0x6000)]
    image = flash(rows, PARTITION, at=0x8000)
    found = detect_flash(tmp_path / "flash.bin", image, "--label", "factory_certs").object
    assert (found["label"], found["partition"]["file_offset"]) == ("factory_certs", 0x19000)
    missing = detect_flash(tmp_path / "flash.bin", image, "--label", "other").object
    assert missing["reason_code"] == "no_partition"
    assert "other" in missing["reason"]


@pytest.mark.parametrize("number", ["0xC000", "49152"])
def test_the_table_offset_can_be_given(number: str, tmp_path: Path) -> None:
    image = bytearray(flash(CREDENTIALS, PARTITION, at=0xC000))
    other: Rows = [("other", 0x40, 0, 0x10000, 0x1000)]
    image[0x8000:0x8C00] = table(other)
    path = tmp_path / "flash.bin"
    assert detect_flash(path, bytes(image)).object["reason_code"] == "no_partition"
    found = detect_flash(path, bytes(image), "--partition-table-offset", number).object
    assert found["label"] == "esp_secure_cert"


def test_bytes_behind_a_bare_partition_make_no_flash_image(tmp_path: Path) -> None:
    image = PARTITION.ljust(0x8000, b"\xff") + table(CREDENTIALS)
    found = detect_flash(tmp_path / "flash.bin", image).object
    assert (found["container"], found["layout"]) == ("partition", "cust_flash")


# --- Too large ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="no sparse files by truncation there")
@pytest.mark.parametrize("verb", [("detect",), ("migrate", "--dry-run")], ids=["detect", "migrate"])
def test_too_large(verb: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.touch()
    os.truncate(path, (256 << 20) + 1)
    result = run(*verb, "--json", path)
    assert result.code == 3
    assert result.object["error"]["code"] == "too-large"
    assert "256 MiB" in result.err
