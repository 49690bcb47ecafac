"""Put a new partition into a whole flash image: its bytes, its row of the table, nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from espcert import image as images
from espcert.errors import InternalError, UsageError
from espcert.image import Image
from espcert_formats import items as kinds
from espcert_formats import partition_table, registry
from espcert_formats.partition_table import Row, Table

CUSTOMARY_SUBTYPE = 0x06
"""What gen_esp32part.py makes of an empty subtype; firmware asks for none."""


@dataclass(frozen=True, slots=True)
class Flashing:
    """A flash image with its new partition: the row before and after, and all bytes."""

    before: Row
    after: Row
    data: bytes = field(repr=False)
    table: bytes = field(repr=False)


def new_row(row: Row, encrypted: bool | None = None) -> Row:
    """The row under which today's firmware finds a TLV partition; place and size are kept.

    The flags are, too, but for `encrypted` where it is given.
    Source: esp_secure_cert_mgr 2296511, esp_secure_cert_map_partition (type 0x3F, the label).
    """
    subtype = row.subtype if row.type == kinds.TYPE_SECURE_CERT else CUSTOMARY_SUBTYPE
    flags = row.flags
    if encrypted is not None:
        flags &= ~partition_table.FLAG_ENCRYPTED
        flags |= partition_table.FLAG_ENCRYPTED if encrypted else 0
    label = kinds.LABEL.encode()
    return row._replace(label=label, type=kinds.TYPE_SECURE_CERT, subtype=subtype, flags=flags)


def place(image: Image, partition: bytes, encrypted: bool | None = None) -> Flashing:
    """The flash image with `partition` in its place, proven against the old one.

    Raises UsageError where the image has no table, or the file ends before the partition does.
    """
    table, row = image.table, image.row
    if table is None or row is None:
        raise UsageError(
            "no-table",
            "no partition table to change; --partition-only --size N writes the partition alone",
        )
    if row.offset + row.size > len(image.data):
        raise UsageError("truncated", "the file ends before the partition; --partition-only helps")
    after = new_row(row, encrypted)
    changed = partition_table.replace_row(image.data, table, row, after)
    data = bytearray(image.data)
    data[table.offset : table.offset + len(changed)] = changed
    data[row.offset : row.offset + row.size] = partition
    result = Flashing(row, after, bytes(data), changed)
    _prove(image, result, table, partition)
    return result


def _prove(image: Image, result: Flashing, table: Table, partition: bytes) -> None:
    """Read the new image back; any difference from what was meant is a bug."""
    found = images.locate(
        result.data, label=os.fsdecode(result.after.label), table_offset=table.offset
    )
    expected = list(table.rows)
    expected[expected.index(result.before)] = result.after
    if found.table is None or found.row != result.after or found.partition != partition:
        raise InternalError("the partition is not found in the flash image that was made")
    if list(found.table.rows) != expected or found.table.md5_ok is not table.md5_ok:
        raise InternalError("the table of the flash image that was made is not the one meant")
    if registry.recognise(found.partition) is None:
        raise InternalError("the partition in the flash image is no TLV partition")
    ours = [
        (table.offset, table.offset + partition_table.MAX_LENGTH),
        (result.before.offset, result.before.offset + result.before.size),
    ]
    at = 0
    for start, stop in sorted(ours):
        if image.data[at:start] != result.data[at:start]:
            raise InternalError("other bytes of the flash image changed")
        at = max(at, stop)
    if image.data[at:] != result.data[at:] or len(image.data) != len(result.data):
        raise InternalError("other bytes of the flash image changed")
