"""An image as a partition or as a whole flash image: locate what is to be read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from espcert.errors import UnreadableError
from espcert.text import printable
from espcert_formats import registry
from espcert_formats.flash import SECTOR
from espcert_formats.items import LABEL, LABEL_PRE_PROV

if TYPE_CHECKING:
    from espcert_formats.partition_table import Row, Table

PARTITION: Final = "partition"
FLASH: Final = "flash"

LABELS: Final = (LABEL.encode(), LABEL_PRE_PROV.encode())
"""Labels under which firmware looks for the credentials, today's first."""


@dataclass(frozen=True, slots=True)
class Image:
    """The bytes of an IMAGE and what holds them.

    For a whole flash image `table` is its partition table and `row` the partition that is meant,
    None where there is none. `name` is the file's name, `-` for standard input.
    """

    data: bytes = field(repr=False)
    name: str = ""
    label: str | None = None
    table: Table | None = None
    row: Row | None = None

    @property
    def container(self) -> str:
        """`partition` or `flash`."""
        return PARTITION if self.table is None else FLASH


def locate(
    data: bytes,
    *,
    name: str = "",
    label: str | None = None,
    table_offset: int | None = None,
) -> Image:
    """Find out whether the bytes are one partition or a whole flash image with a table.

    What begins as a partition is one: a flash image begins with erased flash or a bootloader.
    Raises UnreadableError where a table is said to lie at an offset and none does.
    """
    if not registry.starts(data):
        from espcert_formats import partition_table

        table = partition_table.find(data, table_offset)
        if table is not None:
            return Image(data, name, label, table, _row(table, label))
        if table_offset is not None:
            raise UnreadableError("no_partition", f"no partition table lies at {table_offset:#x}")
    return Image(data, name, label)


def _row(table: Table, label: str | None) -> Row | None:
    wanted = LABELS if label is None else (os.fsencode(label),)
    for name in wanted:
        for row in table.rows:
            if row.label == name:
                return row
    return None


def label_text(row: Row) -> str:
    """A row's label, safe to print."""
    return printable(row.label.decode("utf-8", "backslashreplace"))


def cut_command(image: Image, row: Row) -> str:
    """A command that cuts a partition out of a flash image."""
    import shlex

    source = shlex.quote("/dev/stdin" if image.name == "-" else image.name)
    target = shlex.quote(f"{label_text(row).replace('/', '_')}.bin")
    first, count = row.offset // SECTOR, -(-row.size // SECTOR)
    return f"dd if={source} of={target} bs=4096 skip={first} count={count}"
