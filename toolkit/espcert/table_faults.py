"""What is wrong with a partition table, and what changing one of its rows would break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from espcert import image as images
from espcert.flashing import new_row
from espcert.image import Image
from espcert_formats import partition_table
from espcert_formats.flash import SECTOR, first_written
from espcert_formats.partition_table import Row, Table

Fault = tuple[str, str]
"""A finding's code, and what was found in words."""

_MAX_NAMED: Final = 8


def faults(image: Image) -> Iterator[Fault]:
    """What is wrong with the table of a flash image, and with its row for the credentials."""
    table = image.table
    if table is None:
        return
    if table.md5_ok is False:
        yield "table-md5", f"the MD5 row of the table at {table.offset:#x} does not match"
    yield from _rows(table)
    yield from _overlaps(table)
    if image.row is not None:
        yield from _doubles(table, image.row)
    stray = first_written(image.table_sector, _covered(table))
    if stray is not None:
        at = f"{table.offset + stray:#x}"
        message = f"data at {at}, behind the rows of the table at {table.offset:#x}"
        yield "table-signed", f"{message}, expected erased flash up to the sector's end"


def _covered(table: Table) -> int:
    """Bytes of the rows and of the MD5 row."""
    rows = len(table.rows) + (table.md5_ok is not None)
    return rows * partition_table.ROW_LENGTH


def _rows(table: Table) -> Iterator[Fault]:
    odd = [row for row in table.rows if row.offset % SECTOR or not row.size]
    for row in odd[:_MAX_NAMED]:
        text = f"{_named(row)}: offset {row.offset:#x}, size {row.size:#x}"
        yield "table-row", f"{text}, expected whole sectors of 0x1000 bytes"


def _overlaps(table: Table) -> Iterator[Fault]:
    """Each row that begins before the one before it ends, and the table's own sector."""
    own = Row(b"partition table", 0, 0, table.offset, SECTOR, 0)
    rows = sorted((own, *table.rows), key=lambda row: row.offset)
    told, last = 0, rows[0]
    for row in rows[1:]:
        if row.offset < last.offset + last.size and told < _MAX_NAMED:
            text = f"{_named(row)} begins at {row.offset:#x}, where {_named(last)} has not ended"
            yield "table-overlap", f"{text} (it does at {last.offset + last.size:#x})"
            told += 1
        last = max(last, row, key=lambda one: one.offset + one.size)


def _doubles(table: Table, row: Row) -> Iterator[Fault]:
    """Other rows that firmware would find under the new label and type."""
    wanted = new_row(row)
    own = table.rows.index(row)
    for number, other in enumerate(table.rows):
        if number != own and (other.label, other.type) == (wanted.label, wanted.type):
            text = (
                f"{_named(other)} at {other.offset:#x} has the label and type under which firmware"
            )
            yield "table-duplicate", f"{text} looks for the partition at {row.offset:#x}"
            return


def _named(row: Row) -> str:
    return f'"{images.label_text(row)}"'
