"""What is written, as it will lie in encrypted flash."""

from __future__ import annotations

from espcert import image as images
from espcert.errors import InternalError, UsageError
from espcert.flash_encryption import BLOCK, FlashEncryption
from espcert.image import Image


def seal(image: Image, data: bytes, address: int | None = None) -> bytes:
    """Bytes encrypted with the image's flash encryption key for where they will lie in flash.

    `address` is the partition's own where it is not given. Bytes that are no whole blocks of 16
    are filled with 0xFF. The result is decrypted again and compared before it is handed out.
    Raises UsageError where there is no key or the address is not known.
    """
    key = _key(image)
    at = image.address if address is None else address
    if at is None:
        raise UsageError(
            "no-address", "--encrypt-output: --flash-address N says where in flash it will lie"
        )
    whole = data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\xff")
    sealed = key.encrypt(whole, at)
    if key.decrypt(sealed, at) != whole:
        raise InternalError("what was encrypted does not decrypt to what was meant")
    return sealed


def encrypt(image: Image, data: bytes, address: int) -> bytes:
    """Whole blocks of 16 bytes encrypted as `seal` does it, not proven yet."""
    return _key(image).encrypt(data, address)


def _key(image: Image) -> FlashEncryption:
    key = image.encryption.flash if image.encryption else None
    if key is None:
        raise UsageError("no-flash-key", "--encrypt-output: needs --flash-encryption-key FILE")
    return key


def check(image: Image, *, wanted: bool, partition_only: bool, flag: bool | None) -> None:
    """Raise UsageError where it is contradictory or unclear what is to be encrypted.

    `flag` is what the row's flag `encrypted` is changed to, None where it is kept. Firmware reads
    a partition through flash encryption exactly where its row is flagged. Source: ESP-IDF
    102122904ad, components/esp_partition/partition.c, is_partition_encrypted.
    """
    whole = image.container == images.FLASH and not partition_only
    if not wanted:
        if whole and image.encryption is not None and image.encryption.of_flash:
            raise UsageError(
                "encrypted-output",
                "the flash image is encrypted: --encrypt-output encrypts what is written, "
                "--partition-only writes the partition alone, in plain text",
            )
        return
    _key(image)
    if whole and image.encryption is not None and not image.encryption.of_flash:
        raise UsageError(
            "encrypted-output",
            "--encrypt-output: nothing in this flash image is encrypted; with --partition-only "
            "the partition alone is",
        )
    _check_row(image, partition_only=partition_only, flag=flag)


def _check_row(image: Image, *, partition_only: bool, flag: bool | None) -> None:
    row, used = image.row, image.encryption
    if row is None or used is None:
        return
    if used.partition and not row.encrypted and flag is None:
        raise UsageError(
            "encrypted-output",
            "--encrypt-output: the partition is encrypted and its row says it is not: --encrypted "
            "sets the flag, --no-encrypted writes the partition in plain text",
        )
    if partition_only and not (row.encrypted if flag is None else flag):
        raise UsageError(
            "encrypted-output",
            "--encrypt-output: the partition's row is not flagged as encrypted, so firmware reads "
            "it as plain text; --encrypted sets the flag",
        )


def changes(image: Image, *, wanted: bool, encrypted: bool) -> list[str]:
    """What becomes of the source's encryption.

    `wanted` is whether output is to be encrypted, `encrypted` whether the new partition is.
    """
    used = image.encryption
    if used is None:
        return []
    told = ["NVS encryption → none: what is written is not under it"] if used.nvs else []
    if used.of_flash and not wanted:
        told.append("flash encryption → none: what is written is plain text")
    elif used.partition and not encrypted:
        told.append("the partition: flash encryption → none, as its row says now")
    elif encrypted and not used.partition and used.flash is not None:
        told.append(f"the partition: plain text → flash encryption ({used.flash.name})")
    return told
