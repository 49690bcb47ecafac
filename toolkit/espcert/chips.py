"""What each chip can do and where its eFuses hold keys: one table, data only.

Sources, ESP-IDF 102122904ad and esptool 5.6.0:
- peripherals: components/soc/<chip>/include/soc/soc_caps.h (SOC_DIG_SIGN_SUPPORTED,
  SOC_RSA_MAX_BIT_LEN, SOC_HMAC_SUPPORTED, SOC_ECDSA_SUPPORTED, SOC_ECDSA_SUPPORT_CURVE_P384);
- key blocks: components/efuse/<chip>/include/esp_efuse_chip.h (EFUSE_BLK_KEY0,
  EFUSE_BLK_KEY_MAX) and espefuse/efuse/<chip>/mem_definition.py (EfuseDefineBlocks);
- fields of BLOCK0: espefuse/efuse_defs/<chip>.yaml (KEY_PURPOSE_n, RD_DIS);
- blocks that are not for ECDSA: soc_caps.h (SOC_EFUSE_BLOCK9_KEY_PURPOSE_QUIRK) and
  espefuse/efuse/<chip>/fields.py (EfuseKeyPurposeField.save).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from espcert_formats.items import DS_MAX_BITS


class Bits(NamedTuple):
    """A field of a block: `width` bits of a 32-bit word, from bit `low` on."""

    word: int
    low: int
    width: int


_READ_DISABLE: Final = tuple(Bits(1, number, 1) for number in range(6))


class Chip(NamedTuple):
    """A chip's peripherals for keys, and its eFuse blocks.

    `ds_max_bits` are the bits of the largest RSA key of its DS peripheral, 0 where it has none;
    `ecdsa_curves` the library's names of the curves of its ECDSA peripheral, () where it has none.
    `block_lengths` are the bytes of BLOCK0, BLOCK1 and so on, in which BLOCK_KEY0 is number
    `first_key_block`. In BLOCK0, by key number: `purpose_bits` (KEY_PURPOSE_n; () where the chip
    has no such field) and `read_disable` (not 0: the block cannot be read).
    `purposes` are the numbers of KEY_PURPOSES that the chip knows; `not_for_ecdsa` are numbers of
    key blocks that cannot hold a key for the ECDSA peripheral.

    A chip whose KEY_PURPOSE_n grew from 4 to 5 bits in revision 3.0 has the fifth in `fifth_bits`;
    `major_revision`, low part first, lies in BLOCK1. Before 3.0 those bits mean something else.
    """

    name: str
    ds_max_bits: int
    hmac: bool = False
    ecdsa_curves: tuple[str, ...] = ()
    purposes: frozenset[int] = frozenset()
    not_for_ecdsa: frozenset[int] = frozenset()
    purpose_bits: tuple[Bits, ...] = ()
    key_blocks: int = 6
    first_key_block: int = 4
    block_lengths: tuple[int, ...] = (24, 24, *[32] * 9)
    read_disable: tuple[Bits, ...] = _READ_DISABLE
    fifth_bits: tuple[Bits, ...] = ()
    major_revision: tuple[Bits, ...] = ()

    @property
    def ds_ciphertext_length(self) -> int | None:
        """Bytes of a DS ciphertext that this chip reads, or None."""
        lengths = {bits: length for length, bits in DS_MAX_BITS.items()}
        return lengths.get(self.ds_max_bits)

    @property
    def dump_length(self) -> int:
        """Bytes of all blocks, as in a joint dump."""
        return sum(self.block_lengths)

    @property
    def key_offset(self) -> int:
        """Where BLOCK_KEY0 begins in a joint dump."""
        return sum(self.block_lengths[: self.first_key_block])

    @property
    def curve_purposes(self) -> bool | None:
        """Whether each curve has its own key purpose; None where the revision decides.

        Source: ESP-IDF, psa_crypto_driver_esp_ecdsa.c, esp_ecdsa_validate_efuse_block.
        """
        return None if self.fifth_bits else 16 in self.purposes


KEY_PURPOSES: Final = {
    0: "USER",
    1: "ECDSA_KEY",
    2: "XTS_AES_256_KEY_1",
    3: "XTS_AES_256_KEY_2",
    4: "XTS_AES_128_KEY",
    5: "HMAC_DOWN_ALL",
    6: "HMAC_DOWN_JTAG",
    7: "HMAC_DOWN_DIGITAL_SIGNATURE",
    8: "HMAC_UP",
    9: "SECURE_BOOT_DIGEST0",
    10: "SECURE_BOOT_DIGEST1",
    11: "SECURE_BOOT_DIGEST2",
    12: "KM_INIT_KEY",
    13: "XTS_AES_256_PSRAM_KEY_1",
    14: "XTS_AES_256_PSRAM_KEY_2",
    15: "XTS_AES_128_PSRAM_KEY",
    16: "ECDSA_KEY_P192",
    17: "ECDSA_KEY_P384_L",
    18: "ECDSA_KEY_P384_H",
    19: "SDC_KEY_DIGEST",
}
"""Key purposes by number. 1 is for P-256 only where the chip has purposes for other curves.

Source: ESP-IDF, esp_efuse_chip.h, esp_efuse_purpose_t; esptool, espefuse/efuse/<chip>/fields.py.
"""

_P192_P256: Final = ("secp192r1", "secp256r1")
_P192_P256_P384: Final = (*_P192_P256, "secp384r1")

_HMAC_AND_BOOT: Final = range(4, 12)
_S2_S3: Final = frozenset({0, 2, 3, *_HMAC_AND_BOOT})
_C3_C6: Final = frozenset({0, *_HMAC_AND_BOOT})
_H2_H21: Final = frozenset({0, 1, *_HMAC_AND_BOOT})
_C5: Final = frozenset({0, 1, *range(4, 13), *range(15, 19)})
_C61: Final = frozenset({0, 1, 4, 9, 10, 11})
_H4_P4: Final = frozenset(range(19))
_S31: Final = frozenset(range(20))

SHARED_PURPOSE_BITS: Final = (
    Bits(2, 24, 4),
    Bits(2, 28, 4),
    *[Bits(3, 4 * place, 4) for place in range(4)],
)
"""KEY_PURPOSE_0 to 5 of S2, S3, C3, C6, H2, H21, and of P4 before revision 3.0."""

_C5_BITS: Final = (Bits(2, 22, 5), Bits(2, 27, 5), *[Bits(3, 5 * place, 5) for place in range(4)])

CHIPS: Final = {
    chip.name: chip
    for chip in (
        Chip(
            "esp32",
            0,
            key_blocks=3,
            first_key_block=1,
            block_lengths=(28, 32, 32, 32),
            read_disable=tuple(Bits(0, 16 + number, 1) for number in range(3)),
        ),
        Chip("esp32s2", 4096, hmac=True, purposes=_S2_S3, purpose_bits=SHARED_PURPOSE_BITS),
        Chip("esp32s3", 4096, hmac=True, purposes=_S2_S3, purpose_bits=SHARED_PURPOSE_BITS),
        Chip(
            "esp32c2",
            0,
            key_blocks=1,
            first_key_block=3,
            block_lengths=(8, 12, 32, 32),
            read_disable=(Bits(1, 0, 2),),
        ),
        Chip("esp32c3", 3072, hmac=True, purposes=_C3_C6, purpose_bits=SHARED_PURPOSE_BITS),
        Chip(
            "esp32c5",
            3072,
            hmac=True,
            ecdsa_curves=_P192_P256_P384,
            purposes=_C5,
            purpose_bits=_C5_BITS,
        ),
        Chip("esp32c6", 3072, hmac=True, purposes=_C3_C6, purpose_bits=SHARED_PURPOSE_BITS),
        Chip(
            "esp32c61",
            0,
            ecdsa_curves=_P192_P256,
            purposes=_C61,
            purpose_bits=tuple(Bits(2, 4 * number, 4) for number in range(6)),
        ),
        Chip(
            "esp32h2",
            3072,
            hmac=True,
            ecdsa_curves=_P192_P256,
            purposes=_H2_H21,
            not_for_ecdsa=frozenset({5}),
            purpose_bits=SHARED_PURPOSE_BITS,
        ),
        Chip(
            "esp32h21",
            3072,
            hmac=True,
            ecdsa_curves=_P192_P256,
            purposes=_H2_H21,
            purpose_bits=SHARED_PURPOSE_BITS,
        ),
        Chip(
            "esp32h4",
            0,
            hmac=True,
            ecdsa_curves=_P192_P256_P384,
            purposes=_H4_P4,
            purpose_bits=tuple(Bits(2, 5 * number, 5) for number in range(6)),
        ),
        Chip(
            "esp32p4",
            4096,
            hmac=True,
            ecdsa_curves=_P192_P256_P384,
            purposes=_H4_P4,
            purpose_bits=SHARED_PURPOSE_BITS,
            fifth_bits=(*[Bits(4, 27 + number, 1) for number in range(5)], Bits(5, 4, 1)),
            major_revision=(Bits(2, 4, 2), Bits(2, 23, 1)),
        ),
        Chip(
            "esp32s31",
            4096,
            hmac=True,
            ecdsa_curves=_P192_P256_P384,
            purposes=_S31,
            purpose_bits=tuple(Bits(3, 5 * number, 5) for number in range(5)),
            key_blocks=5,
            block_lengths=(36, 24, *[32] * 8),
        ),
    )
}

MAX_EFUSE_KEY_ID: Final = 5
"""BLOCK_KEY0 to BLOCK_KEY5. Source: ESP-IDF, esp_efuse_chip.h, EFUSE_BLK_KEY_MAX."""

DS_RSA_BITS: Final = (1024, 2048, 3072, 4096)
"""RSA key sizes that esp-secure-cert-tool writes for a DS peripheral."""
