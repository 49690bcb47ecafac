"""The partition table of a whole flash image, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from espcert import files
from espcert import image as images
from espcert.errors import UnreadableError
from espcert.opening import AS_IT_IS, Opening
from espcert_formats import partition_table
from espcert_formats.partition_table import Table


@dataclass(frozen=True, slots=True)
class FlashTable:
    """A table, and the flash image that it was found in."""

    table: Table
    data: bytes = field(repr=False)


def open_table(name: str, given: Opening = AS_IT_IS) -> FlashTable:
    """Read an image file and find its partition table.

    A file that is a table by itself, as gen_esp32part.py writes it, counts as one at offset 0.
    Raises UnreadableError where there is none, and as `files.read_image` does.
    """
    data, offset = files.read_image(name), given.table_offset
    if offset is None and data[:2] == partition_table.ROW_MAGIC:
        offset = 0
    table = partition_table.find(data, offset)
    if table is None:
        where = "where one is looked for" if offset is None else f"at {offset:#x}"
        raise UnreadableError("no_partition", f"no partition table {where}")
    return FlashTable(table, data)


def to_json(found: FlashTable, label: str | None = None) -> dict[str, Any]:
    """The object of `espcert partitions --json`, without `schema` and `file`.

    With a label only the rows that have it.
    """
    return {
        "table_offset": found.table.offset,
        "md5_ok": found.table.md5_ok,
        "rows": [
            {
                "label": images.label_text(row),
                "type": row.type,
                "subtype": row.subtype,
                "offset": row.offset,
                "size": row.size,
                "flags": row.flags,
                "layout": images.layout_of(row, found.data),
            }
            for row in found.table.rows
            if label in (None, images.label_of(row))
        ],
    }
