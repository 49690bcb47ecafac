"""Checksums as the ESP32's ROM and firmware compute them."""

from __future__ import annotations

import zlib

Buffer = bytes | memoryview


def crc32(data: Buffer) -> int:
    """CRC-32 of `esp_crc32_le(UINT32_MAX, data)`: zlib's with the seed 0xFFFFFFFF.

    Source: esp_secure_cert_mgr 2296511, esp_secure_cert_get_addr; ESP-IDF, Item::calculateCrc32.
    """
    return zlib.crc32(data, 0xFFFFFFFF)


def sha256(data: Buffer) -> str:
    """SHA-256 as lower-case hex."""
    import hashlib  # loads OpenSSL, which telling layouts apart does not need

    return hashlib.sha256(data).hexdigest()
