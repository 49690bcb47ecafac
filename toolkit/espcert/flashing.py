"""Put a new partition into a whole flash image: its bytes, its row of the table, nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from espcert import encrypted_output
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
    """A flash image with its new partition: the row before and after, and all bytes.

    `table` are the bytes of the new table alone. Both are as they will lie in flash, encrypted
    where `sealed`; `data` is empty where the partition is written alone and in plain text, though
    it lies encrypted in the flash image.
    """

    before: Row
    after: Row
    data: bytes = field(repr=False)
    table: bytes = field(repr=False)
    sealed: bool = False

    @property
    def partition_sealed(self) -> bool:
        """Whether the new partition is encrypted: firmware expects it as the row's flag says."""
        return self.sealed and self.after.encrypted


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


def table_line(row: Row) -> str:
    """A row of the partition table as a line of its CSV."""
    flags = [name for bit, name in _FLAG_NAMES.items() if row.flags & bit]
    label = images.label_text(row)
    ending = f" {':'.join(flags)}" if flags else ""
    return f"{label}, {row.type:#x}, {row.subtype:#04x}, {row.offset:#x}, {row.size:#x},{ending}"


_FLAG_NAMES: Final = {
    partition_table.FLAG_ENCRYPTED: "encrypted",
    partition_table.FLAG_READONLY: "readonly",
}


def change(image: Image, encrypted: bool | None = None) -> Flashing:
    """The row and the table as they become, in plain text; no flash image.

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
    changed = partition_table.replace_row(image.table_sector, table._replace(offset=0), row, after)
    return Flashing(row, after, b"", changed)


def place(
    image: Image, partition: bytes, encrypted: bool | None = None, *, seal: bool = False
) -> Flashing:
    """The flash image with `partition` in its place, proven against the old one.

    With `seal`, partition and table are encrypted: the table where it was, the partition where
    its row says so. Raises UsageError as `change` does.
    """
    plain = change(image, encrypted)
    table, row = image.table, plain.before
    assert table is not None
    changed, held = plain.table, partition
    if seal:
        changed = _sealed_table(image, table, plain)
        if plain.after.encrypted:
            held = encrypted_output.encrypt(image, partition, row.offset)
    data = bytearray(image.data)
    data[table.offset : table.offset + len(changed)] = changed
    data[row.offset : row.offset + row.size] = held
    result = Flashing(row, plain.after, bytes(data), changed, seal)
    _prove(image, result, table, partition)
    return result


def _sealed_table(image: Image, table: Table, plain: Flashing) -> bytes:
    """The table as it will lie in flash; one that does not change keeps its bytes."""
    if image.encryption is None or image.encryption.table_sector is None:
        return plain.table
    if plain.after == plain.before:
        return image.data[table.offset : table.offset + len(plain.table)]
    return encrypted_output.encrypt(image, plain.table, table.offset)


def _prove(image: Image, result: Flashing, table: Table, partition: bytes) -> None:
    """Read the new image back; any difference from what was meant is a bug."""
    found = images.locate(
        result.data,
        label=os.fsdecode(result.after.label),
        table_offset=table.offset,
        flash_encryption=image.encryption.flash if image.encryption else None,
    )
    expected = list(table.rows)
    expected[expected.index(result.before)] = result.after
    if found.table is None or found.row != result.after or found.partition != partition:
        raise InternalError("the partition is not found in the flash image that was made")
    if list(found.table.rows) != expected or found.table.md5_ok is not table.md5_ok:
        raise InternalError("the table of the flash image that was made is not the one meant")
    if registry.recognise(found.partition) is None:
        raise InternalError("the partition in the flash image is no TLV partition")
    _prove_encryption(image, found, result)
    _prove_rest(image, result, table)


def _prove_encryption(image: Image, found: Image, result: Flashing) -> None:
    """The table is encrypted exactly where it was, the partition exactly where it should be."""
    before, after = image.encryption, found.encryption
    if before is None or after is None:
        return
    if (before.table_sector is None) is not (after.table_sector is None):
        raise InternalError("the encryption of the partition table changed")
    if after.partition is not result.partition_sealed:
        raise InternalError("the encryption of the partition is not what was meant")


def _prove_rest(image: Image, result: Flashing, table: Table) -> None:
    """All other bytes are those of the old image, ciphertext or not."""
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
