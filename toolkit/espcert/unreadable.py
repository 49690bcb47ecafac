"""What an image that is no known layout may be instead, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final, NamedTuple

from espcert.text import printable
from espcert_formats import nvs, partition_table, registry, tlv
from espcert_formats.flash import SECTOR, is_erased

ENCRYPTED: Final = "encrypted_or_random"
ESP32_ENCRYPTED: Final = "esp32_encrypted"
ENCRYPTED_CODES: Final = (ENCRYPTED, ESP32_ENCRYPTED)
PLAIN_CODES: Final = ("empty", "erased", "truncated")
"""What no key can open: nothing is there, or too little."""

APP_MAGIC: Final = 0xE9
MAX_APP_SEGMENTS: Final = 16
MAX_SPI_MODE: Final = 5
MAX_FLASH_SIZE: Final = 9
SPI_FREQUENCIES: Final = (0, 1, 2, 0xF)
SMALLEST_METADATA: Final = 40

SEARCHED_LENGTH: Final = 0x400000
BLOCK: Final = 16
MIN_RANDOM_LENGTH: Final = 512
RANDOM_SHARE: Final = 0.98
"""Share of the entropy of random bytes from which bytes count as encrypted or random."""
MIN_TWIN_BLOCKS: Final = 4
SMALLEST_FLASH: Final = 0x10000
"""Bytes from which an image may be a whole flash: no partition of this kind is larger."""
JUDGED_LENGTH: Final = 0x100000
"""The first MiB is enough to tell how random bytes are."""


class Reason(NamedTuple):
    """Why an image could not be read: a stable code and a sentence."""

    code: str
    text: str


def reason_for(data: bytes) -> Reason:
    """The first explanation that the bytes support."""
    return (
        _empty_or_erased(data)
        or _known_start(data)
        or _truncated(data)
        or _nvs_without_credentials(data)
        or _displaced(data)
        or _encrypted(data)
        or Reason("unknown", "none of the known layouts: no TLV, cust_flash or NVS magic is there")
    )


def _empty_or_erased(data: bytes) -> Reason | None:
    if not data:
        return Reason("empty", "the file is empty")
    if is_erased(data):
        return Reason("erased", f"erased flash: all {len(data)} bytes are 0xff")
    return None


def _known_start(data: bytes) -> Reason | None:
    if data.startswith(b"-----BEGIN "):
        return Reason("unknown", "a PEM file, not a flash dump")
    if data[:2] == partition_table.ROW_MAGIC:
        return Reason(
            "partition_table", "a partition table (aa 50 at offset 0), not the partition itself"
        )
    if _is_app(data):
        return Reason("app_image", "an app or bootloader image (e9 at offset 0), not a partition")
    return None


def _is_app(data: bytes) -> bool:
    """Whether an image header lies there: ciphertext begins like one once in a million times.

    Source: ESP-IDF 102122904ad, components/bootloader_support, esp_app_format.h
    (esp_image_header_t, esp_image_spi_mode_t, esp_image_spi_freq_t, esp_image_flash_size_t).
    """
    if len(data) < 24 or data[0] != APP_MAGIC or not 0 < data[1] <= MAX_APP_SEGMENTS:
        return False
    frequency, size = data[3] & 0xF, data[3] >> 4
    return data[2] <= MAX_SPI_MODE and size <= MAX_FLASH_SIZE and frequency in SPI_FREQUENCIES


def _truncated(data: bytes) -> Reason | None:
    if len(data) < SMALLEST_METADATA or tlv.MAGIC.startswith(data):
        return Reason(
            "truncated",
            f"only {len(data)} bytes: too short for any layout (the smallest needs "
            f"{SMALLEST_METADATA}); read the whole partition again",
        )
    if nvs.starts(data) and len(data) < 4096:
        return Reason(
            "truncated",
            f"an NVS page cut at {len(data):#x} of 0x1000 bytes, before its namespace entry",
        )
    return None


def _nvs_without_credentials(data: bytes) -> Reason | None:
    if not nvs.has_page(data):
        return None
    names = nvs.namespaces(data)
    if names:
        listed = ", ".join(printable(name) for name in names[:8])
        return Reason(
            "unknown",
            f"an NVS partition without credentials: its namespaces are {listed}, none of "
            "esp_secure_cert, pre_prov or esp_ds_ns",
        )
    if nvs.looks_encrypted(data):
        return Reason(
            ENCRYPTED,
            "an NVS partition whose pages are sound and none of whose entries is: NVS encryption, "
            "or random bytes; --nvs-keys or --nvs-hmac-key gives the key, in a fleet the "
            "manifest's column nvs_keys",
        )
    return Reason("unknown", "an NVS partition without any namespace")


def _displaced(data: bytes) -> Reason | None:
    """A partition further on: the dump was read from the wrong offset."""
    for at in range(SECTOR, min(len(data), SEARCHED_LENGTH), SECTOR):
        if registry.starts(data[at : at + SMALLEST_METADATA]):
            return Reason(
                "unknown",
                f"no known layout begins at offset 0, but one may at {at:#x}: was the dump read "
                "from the wrong offset?",
            )
    return None


def _encrypted(data: bytes) -> Reason | None:
    """Ciphertext or random bytes: all that is used, or where flash has its partition table."""
    used = _used(data)[:JUDGED_LENGTH]
    if _is_random(used):
        return _ciphertext(used, f"{len(used)} bytes are")
    for at in partition_table.USUAL_OFFSETS if len(data) >= SMALLEST_FLASH else ():
        sector = _used(data[at : at + SECTOR])
        if _is_random(sector):
            return _ciphertext(
                sector, f"no partition table, and the bytes at {at:#x} where it may lie are"
            )
    return None


def _ciphertext(used: bytes, found: str) -> Reason:
    name = "flash_encryption_key"
    hint = f"--flash-encryption-key gives the key, in a fleet the manifest's column {name}"
    if _twin_blocks(used) >= MIN_TWIN_BLOCKS:
        return Reason(
            ESP32_ENCRYPTED,
            f"{found} as random as ciphertext, and like ESP32 flash encryption: both halves of "
            f"many 32-byte blocks are the same, as its cipher makes of erased flash; {hint}",
        )
    return Reason(
        ENCRYPTED,
        f"{found} as random as ciphertext: flash encryption or random bytes, which cannot be told "
        f"apart; {hint}",
    )


def _is_random(used: bytes) -> bool:
    length = len(used)
    return length >= MIN_RANDOM_LENGTH and entropy(used) >= RANDOM_SHARE * random_entropy(length)


def _used(data: bytes) -> bytes:
    """The bytes up to the last 16-byte block that is not erased."""
    length = len(data.rstrip(b"\xff"))
    return data[: -(-length // BLOCK) * BLOCK]


def entropy(data: bytes) -> float:
    """Shannon entropy in bits a byte."""
    total = len(data)
    return -sum(n / total * math.log2(n / total) for n in Counter(data).values())


def random_entropy(length: int) -> float:
    """Expected entropy, bits a byte, of `length` random bytes (Miller and Madow's correction)."""
    return 8 - 255 / (2 * length * math.log(2))


def _twin_blocks(data: bytes) -> int:
    """How many 32-byte blocks consist of the same 16 bytes twice; those of one value are fill."""
    starts = range(0, len(data) - 31, 32)
    twins = (at for at in starts if data[at : at + BLOCK] == data[at + BLOCK : at + 32])
    return sum(data[at : at + BLOCK] != data[at : at + 1] * BLOCK for at in twins)
