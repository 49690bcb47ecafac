"""Where a new partition goes: alone or into its flash image, in plain text or encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from espcert import encrypted_output, table_faults
from espcert import image as images
from espcert.flashing import Flashing, change, place, table_line
from espcert.image import Image


class Placing(NamedTuple):
    """How a new partition is placed.

    `partition_only` makes of a whole flash image the partition alone, `encrypted` sets or clears
    that flag of its row (None keeps it), `encrypt_output` encrypts what is written.
    """

    partition_only: bool = False
    encrypted: bool | None = None
    encrypt_output: bool = False


def check(image: Image, placing: Placing) -> None:
    """Raise UsageError where it is contradictory or unclear what is to be encrypted."""
    encrypted_output.check(
        image,
        wanted=placing.encrypt_output,
        partition_only=placing.partition_only,
        flag=placing.encrypted,
    )


def flashed(image: Image, output: bytes, placing: Placing) -> Flashing | None:
    """The flash image with the new partition; for the partition alone, where it would be right."""
    if image.container != images.FLASH:
        return None
    if placing.partition_only:
        row = image.row
        fits = row is not None and row.size == len(output) == len(image.partition)
        if not fits or any(table_faults.faults(image)):
            return None
        if image.encryption is not None and image.encryption.of_flash != placing.encrypt_output:
            return change(image, placing.encrypted)
    return place(image, output, placing.encrypted, seal=placing.encrypt_output)


def sealed(image: Image, output: bytes, placing: Placing) -> bytes | None:
    """The partition encrypted for its address, where it is written alone."""
    alone = placing.partition_only or image.container != images.FLASH
    if not alone or not placing.encrypt_output:
        return None
    return encrypted_output.seal(image, output)


def changes(
    image: Image, placing: Placing, flashing: Flashing | None, alone: bytes | None
) -> Iterator[str]:
    """What changes in flash besides the partition's contents: its encryption and its row.

    `alone` is the encrypted partition, where it is written by itself.
    """
    encrypted = alone is not None or (flashing is not None and flashing.partition_sealed)
    yield from encrypted_output.changes(image, wanted=placing.encrypt_output, encrypted=encrypted)
    if flashing and not placing.partition_only and flashing.after != flashing.before:
        yield f"partition table: {table_line(flashing.before)} → {table_line(flashing.after)}"
