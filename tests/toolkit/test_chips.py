"""`espcert.chips`: the table says what the sources say, and agrees with itself."""

from __future__ import annotations

import pytest

from espcert.chips import (
    CHIPS,
    DS_RSA_BITS,
    KEY_PURPOSES,
    MAX_EFUSE_KEY_ID,
    SHARED_PURPOSE_BITS,
    Bits,
    Chip,
)

P192_P256 = ("secp192r1", "secp256r1")
P384_TOO = (*P192_P256, "secp384r1")

# ESP-IDF 102122904ad: bits of the largest DS key, HMAC, curves; key blocks, number of BLOCK_KEY0.
CAPS: dict[str, tuple[int, bool, tuple[str, ...], int, int]] = {
    "esp32": (0, False, (), 3, 1),
    "esp32s2": (4096, True, (), 6, 4),
    "esp32s3": (4096, True, (), 6, 4),
    "esp32c2": (0, False, (), 1, 3),
    "esp32c3": (3072, True, (), 6, 4),
    "esp32c5": (3072, True, P384_TOO, 6, 4),
    "esp32c6": (3072, True, (), 6, 4),
    "esp32c61": (0, False, P192_P256, 6, 4),
    "esp32h2": (3072, True, P192_P256, 6, 4),
    "esp32h21": (3072, True, P192_P256, 6, 4),
    "esp32h4": (0, True, P384_TOO, 6, 4),
    "esp32p4": (4096, True, P384_TOO, 6, 4),
    "esp32s31": (4096, True, P384_TOO, 5, 4),
}

# esptool 5.6.0, espefuse/efuse_defs: (word, bit) of KEY_PURPOSE_n, and the width.
FIELDS: dict[str, tuple[list[tuple[int, int]], int]] = {
    **{
        name: ([(2, 24), (2, 28), (3, 0), (3, 4), (3, 8), (3, 12)], 4)
        for name in ("esp32s2", "esp32s3", "esp32c3", "esp32c6", "esp32h2", "esp32h21", "esp32p4")
    },
    "esp32c5": ([(2, 22), (2, 27), (3, 0), (3, 5), (3, 10), (3, 15)], 5),
    "esp32c61": ([(2, 0), (2, 4), (2, 8), (2, 12), (2, 16), (2, 20)], 4),
    "esp32h4": ([(2, 0), (2, 5), (2, 10), (2, 15), (2, 20), (2, 25)], 5),
    "esp32s31": ([(3, 0), (3, 5), (3, 10), (3, 15), (3, 20)], 5),
}

each_chip = pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)


@each_chip
def test_capabilities(chip: Chip) -> None:
    found = (chip.ds_max_bits, chip.hmac, chip.ecdsa_curves, chip.key_blocks, chip.first_key_block)
    assert found == CAPS[chip.name]
    assert set(CHIPS) == set(CAPS)


@each_chip
def test_purpose_fields(chip: Chip) -> None:
    places, width = FIELDS.get(chip.name, ([], 0))
    assert chip.purpose_bits == tuple(Bits(word, bit, width) for word, bit in places)


def test_only_a_p4_has_fifth_bits() -> None:
    assert [chip.name for chip in CHIPS.values() if chip.fifth_bits] == ["esp32p4"]
    places = [(4, 27), (4, 28), (4, 29), (4, 30), (4, 31), (5, 4)]
    assert CHIPS["esp32p4"].fifth_bits == tuple(Bits(word, bit, 1) for word, bit in places)


@each_chip
def test_fields_lie_in_block0_and_do_not_overlap(chip: Chip) -> None:
    fields = [*chip.purpose_bits, *chip.fifth_bits, *chip.read_disable]
    bits = [32 * field.word + field.low + place for field in fields for place in range(field.width)]
    assert len(set(bits)) == len(bits)
    assert all(field.low + field.width <= 32 for field in fields)
    assert max(bits) < 8 * chip.block_lengths[0]


@each_chip
def test_tables_have_a_row_for_every_key_block(chip: Chip) -> None:
    assert len(chip.purpose_bits) in (0, chip.key_blocks)
    assert len(chip.fifth_bits) in (0, chip.key_blocks)
    assert len(chip.read_disable) >= chip.key_blocks
    first = chip.first_key_block
    assert set(chip.block_lengths[first : first + chip.key_blocks]) == {32}


@pytest.mark.parametrize(
    ("name", "length", "offset"),
    [
        ("esp32", 124, 0x1C),
        ("esp32c2", 84, 0x34),
        ("esp32c3", 336, 0x70),
        ("esp32p4", 336, 0x70),
        ("esp32s31", 316, 0x7C),
    ],
)
def test_joint_dumps(name: str, length: int, offset: int) -> None:
    assert (CHIPS[name].dump_length, CHIPS[name].key_offset) == (length, offset)


@each_chip
def test_purposes_are_those_of_the_peripherals(chip: Chip) -> None:
    assert chip.purposes <= set(KEY_PURPOSES)
    assert ({5, 6, 7, 8} <= chip.purposes) == chip.hmac
    assert (1 in chip.purposes) == bool(chip.ecdsa_curves)
    assert ({16, 17, 18} <= chip.purposes) == ("secp384r1" in chip.ecdsa_curves)
    assert bool(chip.purposes) == bool(chip.purpose_bits)


def test_key_purposes() -> None:
    assert sorted(KEY_PURPOSES) == list(range(20))
    assert len(set(KEY_PURPOSES.values())) == len(KEY_PURPOSES)
    wanted = {1: "ECDSA_KEY", 5: "HMAC_DOWN_ALL", 7: "HMAC_DOWN_DIGITAL_SIGNATURE", 8: "HMAC_UP"}
    wanted |= {16: "ECDSA_KEY_P192", 17: "ECDSA_KEY_P384_L", 18: "ECDSA_KEY_P384_H"}
    assert {number: KEY_PURPOSES[number] for number in wanted} == wanted


def test_curve_purposes() -> None:
    own = {name: CHIPS[name].curve_purposes for name in ("esp32c5", "esp32h2", "esp32c61")}
    assert own == {"esp32c5": True, "esp32h2": False, "esp32c61": False}
    assert CHIPS["esp32p4"].curve_purposes is None
    assert CHIPS["esp32p4"].purpose_bits == SHARED_PURPOSE_BITS


@each_chip
def test_ds_ciphertext_length(chip: Chip) -> None:
    wanted = {0: None, 3072: 1200, 4096: 1584}[chip.ds_max_bits]
    assert chip.ds_ciphertext_length == wanted


def test_other_limits() -> None:
    assert max(chip.key_blocks for chip in CHIPS.values()) - 1 == MAX_EFUSE_KEY_ID
    assert max(DS_RSA_BITS) == max(chip.ds_max_bits for chip in CHIPS.values())
