"""An image as a partition or as a whole flash image: locate what is to be read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from espcert import decryption
from espcert.decryption import LABELS, Encryption, Held, Reader
from espcert.errors import UnreadableError, UsageError
from espcert.text import printable, size_text
from espcert_formats import registry
from espcert_formats.flash import SECTOR

if TYPE_CHECKING:
    from espcert.flash_encryption import FlashEncryption
    from espcert.nvs_encryption import NvsKeys
    from espcert_formats.items import Contents
    from espcert_formats.partition_table import Row, Table

PARTITION: Final = "partition"
FLASH: Final = "flash"
CSV: Final = "csv"
PEM: Final = "pem"
"""Containers: what an IMAGE is, the last two no dump but files that hold the material."""

SMALLEST_FLASH: Final = 0x10000
"""Bytes from which an image without a table is searched: no partition of this kind is larger."""


@dataclass(frozen=True, slots=True)
class Image:
    """The bytes of an IMAGE and what holds them.

    `data` are the file's own, `partition` is the plain text of the partition that is meant, and
    `start` is where it begins in `data`; for a bare partition all of it. For a whole flash image
    `table` is its partition table and `row` the partition's, None where there is none; without a
    readable table it is found by its bytes. `name` is the file's name, `-` for standard input,
    `label` the one that was given. `contents` are those of an IMAGE that is no flash dump (CSV,
    PEM directory), None of others; `inputs` are the files that were read besides.
    `notes` say in words how the image was read, for its evidence.
    `encryption` tells what is encrypted in `data`, None where no key was given; `unopened` is a
    reason code and a sentence where the keys that were given do not fit.
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
    encryption: Encryption | None = None
    unopened: tuple[str, str] | None = None

    @property
    def address(self) -> int | None:
        """Where in flash the partition lies, None where that is not known."""
        if self.container == FLASH:
            return self.start
        key = self.encryption.flash if self.encryption else None
        return key.address if key else None

    @property
    def table_sector(self) -> bytes:
        """The sector of the partition table in plain text; nothing where there is no table."""
        if self.table is None:
            return b""
        if self.encryption is not None and self.encryption.table_sector is not None:
            return self.encryption.table_sector
        return self.data[self.table.offset : self.table.offset + SECTOR]


def locate(
    data: bytes,
    *,
    name: str = "",
    label: str | None = None,
    table_offset: int | None = None,
    flash_encryption: FlashEncryption | None = None,
    nvs_keys: NvsKeys | None = None,
) -> Image:
    """Find out whether the bytes are one partition or a whole flash image with a table.

    What begins as a partition is one: a flash image begins with erased flash or a bootloader.
    With keys, what is encrypted is read through them; what is plain is read as it is.
    Raises UnreadableError where a table is said to lie at an offset and none does, and where
    several partitions hold credentials and the label does not tell which is meant; UsageError
    where an encrypted image may be a bare partition and its address is not given. The address
    that a key comes with is that of a bare partition, and of no concern in a whole image.
    """
    bare = Image(data, name, label, partition=data)
    reader = Reader(data, flash_encryption, nvs_keys)
    if registry.starts(data):
        return _bare(bare, reader)
    table = reader.table(table_offset)
    if table is not None:
        return _with_table(bare, table, reader)
    if table_offset is not None:
        how = f", as it is or decrypted: {decryption.UNFIT}" if flash_encryption else ""
        text = f"no partition table lies at {table_offset:#x}{how}"
        raise UnreadableError("no_partition", text)
    alone = _scanned(bare, reader) or _bare(bare, reader)
    if alone.unopened is None or len(data) < SMALLEST_FLASH:
        return alone
    hidden = reader.encrypted_table()
    return alone if hidden is None else _with_table(bare, hidden, reader)


def _bare(bare: Image, reader: Reader) -> Image:
    """The image as one partition."""
    if not reader.keyed:
        return bare
    address = None if reader.flash is None else reader.flash.address
    held = reader.opened(bare.data, address)
    unopened = _why_unopened(bare, reader, held, address)
    if unopened and reader.flash and address is None and len(bare.data) < SMALLEST_FLASH:
        raise UsageError(
            "no-address",
            f"{bare.name or 'the image'}: encrypted or random, and no whole flash image: "
            "--flash-address N, in a fleet the manifest's column flash_address, says where in "
            "flash a bare partition lies",
        )
    return _through_keys(bare, reader, held, unopened)


def _with_table(bare: Image, table: Table, reader: Reader) -> Image:
    row = _chosen(table, reader, bare.label)
    start = row.offset if row else 0
    held = reader.row(row, insist=True) if row else Held(b"")
    image = dataclasses.replace(bare, table=table, row=row, start=start, container=FLASH)
    unopened = _why_unopened(bare, reader, held, row.offset) if row else None
    return _through_keys(image, reader, held, unopened)


def _through_keys(
    image: Image, reader: Reader, held: Held, unopened: tuple[str, str] | None
) -> Image:
    """The image with its partition, and what the keys had to do with it."""
    image = dataclasses.replace(image, partition=held.data, unopened=unopened)
    if not reader.keyed:
        return image
    used = Encryption(reader.flash, reader.nvs, reader.table_sector, held.flash, held.nvs)
    image = dataclasses.replace(image, encryption=used)
    return dataclasses.replace(image, notes=tuple(used.notes(image.row, image.address)))


def plain(
    image: Image, flash_encryption: FlashEncryption | None, nvs_keys: NvsKeys | None
) -> Image:
    """An image in which nothing is encrypted, with the keys that were given for it."""
    reader = Reader(image.data, flash_encryption, nvs_keys)
    return _through_keys(image, reader, Held(image.partition), None)


def _why_unopened(
    bare: Image, reader: Reader, held: Held, address: int | None
) -> tuple[str, str] | None:
    """Why the keys opened nothing, None where they did or were not needed."""
    if not reader.keyed or registry.recognise(held.data, bare.label) is not None:
        return None
    return decryption.why_unopened(reader, held.data, address)


def _chosen(table: Table, reader: Reader, label: str | None) -> Row | None:
    """The row that the label names; without one, the only row that holds credentials."""
    if label is not None:
        named = [row for row in table.rows if row.label == os.fsencode(label)]
        return next((row for row in named if layout_of(row, reader)), next(iter(named), None))
    known = [row for row in table.rows if layout_of(row, reader)]
    todays = [row for row in known if row.label == LABELS[0]]
    if len(known) == 1 or len(todays) == 1:
        return known[0] if len(known) == 1 else todays[0]
    if known:
        listed = "; ".join(_described(row, reader) for row in known[:8])
        text = f"{len(known)} partitions hold credentials, --label says which is meant: {listed}"
        raise UnreadableError("several_partitions", text)
    return next((row for name in LABELS for row in table.rows if row.label == name), None)


def layout_of(row: Row, reader: Reader) -> str | None:
    """The layout that a row's partition holds, None where it is none of the known ones."""
    found = registry.recognise(reader.row(row).data, label_of(row))
    return None if found is None else found.layout


def _described(row: Row, reader: Reader) -> str:
    where = f"{row.offset:#x} {label_text(row)}, type {row.type:#04x}"
    return f"{where}, {layout_of(row, reader) or 'no known layout'}"


def label_of(row: Row) -> str:
    """A row's label as text, as `--label` takes it."""
    return os.fsdecode(row.label)


def label_text(row: Row) -> str:
    """A row's label, safe to print."""
    return printable(row.label.decode("utf-8", "backslashreplace"))


# --- Without a table ---------------------------------------------------------------------------


def _scanned(bare: Image, reader: Reader) -> Image | None:
    """The only partition with credentials that begins at a sector, where there is no table."""
    if len(bare.data) < SMALLEST_FLASH:
        return None
    found = list(_partitions(reader, bare.label))
    if not found:
        return None
    if len(found) > 1:
        listed = ", ".join(f"{start:#x}" for start, _ in found[:8])
        text = f"no partition table, and credentials at several places: {listed}; cut one out"
        raise UnreadableError("several_partitions", text)
    start, held = found[0]
    image = dataclasses.replace(bare, start=start, container=FLASH)
    return _through_keys(image, reader, held, None)


def _partitions(reader: Reader, label: str | None) -> Iterator[tuple[int, Held]]:
    """Offset and plain text of what begins at a sector and is recognised."""
    data, behind = reader.data, 0
    for start in range(SECTOR, len(data), SECTOR):
        if start < behind or not registry.starts(data[start : start + SECTOR]):
            continue
        held = reader.opened(data[start : start + registry.extent(data, start)], None)
        behind = start + len(held.data)
        if registry.recognise(held.data, label) is not None:
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
