"""Whole flash images: the table is found, the partition chosen, and all is told from its start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.runner import FIXED, Result, fixture, run
from tests.cli.test_unreadable_images import Rows, flash, table
from tests.support import fixture_truth, real_image

from espcert import schemas

PARTITION = Path(fixture("cust_flash_rsa")).read_bytes()
TLV = Path(fixture("tlv_ec")).read_bytes()
NVS = Path(fixture("nvs_ec")).read_bytes()
CREDENTIALS: Rows = [
    ("nvs", 1, 2, 0x13000, 0x6000),
    ("esp_secure_cert", 0x3F, 6, 0xD000, 0x6000),
    ("factory", 0, 0, 0x20000, 0x10000),
]
TYPES = {"tlv": 0x3F, "cust_flash": 0x3F, "cust_flash_legacy": 0x3F}
AT = ("--at", "2026-06-01")


def asked(verb: str, path: Path, image: bytes, *options: str) -> Result:
    path.write_bytes(image)
    return run(verb, "--json", *options, path)


def placed(data: bytes, *places: tuple[int, bytes]) -> bytes:
    """An image with bytes put at offsets."""
    image = bytearray(data)
    for offset, held in places:
        image[offset : offset + len(held)] = held
    return bytes(image)


@pytest.mark.parametrize("md5", [True, False], ids=["md5", "no md5"])
@pytest.mark.parametrize("at", [0x8000, 0x9000, 0xC000, 0x10000, 0xB000], ids=hex)
def test_the_partition_of_the_table_is_read(at: int, md5: bool, tmp_path: Path) -> None:
    shifted = [(*row[:3], row[3] + 0x4000, row[4]) for row in CREDENTIALS]
    image = flash(shifted, PARTITION, at=at, md5=md5)
    result = asked("detect", tmp_path / "flash.bin", image)
    assert (result.code, result.err) == (0, "")
    found = result.object
    assert (found["container"], found["layout"]) == ("flash", "cust_flash")
    assert found["label"] == "esp_secure_cert"
    place = {"file_offset": 0x11000, "size": 0x6000, "type": 0x3F, "subtype": 6}
    assert found["partition"] == place | {"encrypted": False}
    assert any(f"table at {at:#x}" in reason for reason in found["evidence"])


@pytest.mark.parametrize("row", fixture_truth(), ids=lambda row: row["file"])
def test_a_partition_says_the_same_bare_and_in_flash(row: dict[str, str], tmp_path: Path) -> None:
    """All but where it lies: items, offsets, findings."""
    bare_path = FIXED.parent / row["file"]
    data = bare_path.read_bytes()
    label = (
        "pre_prov" if row["layout"] in ("cust_flash_legacy", "nvs_esp_ds") else "esp_secure_cert"
    )
    kind = TYPES.get(row["layout"], 1)
    rows: Rows = [(label, kind, 2 if kind == 1 else 6, 0x11000, -(-len(data) // 4096) * 4096)]
    image = placed(flash(rows, b"", at=0x8000), (0x11000, data))
    found = asked("inspect", tmp_path / "flash.bin", image).object
    bare = run("inspect", "--json", "--label", label, bare_path).object
    assert found["items"] == bare["items"]
    assert found["layout"] == bare["layout"]
    if len(data) % 4096 == 0:
        assert found["findings"] == bare["findings"]


def test_verify_reads_flash_images(tmp_path: Path) -> None:
    rows: Rows = [("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000)]
    found = asked("verify", tmp_path / "flash.bin", flash(rows, TLV, at=0xC000), *AT)
    assert found.code == 0
    assert (found.object["container"], found.object["verdict"]) == ("flash", "ok")
    offsets = {finding["offset"] for finding in found.object["findings"]}
    assert max(offset for offset in offsets if offset is not None) < len(TLV)


def test_a_real_table_with_its_partition(tmp_path: Path) -> None:
    image = placed(
        bytes(b"\xff" * 0x20000),
        (0xC000, real_image("cust_flash_legacy/partition-table.bin")),
        (0xD000, real_image("cust_flash_legacy/partition.bin")),
    )
    found = asked("detect", tmp_path / "flash.bin", image).object
    assert (found["layout"], found["label"]) == ("cust_flash_legacy", "pre_prov")
    listed = asked("partitions", tmp_path / "flash.bin", image).object
    assert (listed["table_offset"], listed["md5_ok"]) == (0xC000, True)
    assert "cust_flash_legacy" in {row["layout"] for row in listed["rows"]}


# --- Which partition ---------------------------------------------------------------------------


def test_the_only_one_with_credentials_is_taken_whatever_its_label(tmp_path: Path) -> None:
    rows: Rows = [("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000), ("mine", 0x3F, 6, 0xF000, 0x2000)]
    image = placed(flash(rows, b"", at=0x8000), (0xF000, TLV))
    assert asked("detect", tmp_path / "flash.bin", image).object["label"] == "mine"


def test_todays_label_decides_among_several(tmp_path: Path) -> None:
    rows: Rows = [
        ("pre_prov", 0x3F, 6, 0x9000, 0x2000),
        ("esp_secure_cert", 0x3F, 6, 0xD000, 0x2000),
    ]
    found = asked("detect", tmp_path / "flash.bin", flash(rows, TLV, at=0x8000)).object
    assert found["label"] == "esp_secure_cert"


def test_several_without_todays_label_must_be_told_apart(tmp_path: Path) -> None:
    rows: Rows = [("one", 0x3F, 6, 0x9000, 0x2000), ("two", 0x40, 6, 0xD000, 0x2000)]
    image = placed(flash(rows, b"", at=0x8000), (0x9000, TLV), (0xD000, TLV))
    found = asked("detect", tmp_path / "flash.bin", image)
    assert found.code == 3
    assert found.object["error"]["code"] == "several_partitions"
    for part in ("0x9000 one, type 0x3f, tlv", "0xd000 two, type 0x40, tlv", "--label"):
        assert part in found.err
    chosen = asked("detect", tmp_path / "flash.bin", image, "--label", "two")
    assert chosen.object["partition"]["file_offset"] == 0xD000


def test_a_label_that_no_row_has(tmp_path: Path) -> None:
    image = flash(CREDENTIALS, PARTITION, at=0x8000)
    missing = asked("detect", tmp_path / "flash.bin", image, "--label", "other").object
    assert missing["reason_code"] == "no_partition"
    assert "other" in missing["reason"]


@pytest.mark.parametrize("number", ["0xC000", "49152"])
def test_the_table_offset_can_be_given(number: str, tmp_path: Path) -> None:
    other: Rows = [("other", 0x40, 0, 0x10000, 0x1000)]
    image = placed(flash(CREDENTIALS, PARTITION, at=0xC000), (0x8000, table(other)))
    path = tmp_path / "flash.bin"
    assert asked("detect", path, image).object["reason_code"] == "no_partition"
    found = asked("detect", path, image, "--partition-table-offset", number).object
    assert found["label"] == "esp_secure_cert"


def test_bytes_behind_a_bare_partition_make_no_flash_image(tmp_path: Path) -> None:
    image = PARTITION.ljust(0x8000, b"\xff") + table(CREDENTIALS)
    found = asked("detect", tmp_path / "flash.bin", image).object
    assert (found["container"], found["layout"]) == ("partition", "cust_flash")


def test_a_row_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    rows: Rows = [("esp_secure_cert", 0x3F, 6, 0x400000, 0x2000)]
    found = asked("detect", tmp_path / "flash.bin", flash(rows, b"", at=0x8000)).object
    assert (found["layout"], found["reason_code"]) == (None, "truncated")
    assert "beyond the end of the file" in found["reason"]


# --- What the row contradicts ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "kind", "data", "words"),
    [
        ("pre_prov", 0x3F, TLV, "no tlv image under it"),
        ("esp_secure_cert", 0x01, TLV, "erases this one"),
        ("esp_secure_cert", 0x3F, NVS, "type 0x01"),
    ],
)
def test_a_row_under_which_firmware_does_not_read_it(
    label: str, kind: int, data: bytes, words: str, tmp_path: Path
) -> None:
    rows: Rows = [(label, kind, 2, 0xD000, 0x3000)]
    image = placed(flash(rows, b"", at=0x8000), (0xD000, data))
    found = asked("verify", tmp_path / "flash.bin", image, *AT)
    assert found.code == 1
    (told,) = [f for f in found.object["findings"] if f["code"] == "label-contradiction"]
    assert words in told["message"]


# --- Without a table ---------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0x1000, 0xD000, 0x1B000], ids=hex)
@pytest.mark.parametrize("data", [TLV, PARTITION, NVS], ids=["tlv", "cust_flash", "nvs"])
def test_a_partition_is_found_without_a_table(data: bytes, at: int, tmp_path: Path) -> None:
    whole = bytes(b"\xff" * 0x20000)
    image = placed(whole, (at, data))[: max(0x10000, at + 0x6000)]
    found = asked("inspect", tmp_path / "flash.bin", image)
    assert (found.code, found.object["container"]) == (0, "flash")
    assert found.object["partition"]["file_offset"] == at
    (tmp_path / "bare.bin").write_bytes(data)
    assert found.object["items"] == run("inspect", "--json", tmp_path / "bare.bin").object["items"]
    assert asked("verify", tmp_path / "flash.bin", image, *AT).code == 0


def test_two_without_a_table_must_be_cut_out(tmp_path: Path) -> None:
    image = placed(bytes(b"\xff" * 0x20000), (0x9000, TLV), (0xD000, TLV))
    found = asked("detect", tmp_path / "flash.bin", image)
    assert (found.code, found.object["error"]["code"]) == (3, "several_partitions")


# --- partitions --------------------------------------------------------------------------------


def test_partitions_lists_the_table(tmp_path: Path) -> None:
    image = flash(CREDENTIALS, PARTITION, at=0x8000)
    found = asked("partitions", tmp_path / "flash.bin", image).object
    assert set(found) == {"schema", "file", "table_offset", "md5_ok", "table_encrypted", "rows"}
    assert [row["label"] for row in found["rows"]] == [row[0] for row in CREDENTIALS]
    assert [row["layout"] for row in found["rows"]] == [None, "cust_flash", None]
    assert json.dumps(schemas.load("partitions"))
    shown = run("partitions", tmp_path / "flash.bin").out
    assert "its MD5 is right" in shown
    assert "cust_flash" in shown


def test_partitions_of_a_table_alone_and_of_none(tmp_path: Path) -> None:
    alone = asked("partitions", tmp_path / "table.bin", table(CREDENTIALS)).object
    assert (alone["table_offset"], len(alone["rows"])) == (0, 3)
    none = asked("partitions", tmp_path / "none.bin", TLV)
    assert (none.code, none.object["error"]["code"]) == (3, "no_partition")


def test_a_wrong_md5_is_told(tmp_path: Path) -> None:
    image = bytearray(flash(CREDENTIALS, PARTITION, at=0x8000))
    image[0x8000 + 3 * 32 + 20] ^= 1
    assert asked("partitions", tmp_path / "flash.bin", bytes(image)).object["md5_ok"] is False
    assert "WRONG" in run("partitions", tmp_path / "flash.bin").out


def test_a_hostile_label_reaches_no_terminal(tmp_path: Path) -> None:
    rows: Rows = [("\x1b[31mred", 0x3F, 6, 0xD000, 0x2000)]
    image = placed(flash(rows, b"", at=0x8000), (0xD000, TLV))
    for verb in ("partitions", "detect", "inspect", "verify"):
        (tmp_path / "flash.bin").write_bytes(image)
        assert "\x1b" not in run(verb, tmp_path / "flash.bin").text
