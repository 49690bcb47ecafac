"""The partition table of a whole flash image, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from espcert import files, unreadable
from espcert import image as images
from espcert.decryption import UNFIT, Reader
from espcert.errors import UnreadableError
from espcert.opening import AS_IT_IS, Opening
from espcert_formats import partition_table
from espcert_formats.partition_table import Table


@dataclass(frozen=True, slots=True)
class FlashTable:
    """A table, and the flash image that it was found in, read through the keys for it."""

    table: Table
    reader: Reader = field(repr=False)


def open_table(name: str, given: Opening = AS_IT_IS) -> FlashTable:
    """Read an image file and find its partition table.

    A file that is a table by itself, as gen_esp32part.py writes it, counts as one at offset 0.
    Raises UnreadableError where there is none, and as `files.read_image` does.
    """
    data, offset = files.read_image(name), given.table_offset
    if offset is None and data[:2] == partition_table.ROW_MAGIC:
        offset = 0
    reader = Reader(data, given.flash_encryption, given.nvs_keys)
    table = reader.table(offset)
    if table is None:
        where = "where one is looked for" if offset is None else f"at {offset:#x}"
        why = unreadable.reason_for(data)
        if not reader.flash and why.code in unreadable.ENCRYPTED_CODES:
            raise UnreadableError(why.code, f"no partition table {where}: {why.text}")
        how = f", as it is or decrypted: {UNFIT}" if reader.flash else ""
        raise UnreadableError("no_partition", f"no partition table {where}{how}")
    return FlashTable(table, reader)


def to_json(found: FlashTable, label: str | None = None) -> dict[str, Any]:
    """The object of `espcert partitions --json`, without `schema` and `file`.

    With a label only the rows that have it.
    """
    return {
        "table_offset": found.table.offset,
        "md5_ok": found.table.md5_ok,
        "table_encrypted": found.reader.table_sector is not None,
        "rows": [
            {
                "label": images.label_text(row),
                "type": row.type,
                "subtype": row.subtype,
                "offset": row.offset,
                "size": row.size,
                "flags": row.flags,
                "layout": images.layout_of(row, found.reader),
            }
            for row in found.table.rows
            if label in (None, images.label_of(row))
        ],
    }
