"""The partition table: real ones, its limits, hostile rows, and where it is looked for."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import IMAGES, real_image

from espcert_formats import partition_table
from espcert_formats.partition_table import Row, Table

FACTORY = Row(b"factory", 0x00, 0x00, 0x20000, 0x100000, 0)
FIRST_ROWS = {
    "cust_flash": Row(b"esp_secure_cert", 0x3F, 0x06, 0xD000, 0x6000, 0),
    "cust_flash_legacy": Row(b"pre_prov", 0x3F, 0x06, 0xD000, 0x6000, 0),
    "cust_flash_tlv": Row(b"esp_secure_cert", 0x3F, 0x06, 0xD000, 0x2000, 0),
    "nvs": Row(b"esp_secure_cert", 0x01, 0x02, 0xD000, 0x6000, 0),
    "nvs_legacy": Row(b"pre_prov", 0x01, 0x02, 0xD000, 0x6000, 0),
}


def row(
    label: bytes = b"a",
    kind: int = 1,
    subtype: int = 2,
    offset: int = 0x9000,
    size: int = 0x1000,
    flags: int = 0,
) -> bytes:
    """A row, made without the code under test."""
    head = struct.pack("<HBBII", 0x50AA, kind, subtype, offset, size)
    return head + label.ljust(16, b"\0") + struct.pack("<I", flags)


def md5_row(rows: bytes) -> bytes:
    return b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows, usedforsecurity=False).digest()


def table(*rows: bytes, md5: bool = True) -> bytes:
    body = b"".join(rows)
    return (body + (md5_row(body) if md5 else b"")).ljust(0xC00, b"\xff")


def read(data: bytes, offset: int = 0) -> Table:
    found = partition_table.read(data, offset)
    assert found is not None
    return found


# --- Real tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", FIRST_ROWS)
def test_real_tables(folder: str) -> None:
    found = read(real_image(f"{folder}/partition-table.bin"))
    assert found == Table(0, (FIRST_ROWS[folder], FACTORY), True)


def test_no_real_table_is_forgotten() -> None:
    if IMAGES.exists():
        folders = {path.parent.name for path in IMAGES.glob("*/partition-table.bin")}
        assert folders == set(FIRST_ROWS)


def test_a_golden_row() -> None:
    raw = bytes.fromhex(
        "aa50"  # magic
        "3f"  # type: esp_secure_cert
        "06"  # subtype: undefined
        "00d00000"  # offset
        "00600000"  # size
        "7072655f70726f760000000000000000"  # label: pre_prov
        "01000000"  # flags: encrypted
    )
    (found,) = read(raw).rows
    assert found == Row(b"pre_prov", 0x3F, 6, 0xD000, 0x6000, 1)
    assert found.encrypted


# --- MD5 ---------------------------------------------------------------------------------------


def test_md5_matches() -> None:
    assert read(table(row(), row(b"b"))).md5_ok is True


@pytest.mark.parametrize("at", [2, 12, 35, 63, 64 + 16, 64 + 31])
def test_md5_does_not_match(at: int) -> None:
    data = bytearray(table(row(), row(b"b")))
    data[at] ^= 0x01
    assert read(bytes(data)).md5_ok is False


def test_the_md5_rows_filling_is_not_covered() -> None:
    data = bytearray(table(row()))
    data[32 + 2] = 0
    assert read(bytes(data)).md5_ok is True


def test_without_md5() -> None:
    assert read(table(row(), md5=False)).md5_ok is None


def test_the_table_ends_at_the_md5_row() -> None:
    rows = row() + md5_row(row()) + row(b"behind")
    assert [one.label for one in read(rows).rows] == [b"a"]


def test_an_md5_row_alone_is_no_table() -> None:
    assert partition_table.read(md5_row(b"").ljust(0xC00, b"\xff")) is None
    assert partition_table.read(md5_row(b"") + row()) is None


# --- Limits ------------------------------------------------------------------------------------


def test_ninety_five_rows_and_the_md5() -> None:
    rows = [row(b"%d" % number, offset=0x1000 * (number + 1)) for number in range(95)]
    found = read(table(*rows))
    assert len(found.rows) == 95
    assert found.md5_ok is True


def test_nothing_is_read_behind_3072_bytes() -> None:
    data = b"".join(row(offset=0x1000 * number) for number in range(1, 200))
    assert len(read(data).rows) == 96
    assert len(read(bytes(7) + data, 7).rows) == 96


@pytest.mark.parametrize(("cut", "rows"), [(31, 0), (32, 1), (63, 1), (64, 2), (95, 2), (96, 2)])
def test_a_cut_table(cut: int, rows: int) -> None:
    found = partition_table.read(table(row(), row(b"b"))[:cut])
    assert (len(found.rows) if found else 0) == rows


@pytest.mark.parametrize("data", [b"", b"\xaa", b"\xaa\x50", b"\xff" * 0xC00, bytes(0xC00)])
def test_no_table(data: bytes) -> None:
    assert partition_table.read(data) is None


def test_behind_the_image() -> None:
    assert partition_table.read(table(row()), 0x100000) is None


# --- Hostile rows ------------------------------------------------------------------------------

HOSTILE = [row(offset=0x9001), row(offset=0x9800), row(size=0), row(offset=1, size=0)]


@pytest.mark.parametrize("bad", HOSTILE)
def test_implausible_rows_need_an_md5(bad: bytes) -> None:
    assert partition_table.read(table(row(), bad, md5=False)) is None
    assert len(read(table(row(), bad)).rows) == 2


def test_rows_beyond_4_gib_need_an_md5() -> None:
    """A row that ends behind 4 GiB is not plausible, its offset being aligned or not."""
    bad = row(offset=0xFFFFF000, size=0x2000)
    assert len(read(table(row(), bad)).rows) == 2
    assert partition_table.read(table(row(), bad, md5=False)) is None


def test_extreme_numbers() -> None:
    found = read(table(row(b"\xff" * 16, 255, 255, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)))
    assert found.rows == (Row(b"\xff" * 16, 255, 255, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),)


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (b"", b""),
        (b"sixteen_letters_", b"sixteen_letters_"),
        (b"a\0b", b"a"),
        (b"\x1b[2J", b"\x1b[2J"),
        (b"\xc3\xa4\xff", b"\xc3\xa4\xff"),
    ],
)
def test_labels_are_bytes(label: bytes, shown: bytes) -> None:
    assert read(table(row(label))).rows[0].label == shown


def test_equal_and_overlapping_rows_are_kept() -> None:
    assert len(read(table(row(), row(), row(offset=0x8000))).rows) == 3


@pytest.mark.parametrize(("flags", "encrypted"), [(0, False), (1, True), (2, False), (3, True)])
def test_encrypted(flags: int, encrypted: bool) -> None:
    assert read(table(row(flags=flags))).rows[0].encrypted is encrypted


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 64))
def test_any_bytes(parts: list[bytes], offset: int) -> None:
    data = b"".join(b"\xaa\x50" + part for part in parts)
    found = partition_table.read(data, offset)
    assert found is None or len(found.rows) <= 96
    assert partition_table.find(data) == partition_table.find(data)


# --- Where it is looked for --------------------------------------------------------------------


def test_usual_offsets_come_first() -> None:
    order = partition_table.search_offsets(0x400000)
    assert order[:4] == [0x8000, 0x9000, 0xC000, 0x10000]
    assert order[4:7] == [0x1000, 0x2000, 0x3000]
    assert order[-1] == 0x1F000
    assert len(order) == len(set(order)) == 31


def test_given_offset_alone() -> None:
    assert partition_table.search_offsets(0x400000, 0x123) == [0x123]
    data = b"\xff" * 0x8000 + table(row())
    assert partition_table.find(data, 0x9000) is None
    assert partition_table.find(data, 0x8000) == read(data, 0x8000)


@pytest.mark.parametrize("offset", [0x8000, 0x9000, 0xC000, 0x10000, 0x1000, 0x1F000])
def test_found_wherever_it_lies(offset: int) -> None:
    found = partition_table.find((b"\xff" * offset + table(row())).ljust(0x30000, b"\xff"))
    assert found is not None
    assert found.offset == offset


@pytest.mark.parametrize("offset", [0x8800, 0x20000, 0x21000])
def test_not_found_elsewhere(offset: int) -> None:
    assert partition_table.find(b"\xff" * offset + table(row())) is None


def test_the_usual_place_wins() -> None:
    image = bytearray(b"\xff" * 0x20000)
    for offset, name in ((0x1000, b"early"), (0x9000, b"second"), (0x8000, b"first")):
        image[offset : offset + 0xC00] = table(row(name))
    found = partition_table.find(bytes(image))
    assert found is not None
    assert found.rows[0].label == b"first"


def test_a_cut_table_does_not_hide_a_later_one() -> None:
    image = bytearray(b"\xff" * 0x20000)
    image[0x8000:0x8C00] = table(row(size=0), md5=False)
    image[0xC000:0xCC00] = table(row(b"right"))
    found = partition_table.find(bytes(image))
    assert found is not None
    assert found.rows[0].label == b"right"
