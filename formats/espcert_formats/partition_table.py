"""The partition table of a whole flash image.

The bytes are described in `ksy/esp_partition_table.ksy`. Source: ESP-IDF 102122904ad,
components/partition_table/gen_esp32part.py and components/esp_partition/partition.c.
"""

from __future__ import annotations

import hashlib
import struct
from io import BytesIO
from typing import Final, NamedTuple

from kaitaistruct import KaitaiStream

from espcert_formats._ksy.esp_partition_table import EspPartitionTable
from espcert_formats.flash import SECTOR

ROW_LENGTH: Final = 32
MAX_LENGTH: Final = 0xC00
ROW_MAGIC: Final = b"\xaa\x50"
MD5_MAGIC: Final = b"\xeb\xeb"
USUAL_OFFSETS: Final = (0x8000, 0x9000, 0xC000, 0x10000)
SEARCH_LIMIT: Final = 0x20000

FLAG_ENCRYPTED: Final = 0x01
FLAG_READONLY: Final = 0x02
LABEL_LENGTH: Final = 16


class Row(NamedTuple):
    """A partition: offset and size in bytes of flash, label as raw bytes without its NULs."""

    label: bytes
    type: int
    subtype: int
    offset: int
    size: int
    flags: int

    @property
    def encrypted(self) -> bool:
        """Whether the row asks for flash encryption."""
        return bool(self.flags & FLAG_ENCRYPTED)


class Table(NamedTuple):
    """A partition table; `md5_ok` is None where the table has no MD5 row."""

    offset: int
    rows: tuple[Row, ...]
    md5_ok: bool | None


def search_offsets(size: int, given: int | None = None) -> list[int]:
    """Where a table is looked for, in order, in an image of `size` bytes."""
    if given is not None:
        return [given]
    everywhere = range(SECTOR, min(SEARCH_LIMIT, size), SECTOR)
    return [*USUAL_OFFSETS, *(at for at in everywhere if at not in USUAL_OFFSETS)]


def read(data: bytes, offset: int = 0) -> Table | None:
    """The table at `offset`, or None where no row lies there.

    As the firmware, it ends at the MD5 row or at the first row with another magic. A table
    without MD5 row counts only where all its rows are plausible: inside 4 GiB, sector-aligned.
    """
    raw = data[offset : offset + MAX_LENGTH]
    rows: list[Row] = []
    for at in range(0, len(raw) - ROW_LENGTH + 1, ROW_LENGTH):
        magic = raw[at : at + 2]
        if magic == MD5_MAGIC and rows:
            digest = EspPartitionTable.Md5Row(KaitaiStream(BytesIO(raw[at : at + ROW_LENGTH])))
            matches = hashlib.md5(raw[:at], usedforsecurity=False).digest() == digest.digest
            return Table(offset, tuple(rows), matches)
        if magic != ROW_MAGIC:
            break
        rows.append(_row(raw[at : at + ROW_LENGTH]))
    if not rows or not all(_is_plausible(row) for row in rows):
        return None
    return Table(offset, tuple(rows), None)


def _is_plausible(row: Row) -> bool:
    return row.offset % SECTOR == 0 and row.size > 0 and row.offset + row.size <= 1 << 32


def _row(raw: bytes) -> Row:
    row = EspPartitionTable.Row(KaitaiStream(BytesIO(raw)))
    label = row.label.split(b"\0", 1)[0]
    return Row(label, row.type, row.subtype, row.offset, row.size, row.flags)


def find(data: bytes, given: int | None = None) -> Table | None:
    """The first table of a flash image, looked for at the usual offsets, then at every sector."""
    for offset in search_offsets(len(data), given):
        table = read(data, offset)
        if table is not None:
            return table
    return None


def encode_row(row: Row) -> bytes:
    """The 32 bytes of a row. Source: gen_esp32part.py, PartitionDefinition.STRUCT_FORMAT."""
    place = (row.type, row.subtype, row.offset, row.size)
    label = row.label.ljust(LABEL_LENGTH, b"\0")
    return struct.pack("<2sBBLL16sL", ROW_MAGIC, *place, label, row.flags)


def replace_row(data: bytes, table: Table, old: Row, new: Row) -> bytes:
    """The bytes of a table with one row replaced, and its MD5 made anew where it has one.

    All other bytes are those of `data`, in which the table lies at its offset. A row that does
    not change keeps its bytes. Raises ValueError where the table has no such row.
    """
    number = table.rows.index(old)
    raw = bytearray(data[table.offset : table.offset + MAX_LENGTH])
    if new != old:
        raw[number * ROW_LENGTH : (number + 1) * ROW_LENGTH] = encode_row(new)
    end = len(table.rows) * ROW_LENGTH
    if table.md5_ok:
        raw[end + 16 : end + 32] = hashlib.md5(raw[:end], usedforsecurity=False).digest()
    return bytes(raw)
