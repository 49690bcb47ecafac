"""Images that are no known layout: exit code 3, why, and what to do instead."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import sys
from pathlib import Path

import pytest
from tests.cli.runner import assert_no_output, run
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
    "random around erased flash": (NOISE * 8 + b"\xff" * 512 + NOISE, "encrypted_or_random"),
    "partition table": (table([("nvs", 1, 2, 0x9000, 0x6000)]), "partition_table"),
    "app": (b"\xe9\x06\x02\x20" + NOISE, "app_image"),
    "nvs of an application": (nvs_without_credentials(), "unknown"),
    "zeros": (bytes(8192), "unknown"),
    "text": (b"-----BEGIN CERTIFICATE-----\n" * 40, "unknown"),
    "flash without the partition": (
        flash([("nvs", 1, 2, 0x9000, 0x6000)], b"", at=0x8000),
        "no_partition",
    ),
    "flash with another partition": (
        flash([("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000)], b"\x11", at=0x8000),
        "unknown",
    ),
    "flash with an erased partition": (
        flash([("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000)], b"", at=0x8000),
        "erased",
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
