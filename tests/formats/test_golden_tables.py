"""Partition tables of ESP-IDF's gen_esp32part.py: read, and a row replaced, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import FIXTURES, IMAGES, real_image

from espcert import flash_plan, flashing
from espcert_formats import partition_table
from espcert_formats.partition_table import Row

FOLDER = FIXTURES / "tables"
PAIRS = sorted(path.name.removesuffix(".before.bin") for path in FOLDER.glob("*.before.bin"))
REAL = ("cust_flash", "cust_flash_legacy", "cust_flash_tlv", "nvs", "nvs_legacy")
NUMBERS = {"app": 0, "data": 1, "factory": 0, "ota": 0, "phy": 1, "nvs": 2, "spiffs": 0x82,
           "nvs_keys": 4, "": 6}  # fmt: skip
FLAGS = {"encrypted": 1, "readonly": 2}


def number(text: str) -> int:
    return NUMBERS[text] if text in NUMBERS else int(text, 0)


def size_of(text: str) -> int:
    unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 0)
    return int(text[:-1], 0) * unit if unit else int(text, 0)


def rows_of(csv: str) -> list[Row]:
    """The rows of a CSV that names every offset, read without the code under test."""
    rows = []
    for line in csv.splitlines():
        fields = [field.strip() for field in line.split("#")[0].split(",")]
        if len(fields) < 5:
            continue
        flags = sum(FLAGS[name] for name in (*fields[5:], "")[0].split(":") if name)
        place = (number(fields[1]), number(fields[2]), int(fields[3] or "0", 0))
        rows.append(Row(fields[0].encode(), *place, size_of(fields[4]), flags))
    return rows


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", PAIRS)
def test_golden_tables_are_read(name: str, when: str) -> None:
    found = partition_table.read((FOLDER / f"{name}.{when}.bin").read_bytes())
    assert found is not None
    assert found.md5_ok is True
    assert list(found.rows) == rows_of((FOLDER / f"{name}.{when}.csv").read_text("utf-8"))


@pytest.mark.parametrize("name", PAIRS)
def test_a_row_is_replaced_as_the_tool_would_have_written_it(name: str) -> None:
    before, after = ((FOLDER / f"{name}.{when}.bin").read_bytes() for when in ("before", "after"))
    found = partition_table.read(before)
    assert found is not None
    (old,) = [row for row in found.rows if row.label in (b"pre_prov", b"esp_secure_cert")]
    new = flashing.new_row(old)
    assert partition_table.replace_row(before, found, old, new) == after
    assert partition_table.encode_row(new) in after


@pytest.mark.parametrize("name", PAIRS)
def test_our_csv_says_the_same(name: str) -> None:
    table = partition_table.read((FOLDER / f"{name}.after.bin").read_bytes())
    csv = (FOLDER / f"{name}.after.csv").read_text("utf-8")
    assert table is not None
    assert rows_of(flash_plan.rows_csv(table.rows)) == rows_of(csv)


@pytest.mark.parametrize("name", REAL)
def test_real_tables_say_what_their_csv_says(name: str) -> None:
    """But for cust_flash_tlv, whose binary lacks the flag `encrypted` of its CSV."""
    data = real_image(f"{name}/partition-table.bin")
    found = partition_table.read(data)
    assert found is not None
    wanted = rows_of((IMAGES / name / "partitions.csv").read_text("utf-8"))
    assert len(found.rows) == len(wanted)
    for row, listed in zip(found.rows, wanted, strict=True):
        assert (row.label, row.type, row.subtype) == (listed.label, listed.type, listed.subtype)
        assert row.size == listed.size
        assert row.offset == listed.offset or not listed.offset
        assert row.flags == listed.flags or name == "cust_flash_tlv"
        assert partition_table.encode_row(row) in data


def test_there_are_tables_at_both_usual_offsets() -> None:
    assert {name.rpartition("_")[2] for name in PAIRS} == {"8000", "c000"}
    assert len(PAIRS) == len(list(Path(FOLDER).glob("*.after.bin"))) >= 8
