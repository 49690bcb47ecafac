"""`espcert.keys`: which key is taken, and what the eFuse dump says against it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fixtures.make_efuse import EFUSE, P192, P384, scalar
from hypothesis import given
from hypothesis import strategies as st
from tests.support import FIXTURES, real_image

from espcert import efuse, keys
from espcert.catalogue import CATALOGUE
from espcert.chips import CHIPS
from espcert.efuse import EfuseDump, KeyBlock
from espcert.errors import UsageError
from espcert.keys import NO_KEYS, Keys, Lookup

KEY = hashlib.sha256(b"key").digest()
OTHER = hashlib.sha256(b"other").digest()
DS, ALL, UP = "HMAC_DOWN_DIGITAL_SIGNATURE", "HMAC_DOWN_ALL", "HMAC_UP"
HMAC_FILE = FIXTURES / "inputs" / "hmac_key.bin"


def dump(*purposes: str | None, chip: str | None = "esp32c3", key: bytes | None = KEY) -> EfuseDump:
    """A dump whose blocks have these purposes; those with one hold the key."""
    padded = [*purposes, *["USER"] * (6 - len(purposes))]
    blocks = [
        KeyBlock(number, purpose, None if purpose == "USER" else key)
        for number, purpose in enumerate(padded)
    ]
    return EfuseDump("joint dump", chip, tuple(blocks))


def codes(lookup: Lookup) -> list[str]:
    found = [code for code, _ in lookup.problems]
    assert set(found) <= set(CATALOGUE)
    return found


# --- HMAC key for the DS peripheral ------------------------------------------------------------


def test_nothing_given() -> None:
    assert NO_KEYS.for_ds(0) == NO_KEYS.hmac_up() == Lookup(None)
    assert NO_KEYS.ecdsa(4, "secp256r1") == Lookup(None)


def test_key_file_alone() -> None:
    given_key = Keys(KEY)
    assert given_key.for_ds(3) == given_key.hmac_up() == Lookup(KEY, "the HMAC key given")


@pytest.mark.parametrize("purpose", [DS, ALL, None])
def test_dump_alone(purpose: str | None) -> None:
    lookup = Keys(None, dump("USER", purpose)).for_ds(1)
    assert lookup == Lookup(KEY, "BLOCK_KEY1 of the eFuse dump")


@pytest.mark.parametrize("purpose", [DS, ALL, None])
def test_dump_that_confirms_the_key_file(purpose: str | None) -> None:
    assert Keys(KEY, dump(purpose)).for_ds(0) == Lookup(KEY, "the HMAC key given")


def test_wrong_purpose_is_a_problem_and_the_key_is_taken_all_the_same() -> None:
    lookup = Keys(None, dump(UP)).for_ds(0)
    assert (lookup.key, codes(lookup)) == (KEY, ["efuse-purpose"])
    assert lookup.problems[0][1] == (
        "BLOCK_KEY0 of the eFuse dump has the purpose HMAC_UP, "
        "expected HMAC_DOWN_DIGITAL_SIGNATURE or HMAC_DOWN_ALL"
    )


@pytest.mark.parametrize(
    ("possible", "expected"),
    [((DS, "ECDSA_KEY_P192"), []), (("XTS_AES_128_KEY", "ECDSA_KEY"), ["efuse-purpose"]), ((), [])],
)
def test_purposes_that_depend_on_the_chip(possible: tuple[str, ...], expected: list[str]) -> None:
    blocks = (KeyBlock(0, None, KEY, possible=possible),)
    assert codes(Keys(None, EfuseDump("joint dump", None, blocks)).for_ds(0)) == expected


def test_key_file_and_another_key_in_the_dump() -> None:
    lookup = Keys(OTHER, dump(DS)).for_ds(0)
    assert (lookup.key, lookup.where) == (OTHER, "the HMAC key given")
    assert codes(lookup) == ["efuse-key-differs"]


@pytest.mark.parametrize("given_key", [None, OTHER])
def test_block_that_is_not_readable(given_key: bytes | None) -> None:
    lookup = Keys(given_key, dump(DS, key=None)).for_ds(0)
    assert (lookup.key, codes(lookup)) == (given_key, ["efuse-key-unreadable"])
    assert "BLOCK_KEY0 of the eFuse dump is all zero" in lookup.problems[0][1]


def test_block_that_is_read_protected() -> None:
    blocks = (KeyBlock(0, DS, None, read_protected=True),)
    lookup = Keys(None, EfuseDump("token", "esp32c3", blocks)).for_ds(0)
    assert "BLOCK_KEY0 of the eFuse dump is read-protected" in lookup.problems[0][1]


@pytest.mark.parametrize("given_key", [None, KEY])
@pytest.mark.parametrize("key_id", [6, 7, 255])
def test_block_that_the_dump_does_not_have(given_key: bytes | None, key_id: int) -> None:
    lookup = Keys(given_key, dump(DS)).for_ds(key_id)
    assert (lookup.key, codes(lookup)) == (given_key, ["efuse-key-missing"])
    assert lookup.problems[0][1] == f"the eFuse dump has no BLOCK_KEY{key_id}"


def test_all_problems_at_once() -> None:
    assert codes(Keys(OTHER, dump(UP)).for_ds(0)) == ["efuse-purpose", "efuse-key-differs"]
    read_protected = replace_key(dump(UP), None)
    assert codes(Keys(None, read_protected).for_ds(0)) == ["efuse-purpose", "efuse-key-unreadable"]


def replace_key(found: EfuseDump, key: bytes | None) -> EfuseDump:
    return replace(found, blocks=tuple(replace(block, key=key) for block in found.blocks))


def test_a_blank_block_is_not_burned_for_another_purpose() -> None:
    lookup = Keys(None, dump()).for_ds(0)
    assert codes(lookup) == ["efuse-key-missing"]
    assert "blank" in lookup.problems[0][1]
    assert codes(Keys(KEY, dump()).for_ds(0)) == ["efuse-key-missing"]


def test_real_module() -> None:
    image = real_image("tlv_rsa_ds_c3/qemu_efuse.bin")
    key = real_image("tlv_rsa_ds_c3/hmac_key.bin")
    for chip in (None, "esp32c3"):
        both = Keys(key, efuse.read(image, chip))
        assert both.for_ds(1) == Lookup(key, "the HMAC key given")
        assert codes(both.for_ds(0)) == ["efuse-key-missing"]


# --- HMAC key for encrypted entries and derived keys -------------------------------------------


def test_first_block_for_hmac_up() -> None:
    lookup = Keys(None, dump(DS, "USER", UP, UP)).hmac_up()
    assert lookup == Lookup(KEY, "BLOCK_KEY2 of the eFuse dump")


@pytest.mark.parametrize("given_key", [None, KEY])
def test_no_block_for_hmac_up(given_key: bytes | None) -> None:
    lookup = Keys(given_key, dump(DS)).hmac_up()
    assert (lookup.key, codes(lookup)) == (given_key, ["efuse-key-missing"])


@pytest.mark.parametrize("given_key", [None, KEY])
def test_purposes_that_are_not_known_miss_nothing(given_key: bytes | None) -> None:
    assert Keys(given_key, dump(DS, None)).hmac_up().problems == ()
    assert Keys(given_key, dump(DS, None)).hmac_up().key == given_key


def test_summary_of_some_blocks_misses_nothing() -> None:
    for chip, complete in (("esp32c3", 6), ("esp32s31", 5), (None, 5)):
        for shown in range(7):
            part = EfuseDump("JSON summary", chip, dump().blocks[:shown])
            missing = ["efuse-key-missing"] if shown >= complete else []
            assert codes(Keys(None, part).hmac_up()) == missing


def test_block_that_is_for_hmac_up_on_some_chips() -> None:
    blocks = (
        KeyBlock(0, None, OTHER, possible=("XTS_AES_128_KEY", "ECDSA_KEY_P192")),
        KeyBlock(1, None, KEY, possible=(UP, "ECDSA_KEY_P192")),
    )
    unknown = EfuseDump("joint dump", None, blocks)
    assert Keys(None, unknown).hmac_up() == Lookup(KEY, "BLOCK_KEY1 of the eFuse dump")


def test_hmac_up_block_is_compared_with_the_key_file() -> None:
    assert codes(Keys(OTHER, dump(UP)).hmac_up()) == ["efuse-key-differs"]
    assert Keys(KEY, dump(UP)).hmac_up() == Lookup(KEY, "the HMAC key given")
    assert codes(Keys(None, dump(UP, key=None)).hmac_up()) == ["efuse-key-unreadable"]


@pytest.mark.parametrize("chip", [name for name, chip in CHIPS.items() if chip.hmac])
@pytest.mark.parametrize("told", [True, False])
def test_goldens_of_espefuse(chip: str, told: bool) -> None:
    burned = efuse.load(str(EFUSE / f"{chip}.joint.bin"), chip if told else None)
    found = Keys(None, burned)
    key = HMAC_FILE.read_bytes()
    assert found.hmac_up() == Lookup(key, "BLOCK_KEY0 of the eFuse dump")
    assert found.for_ds(1) == Lookup(key, "BLOCK_KEY1 of the eFuse dump")
    assert codes(found.for_ds(3)) == ["efuse-key-unreadable"]
    assert codes(found.for_ds(4)) == ["efuse-purpose"]


# --- Key for the ECDSA peripheral --------------------------------------------------------------


def device_scalar() -> bytes:
    pem = (FIXTURES / "inputs" / "ec_device.key").read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value.to_bytes(32, "big")


ECDSA_CHIPS = [name for name, chip in CHIPS.items() if chip.ecdsa_curves]


@pytest.mark.parametrize("chip", ECDSA_CHIPS)
@pytest.mark.parametrize("told", [True, False])
def test_p256_key_of_espefuse(chip: str, told: bool) -> None:
    burned = efuse.load(str(EFUSE / f"{chip}.joint.bin"), chip if told else None)
    lookup = Keys(None, burned).ecdsa(6, "secp256r1")
    assert lookup == Lookup(device_scalar(), "BLOCK_KEY2 of the eFuse dump")


CURVES = [name for name, chip in CHIPS.items() if "secp384r1" in chip.ecdsa_curves]


@pytest.mark.parametrize("chip", CURVES)
@pytest.mark.parametrize("told", [True, False])
def test_p192_and_p384_keys_of_espefuse(chip: str, told: bool) -> None:
    found = Keys(None, efuse.load(str(EFUSE / f"{chip}_curves.token.txt"), chip if told else None))
    p192, p384 = scalar(P192, 24).to_bytes(24, "big"), scalar(P384, 48).to_bytes(48, "big")
    assert found.ecdsa(8, "secp192r1") == Lookup(p192, "BLOCK_KEY4 of the eFuse dump")
    both = Lookup(p384, "BLOCK_KEY2 and BLOCK_KEY1 of the eFuse dump")
    # The high block, the low block, and both as the driver of the firmware wants them.
    assert [found.ecdsa(block, "secp384r1") for block in (5, 6, 0x56)] == [both] * 3


def test_hmac_key_does_not_count_for_the_ecdsa_peripheral() -> None:
    assert Keys(KEY).ecdsa(4, "secp256r1") == Lookup(None)
    assert Keys(OTHER, dump("ECDSA_KEY")).ecdsa(4, "secp256r1").key == KEY[::-1]


@pytest.mark.parametrize("curve", ["secp521r1", "brainpoolP256r1", ""])
def test_curve_that_no_peripheral_has(curve: str) -> None:
    assert Keys(None, dump("ECDSA_KEY", chip="esp32h2")).ecdsa(4, curve) == Lookup(None)


@pytest.mark.parametrize(
    ("curve", "chip", "purpose", "expected"),
    [
        ("secp256r1", "esp32h2", "ECDSA_KEY", []),
        ("secp256r1", "esp32c5", "ECDSA_KEY", []),
        ("secp256r1", None, "ECDSA_KEY", []),
        ("secp256r1", None, None, []),
        ("secp256r1", "esp32c5", "ECDSA_KEY_P192", ["efuse-purpose"]),
        ("secp256r1", "esp32h2", DS, ["efuse-purpose"]),
        ("secp192r1", "esp32c5", "ECDSA_KEY_P192", []),
        ("secp192r1", "esp32c5", "ECDSA_KEY", ["efuse-purpose"]),
        ("secp192r1", "esp32h2", "ECDSA_KEY", []),
        ("secp192r1", "esp32p4", "ECDSA_KEY", []),
        ("secp192r1", "esp32p4", "ECDSA_KEY_P192", []),
        ("secp192r1", None, "ECDSA_KEY", []),
        ("secp192r1", None, "ECDSA_KEY_P192", []),
        ("secp192r1", None, "ECDSA_KEY_P384_L", ["efuse-purpose"]),
    ],
)
def test_ecdsa_purposes(
    curve: str, chip: str | None, purpose: str | None, expected: list[str]
) -> None:
    lookup = Keys(None, dump(purpose, chip=chip)).ecdsa(4, curve)
    assert codes(lookup) == expected
    assert lookup.key == KEY[::-1]


@pytest.mark.parametrize("curve", ["secp192r1", "secp256r1", "secp384r1"])
@pytest.mark.parametrize("block", [0, 3, 10, 15])
def test_ecdsa_block_that_is_no_key_block(curve: str, block: int) -> None:
    lookup = Keys(None, dump("ECDSA_KEY", chip="esp32c5")).ecdsa(block, curve)
    assert (lookup.key, codes(lookup)) == (None, ["efuse-key-missing"])
    assert lookup.problems[0][1] == f"the eFuse dump has no key block {block}"


def test_block_numbers_of_chips() -> None:
    """BLOCK_KEY0 is block 4, but 1 on the ESP32 and 3 on the C2."""
    for chip, block in (("esp32", 1), ("esp32c2", 3), ("esp32c3", 4), (None, 4)):
        single = EfuseDump("joint dump", chip, (KeyBlock(0, None, KEY),))
        assert Keys(None, single).ecdsa(block, "secp256r1").key == KEY[::-1]


@pytest.mark.parametrize("curve", ["secp192r1", "secp256r1"])
def test_ecdsa_block_that_is_not_readable(curve: str) -> None:
    lookup = Keys(None, dump("ECDSA_KEY", chip="esp32h2", key=None)).ecdsa(4, curve)
    assert (lookup.key, codes(lookup)) == (None, ["efuse-key-unreadable"])


@given(st.integers(1, 2**192 - 1))
def test_scalars_have_the_length_of_their_curve(number: int) -> None:
    stored = number.to_bytes(32, "little")
    for curve, length in (("secp192r1", 24), ("secp256r1", 32)):
        blocks = (KeyBlock(0, "ECDSA_KEY", stored),)
        found = Keys(None, EfuseDump("token", "esp32h2", blocks)).ecdsa(4, curve).key
        assert found == number.to_bytes(length, "big")


# --- P-384: two blocks -------------------------------------------------------------------------

HIGH, LOW = "ECDSA_KEY_P384_H", "ECDSA_KEY_P384_L"


def halves(*purposes: str | None) -> Keys:
    """A C5 with these purposes, whose block n holds only bytes n + 1."""
    blocks = [
        KeyBlock(number, purpose, bytes((number + 1,)) * (16 if purpose == HIGH else 32))
        for number, purpose in enumerate(purposes)
    ]
    return Keys(None, EfuseDump("joint dump", "esp32c5", tuple(blocks)))


def test_two_keys_on_p384_are_not_mixed() -> None:
    found = halves(HIGH, LOW, HIGH, LOW)
    for block, number in ((4, 1), (5, 1), (6, 3), (7, 3), (0x45, 1), (0x67, 3)):
        wanted = bytes((number,)) * 16 + bytes((number + 1,)) * 32
        assert found.ecdsa(block, "secp384r1").key == wanted, block


def test_low_block_round_the_end() -> None:
    found = halves(LOW, "USER", HIGH)
    wanted = b"\3" * 16 + b"\1" * 32
    assert [found.ecdsa(block, "secp384r1").key for block in (4, 6)] == [wanted] * 2


@pytest.mark.parametrize(
    ("purposes", "block", "expected"),
    [
        ((HIGH, "USER"), 4, ["efuse-key-missing"]),
        ((LOW, "USER"), 4, ["efuse-key-missing"]),
        (("ECDSA_KEY", HIGH), 4, ["efuse-purpose"]),
        ((None, None), 4, []),
        ((HIGH, LOW), 0x54, ["efuse-purpose", "efuse-purpose"]),
        ((HIGH, LOW), 0x46, ["efuse-key-missing"]),
        ((HIGH, LOW), 0xFF, ["efuse-key-missing"]),
    ],
)
def test_halves_that_do_not_fit(
    purposes: tuple[str | None, ...], block: int, expected: list[str]
) -> None:
    assert codes(halves(*purposes).ecdsa(block, "secp384r1")) == expected


def test_both_blocks_named_need_no_purposes() -> None:
    assert halves(None, None).ecdsa(0x45, "secp384r1").key is not None


@pytest.mark.parametrize("hidden", [0, 1])
def test_half_that_is_not_readable(hidden: int) -> None:
    blocks = [KeyBlock(0, HIGH, KEY), KeyBlock(1, LOW, KEY)]
    blocks[hidden] = KeyBlock(hidden, blocks[hidden].purpose, None, read_protected=True)
    for block in (4, 5, 0x45):
        lookup = Keys(None, EfuseDump("token", "esp32c5", tuple(blocks))).ecdsa(block, "secp384r1")
        assert (lookup.key, codes(lookup)) == (None, ["efuse-key-unreadable"])


# --- Key files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\n",
        b" \t" + KEY.hex().encode() + b"\r\n\r\n",
        b"\n" + KEY[1:],
    ],
)
def test_key_file(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    wanted = data if len(data) == 32 else KEY
    assert keys.load_hmac_key(str(path)) == wanted


def test_key_file_of_the_fixtures() -> None:
    assert keys.load_hmac_key(str(HMAC_FILE)) == HMAC_FILE.read_bytes()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "0 bytes"),
        (KEY[:31], "31 bytes"),
        (KEY + b"\n", "33 bytes"),
        (KEY * 2, "64 bytes"),
        (KEY.hex().encode()[:-1], "63 bytes"),
        (KEY.hex().encode() + b"00", "66 bytes"),
        (KEY.hex(" ").encode(), "95 bytes"),
        (b"zz" + KEY.hex().encode()[2:], "64 bytes"),
        (("0123456789abcdef " * 4)[:64].encode(), "64 bytes"),
        ("\u0663".encode() * 32, "64 bytes"),
        (bytes(32), "only zeros, as a read-protected eFuse block reads"),
        (b"0" * 64, "only zeros, as a read-protected eFuse block reads"),
        (bytes(5000), "over 4096 bytes"),
    ],
)
def test_file_that_is_no_key(tmp_path: Path, data: bytes, found: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        keys.load_hmac_key(str(path))
    assert caught.value.code == "bad-hmac-key"
    assert caught.value.message == (f"{path}: {found}, expected 32 bytes or 64 hexadecimal digits")


def test_absent_key_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        keys.load_hmac_key(str(tmp_path / "absent"))
    assert caught.value.code == "not-found"


@given(st.binary(max_size=80) | st.text("0123456789abcdefABCDEF \n", max_size=80).map(str.encode))
def test_any_key_file(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("keys") / "key"
    path.write_bytes(data)
    try:
        assert len(keys.load_hmac_key(str(path))) == 32
    except UsageError as error:
        assert error.code == "bad-hmac-key"
        assert len(data) < 4 or data.hex() not in error.message


# --- Secrets -----------------------------------------------------------------------------------


def test_keys_are_not_shown() -> None:
    both = Keys(OTHER, dump(DS, UP, "ECDSA_KEY"))
    lookups = [both.for_ds(0), both.for_ds(1), both.hmac_up(), both.ecdsa(6, "secp256r1")]
    shown = repr(both) + repr(lookups) + "".join(str(lookup) for lookup in lookups)
    for secret in (KEY, OTHER, KEY[::-1]):
        assert repr(secret)[2:12] not in shown
        assert secret.hex()[:12] not in shown
    assert "HMAC_UP" in shown


def test_the_key_given_may_be_that_of_another_block() -> None:
    blocks = (KeyBlock(0, DS, KEY), KeyBlock(1, UP, OTHER))
    both = Keys(KEY, EfuseDump("joint dump", "esp32c3", blocks))
    assert both.for_ds(0) == Lookup(KEY, "the HMAC key given")
    assert both.hmac_up() == Lookup(OTHER, "BLOCK_KEY1 of the eFuse dump")
