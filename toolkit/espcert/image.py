"""An image as a partition or as a whole flash image: locate what is to be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from espcert.errors import UnreadableError
from espcert.text import printable, size_text
from espcert_formats import registry
from espcert_formats.flash import SECTOR
from espcert_formats.items import LABEL, LABEL_PRE_PROV

if TYPE_CHECKING:
    from espcert_formats.items import Contents
    from espcert_formats.partition_table import Row, Table

PARTITION: Final = "partition"
FLASH: Final = "flash"
CSV: Final = "csv"
PEM: Final = "pem"
"""Containers: what an IMAGE is, the last two no dump but files that hold the material."""

LABELS: Final = (LABEL.encode(), LABEL_PRE_PROV.encode())
"""Labels under which firmware looks for the credentials, today's first."""

SMALLEST_FLASH: Final = 0x10000
"""Bytes from which an image without a table is searched: no partition of this kind is larger."""


@dataclass(frozen=True, slots=True)
class Image:
    """The bytes of an IMAGE and what holds them.

    `partition` are the bytes of the partition that is meant, and `start` is where they begin in
    `data`; for a bare partition all of it. For a whole flash image `table` is its partition table
    and `row` the partition's, None where there is none; without a readable table it is found by
    its bytes. `name` is the file's name, `-` for standard input, `label` the one that was given.
    `contents` are those of an IMAGE that is no flash dump (CSV, PEM directory), None of others;
    `inputs` are the files that were read for them besides.
    `notes` say in words how the image was read, for its evidence.
    """

    data: bytes = field(repr=False)
    name: str = ""
    label: str | None = None
    table: Table | None = None
    row: Row | None = None
    start: int = 0
    partition: bytes = field(default=b"", repr=False)
    container: str = PARTITION
    contents: Contents | None = None
    notes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def locate(
    data: bytes,
    *,
    name: str = "",
    label: str | None = None,
    table_offset: int | None = None,
) -> Image:
    """Find out whether the bytes are one partition or a whole flash image with a table.

    What begins as a partition is one: a flash image begins with erased flash or a bootloader.
    Raises UnreadableError where a table is said to lie at an offset and none does, and where
    several partitions hold credentials and the label does not tell which is meant.
    """
    bare = Image(data, name, label, partition=data)
    if registry.starts(data):
        return bare
    from espcert_formats import partition_table

    table = partition_table.find(data, table_offset)
    if table is not None:
        return _with_table(bare, table)
    if table_offset is not None:
        raise UnreadableError("no_partition", f"no partition table lies at {table_offset:#x}")
    return _scanned(bare) or bare


def _with_table(bare: Image, table: Table) -> Image:
    row = _chosen(table, bare.data, bare.label)
    start = row.offset if row else 0
    held = bytes_of(row, bare.data) if row else b""
    return Image(bare.data, bare.name, bare.label, table, row, start, held, FLASH)


def bytes_of(row: Row, data: bytes) -> bytes:
    """The bytes of a row's partition, as far as the file holds them."""
    return data[row.offset : row.offset + row.size]


def _chosen(table: Table, data: bytes, label: str | None) -> Row | None:
    """The row that the label names; without one, the only row that holds credentials."""
    if label is not None:
        named = [row for row in table.rows if row.label == os.fsencode(label)]
        return next((row for row in named if layout_of(row, data)), next(iter(named), None))
    known = [row for row in table.rows if layout_of(row, data)]
    todays = [row for row in known if row.label == LABELS[0]]
    if len(known) == 1 or len(todays) == 1:
        return known[0] if len(known) == 1 else todays[0]
    if known:
        listed = "; ".join(_described(row, data) for row in known[:8])
        text = f"{len(known)} partitions hold credentials, --label says which is meant: {listed}"
        raise UnreadableError("several_partitions", text)
    return next((row for name in LABELS for row in table.rows if row.label == name), None)


def layout_of(row: Row, data: bytes) -> str | None:
    """The layout that a row's partition holds, None where it is none of the known ones."""
    found = registry.recognise(bytes_of(row, data), label_of(row))
    return None if found is None else found.layout


def _described(row: Row, data: bytes) -> str:
    where = f"{row.offset:#x} {label_text(row)}, type {row.type:#04x}"
    return f"{where}, {layout_of(row, data) or 'no known layout'}"


def label_of(row: Row) -> str:
    """A row's label as text, as `--label` takes it."""
    return os.fsdecode(row.label)


def label_text(row: Row) -> str:
    """A row's label, safe to print."""
    return printable(row.label.decode("utf-8", "backslashreplace"))


# --- Without a table ---------------------------------------------------------------------------


def _scanned(bare: Image) -> Image | None:
    """The only partition with credentials that begins at a sector, where there is no table."""
    if len(bare.data) < SMALLEST_FLASH:
        return None
    found = list(_partitions(bare.data, bare.label))
    if not found:
        return None
    if len(found) > 1:
        listed = ", ".join(f"{start:#x}" for start, _ in found[:8])
        text = f"no partition table, and credentials at several places: {listed}; cut one out"
        raise UnreadableError("several_partitions", text)
    start, held = found[0]
    return Image(bare.data, bare.name, bare.label, None, None, start, held, FLASH)


def _partitions(data: bytes, label: str | None) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of what begins at a sector and is recognised."""
    behind = 0
    for start in range(SECTOR, len(data), SECTOR):
        if start < behind or not registry.starts(data[start : start + SECTOR]):
            continue
        held = data[start : start + registry.extent(data, start)]
        behind = start + len(held)
        if registry.recognise(held, label) is not None:
            yield start, held


def place_text(image: Image) -> str:
    """Where in a flash image the partition lies, in words; nothing where it lies in none."""
    if image.container != FLASH:
        return ""
    if image.table is None:
        return f"found at {image.start:#x}, without a partition table"
    wrong = ", whose MD5 is wrong" if image.table.md5_ok is False else ""
    table = f"a partition table at {image.table.offset:#x}{wrong}"
    row = image.row
    if row is None:
        return f"a whole flash image with {table}"
    encrypted = ", flagged as encrypted" if row.encrypted else ""
    beyond = row.offset + row.size > len(image.data)
    cut = ", beyond the end of the file" if beyond else ""
    where = f"partition {label_text(row)} at {row.offset:#x}, {size_text(row.size)}"
    return f"{where}{encrypted}{cut}, by {table}"
