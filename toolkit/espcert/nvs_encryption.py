"""NVS encryption: its keys, and the entries that they open.

Sources: ESP-IDF 102122904ad, components/nvs_flash/src/nvs_api.cpp (nvs_flash_read_security_cfg)
and components/nvs_sec_provider/include/private/nvs_sec_provider_private.h (HMAC scheme).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from espcert.errors import UnreadableError, UsageError
from espcert.files import STDIN, read_image
from espcert_formats import nvs, nvs_cipher
from espcert_formats.checksum import crc32

HALF_LENGTH: Final = 32
KEY_LENGTH: Final = 2 * HALF_LENGTH
STORED_LENGTH: Final = KEY_LENGTH + 4
"""Bytes of a keys partition that are used: two keys and a CRC-32."""
MAX_KEYS_FILE_SIZE: Final = 0x10000

_DATA_SEED: Final = bytes.fromhex("5a5abeae") * 8
_TWEAK_SEED: Final = bytes.fromhex("a5a5dece") * 8


@dataclass(frozen=True, slots=True)
class NvsKeys:
    """The two keys of NVS encryption, 32 bytes each, that of the data first.

    Raises UsageError where they are the same: AES-XTS has no such key.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_LENGTH or self.key[:HALF_LENGTH] == self.key[HALF_LENGTH:]:
            raise UsageError("bad-nvs-keys", "the NVS keys are not two different ones of 32 bytes")

    def decrypt(self, data: bytes) -> bytes:
        """The partition with the entries decrypted that its bitmaps call written."""
        from esp_idf_nvs_partition_gen.nvs_partition_gen import decrypt_data

        def decrypt_entry(entry: bytes, page: int, slot: int) -> bytes:
            return bytes(decrypt_data(entry, self.key, page, slot, len(entry)))

        return nvs_cipher.decrypted(data, decrypt_entry)


def is_encrypted(data: bytes) -> bool:
    """Whether a partition looks as NVS encryption leaves one: sound pages, no sound entry."""
    return nvs.has_page(data) and nvs.looks_encrypted(data)


def load_keys(name: str) -> NvsKeys:
    """The keys in the dump of a keys partition (`data`, `nvs_keys`).

    Raises UsageError for what is none, FileError where reading fails.
    """
    if name == STDIN:
        raise UsageError("bad-nvs-keys", "--nvs-keys -: keys are read from a file")
    try:
        data = read_image(name, MAX_KEYS_FILE_SIZE)
    except UnreadableError:
        raise _bad_keys(name, f"over {MAX_KEYS_FILE_SIZE} bytes") from None
    if len(data) < STORED_LENGTH:
        raise _bad_keys(name, f"{len(data)} bytes")
    if crc32(data[:KEY_LENGTH]) != int.from_bytes(data[KEY_LENGTH:STORED_LENGTH], "little"):
        raise _bad_keys(name, "a CRC-32 that does not match (is the dump flash-encrypted itself?)")
    return NvsKeys(data[:KEY_LENGTH])


def _bad_keys(name: str, found: str) -> UsageError:
    return UsageError(
        "bad-nvs-keys",
        f"{name}: {found}, expected a keys partition: two keys of 32 bytes and their CRC-32",
    )


def load_hmac_key(name: str) -> NvsKeys:
    """The keys that the HMAC scheme derives from a key file of 32 bytes, raw or hex.

    Raises UsageError for what is none, FileError where reading fails.
    """
    from espcert import keys

    if name == STDIN:
        raise UsageError("bad-nvs-keys", "--nvs-hmac-key -: a key is read from a file")
    key = keys.load_hmac_key(name)
    return NvsKeys(b"".join(hmac.digest(key, seed, "sha256") for seed in (_DATA_SEED, _TWEAK_SEED)))
