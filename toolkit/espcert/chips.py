"""What each chip can do: one table, data only.

Source: ESP-IDF 102122904ad, components/soc/<chip>/include/soc/soc_caps.h (SOC_DIG_SIGN_SUPPORTED,
SOC_RSA_MAX_BIT_LEN).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from espcert_formats.items import DS_MAX_BITS


class Chip(NamedTuple):
    """A chip: bits of the largest RSA key of its DS peripheral, 0 where it has none."""

    name: str
    ds_max_bits: int

    @property
    def ds_ciphertext_length(self) -> int | None:
        """Bytes of a DS ciphertext that this chip reads, or None."""
        lengths = {bits: length for length, bits in DS_MAX_BITS.items()}
        return lengths.get(self.ds_max_bits)


CHIPS: Final = {
    chip.name: chip
    for chip in (
        Chip("esp32", 0),
        Chip("esp32s2", 4096),
        Chip("esp32s3", 4096),
        Chip("esp32c2", 0),
        Chip("esp32c3", 3072),
        Chip("esp32c5", 3072),
        Chip("esp32c6", 3072),
        Chip("esp32c61", 0),
        Chip("esp32h2", 3072),
        Chip("esp32h21", 3072),
        Chip("esp32h4", 0),
        Chip("esp32p4", 4096),
        Chip("esp32s31", 4096),
    )
}

MAX_EFUSE_KEY_ID: Final = 5
"""BLOCK_KEY0 to BLOCK_KEY5. Source: ESP-IDF, esp_efuse_chip.h, EFUSE_BLK_KEY_MAX."""

DS_RSA_BITS: Final = (1024, 2048, 3072, 4096)
"""RSA key sizes that esp-secure-cert-tool writes for a DS peripheral."""
