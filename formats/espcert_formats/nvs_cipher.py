"""Where NVS encryption lies in a partition: the entries, one by one, and nothing else.

Page headers, entry states and entries that were purged with zeros are never encrypted. Source:
ESP-IDF 102122904ad, components/nvs_flash/src, nvs_encrypted_partition.cpp and nvs_page.cpp
(read_raw, write_raw).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from espcert_formats import nvs_log
from espcert_formats.nvs_log import ENTRY_SIZE, PAGE_SIZE

EntryCipher = Callable[[bytes, int, int], bytes]
"""32 bytes of an entry, the number of its page in the partition, its slot; 32 other bytes."""

_PURGED: Final = bytes(ENTRY_SIZE)


def encrypted_slots(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Offset, page number and slot of each whole entry that a bitmap calls written."""
    for offset in nvs_log.page_offsets(data):
        if nvs_log.page_header(data, offset) is None:
            continue
        for slot in nvs_log.written_slots(data, offset):
            at = offset + nvs_log.ENTRIES_OFFSET + slot * ENTRY_SIZE
            entry = data[at : at + ENTRY_SIZE]
            if len(entry) == ENTRY_SIZE and entry != _PURGED:
                yield at, offset // PAGE_SIZE, slot


def decrypted(data: bytes, decrypt: EntryCipher) -> bytes:
    """The partition with each of these entries decrypted."""
    result = bytearray(data)
    for at, page, slot in encrypted_slots(data):
        result[at : at + ENTRY_SIZE] = decrypt(data[at : at + ENTRY_SIZE], page, slot)
    return bytes(result)
