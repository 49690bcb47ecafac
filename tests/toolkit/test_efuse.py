"""`espcert.efuse`: every form of a dump gives the same key blocks; anything else is refused."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from fixtures.make_efuse import EC_KEY, EFUSE, HMAC_KEY, P192, P384, RECIPES, scalar
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES, real_image

from espcert import efuse
from espcert.chips import CHIPS, KEY_PURPOSES
from espcert.efuse import EfuseDump, KeyBlock
from espcert.errors import EspcertError, UsageError

Block = tuple[int, str | None, bytes | None, bool]
"""Number, purpose, key, read-protected."""

SUFFIXES = {
    "joint.bin": "joint dump",
    "token.txt": "token",
    "virtual.bin": "virtual eFuse file",
    "split0.bin": "split dump",
    "split7.bin": "split dump",
    "split.bin": "split dump",
    "console.txt": "console dump",
    "summary.json": "JSON summary",
}
GOLDENS = [
    f"{name}.{suffix}"
    for name, recipe in RECIPES.items()
    for suffix in SUFFIXES
    if suffix.split(".")[0].rstrip("07") in recipe.forms
]
HMAC_BYTES = (FIXTURES / "inputs" / "hmac_key.bin").read_bytes()


def ec_scalar() -> int:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(Path(EC_KEY).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.private_numbers().private_value


def burned(chip: str, place: str, file: str, purpose: str) -> list[Block]:
    """What burning one key leaves in the key blocks."""
    if chip in ("esp32", "esp32c2"):
        # XTS keys are burned back to front; BLOCK2 of an ESP32 is its second key block.
        return [(0, None, HMAC_BYTES[::-1], False)] if purpose else [(1, None, HMAC_BYTES, False)]
    number = int(place.removeprefix("BLOCK_KEY"))
    if file == HMAC_KEY:
        return [(number, purpose, HMAC_BYTES, False)]
    if file == P384:
        whole = scalar(P384, 48).to_bytes(64, "little")
        high = (number, f"{purpose}_H", whole[32:], False)
        return [high, (number + 1, f"{purpose}_L", whole[:32], False)]
    private = ec_scalar() if file == EC_KEY else scalar(P192, 24)
    return [(number, purpose, private.to_bytes(32, "little"), False)]


def expected(name: str) -> list[Block]:
    """The key blocks of a golden dump."""
    recipe = RECIPES[name]
    empty = None if recipe.chip in ("esp32", "esp32c2") else "USER"
    blocks: dict[int, Block] = {
        number: (number, empty, None, False) for number in range(CHIPS[recipe.chip].key_blocks)
    }
    for key in recipe.readable:
        blocks |= {block[0]: block for block in burned(recipe.chip, *key)}
    for key in recipe.hidden:
        blocks |= {n: (n, purpose, None, True) for n, purpose, *_ in burned(recipe.chip, *key)}
    return list(blocks.values())


def content(dump: EfuseDump) -> list[Block]:
    return [(block.number, block.purpose, block.key, block.read_protected) for block in dump.blocks]


def golden(name: str) -> bytes:
    return (EFUSE / name).read_bytes()


def refusal(data: bytes, chip: str | None = None) -> str:
    """The message with which bytes are refused."""
    with pytest.raises(UsageError) as caught:
        efuse.read(data, chip)
    assert caught.value.code == "bad-efuse"
    assert "\n" not in caught.value.message
    return caught.value.message


# --- Dumps of espefuse -------------------------------------------------------------------------


def test_there_are_goldens_of_every_form_and_chip() -> None:
    assert {name.split(".", 1)[1] for name in GOLDENS} == set(SUFFIXES)
    assert {recipe.chip for recipe in RECIPES.values()} == set(CHIPS)


@pytest.mark.parametrize("name", GOLDENS)
def test_golden_with_its_chip(name: str) -> None:
    recipe, suffix = name.split(".", 1)
    chip = RECIPES[recipe].chip
    dump = efuse.load(str(EFUSE / name), chip)
    assert (dump.form, dump.chip) == (SUFFIXES[suffix], chip)
    assert content(dump) == expected(recipe)


@pytest.mark.parametrize("name", [name for name in GOLDENS if name != "esp32c2.virtual.bin"])
def test_golden_without_its_chip(name: str) -> None:
    recipe, suffix = name.split(".", 1)
    chip = RECIPES[recipe].chip
    dump = efuse.load(str(EFUSE / name), None)
    assert content(dump) == expected(recipe)
    alone = chip in ("esp32", "esp32c2", "esp32s31") and suffix not in (
        "virtual.bin",
        "summary.json",
    )
    named = suffix == "token.txt" or name == "esp32p4_curves.summary.json"
    esp32_file = name == "esp32.virtual.bin"
    assert dump.chip == (chip if alone or named or esp32_file else None)


@pytest.mark.parametrize(
    ("name", "chip", "message"),
    [
        ("esp32c3.token.txt", "esp32s3", "a dump of esp32c3, expected one of esp32s3"),
        ("esp32p4_curves.summary.json", "esp32c3", "a dump of esp32p4, expected one of esp32c3"),
        ("esp32s31.joint.bin", "esp32c3", "a joint dump of esp32s31, expected one of esp32c3"),
        ("esp32c3.joint.bin", "esp32s31", "a joint dump of another chip, expected one of esp32s31"),
        ("esp32c3.virtual.bin", "esp32", "a virtual eFuse file of another chip, expected one of"),
        ("esp32.virtual.bin", "esp32c3", "a virtual eFuse file of esp32, expected one of esp32c3"),
        ("esp32c3.console.txt", "esp32c2", "a console dump of another chip, expected one of"),
        ("esp32c3.split3.bin", "esp32s31", "a split dump of another chip, expected one of"),
        ("esp32c3.summary.json", "esp32s31", "a JSON summary with BLOCK_KEY5, which esp32s31"),
    ],
)
def test_dump_of_another_chip(name: str, chip: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        efuse.load(str(EFUSE / name), chip)
    assert caught.value.code == "bad-efuse"
    assert caught.value.message.startswith(f"{EFUSE / name}: {message}")


def test_a_p4_before_revision_3_has_other_fields_in_place_of_the_fifth_bits() -> None:
    old = bytearray(golden("esp32p4_v1.joint.bin"))
    assert old[0x13] & 0xF8 == 0xF8, "DCDC_VSET is burned"
    assert efuse.read(bytes(old), "esp32p4").blocks[0].purpose == "HMAC_UP"
    old[0x20] = 0x30  # WAFER_VERSION_MAJOR_LO = 3
    assert efuse.read(bytes(old), "esp32p4").blocks[0].purpose == "FORBIDDEN_STATE"
    old[0x20:0x23] = b"\0\0\x80"  # WAFER_VERSION_MAJOR_HI: 4
    assert efuse.read(bytes(old), "esp32p4").blocks[0].purpose == "FORBIDDEN_STATE"


# --- QEMU --------------------------------------------------------------------------------------


def test_real_qemu_image() -> None:
    data = real_image("tlv_rsa_ds_c3/qemu_efuse.bin")
    key = real_image("tlv_rsa_ds_c3/hmac_key.bin")
    for chip in (None, "esp32c3"):
        dump = efuse.read(data, chip)
        assert (dump.form, dump.chip) == ("QEMU eFuse image", chip)
        assert dump.block(1) == KeyBlock(1, "HMAC_DOWN_DIGITAL_SIGNATURE", key, True)
        others = [block for block in content(dump) if block[0] != 1]
        assert others == [(n, "USER", None, False) for n in (0, 2, 3, 4, 5)]


@pytest.mark.parametrize("chip", [None, "esp32c3", "esp32s3"])
def test_qemu_image_is_a_joint_dump_with_zeros_behind_it(chip: str | None) -> None:
    dump = efuse.read(golden("esp32c3.joint.bin").ljust(1024, b"\0"), chip)
    assert (dump.form, dump.chip) == ("QEMU eFuse image", chip)
    assert content(dump) == expected("esp32c3")


def test_qemu_image_of_another_chip() -> None:
    assert "expected one of esp32" in refusal(bytes(1024), "esp32")


def test_a_blank_chip_has_no_keys() -> None:
    for data in (bytes(336), bytes(1024), bytes(512)):
        blocks = efuse.read(data, None).blocks
        assert [(block.purpose, block.key) for block in blocks] == [("USER", None)] * 6


# --- A chip that is not known ------------------------------------------------------------------


def joint(*keys: tuple[int, int], chip: str = "esp32c3", user: tuple[int, ...] = ()) -> bytes:
    """A joint dump with (key number, purpose number) burned, and blocks of the user's."""
    memory = bytearray(CHIPS[chip].dump_length)
    for number, purpose in keys:
        bits = CHIPS[chip].purpose_bits[number]
        word = int.from_bytes(memory[4 * bits.word : 4 * bits.word + 4], "little")
        memory[4 * bits.word : 4 * bits.word + 4] = (word | purpose << bits.low).to_bytes(
            4, "little"
        )
    for number in (*user, *dict(keys)):
        start = CHIPS[chip].key_offset + 32 * number
        memory[start : start + 32] = bytes((number + 1,)) * 32
    return bytes(memory)


@pytest.mark.parametrize("chip", [name for name, chip in CHIPS.items() if chip.purpose_bits])
def test_without_the_chip_the_right_purpose_is_known_or_among_the_possible_ones(chip: str) -> None:
    for number in range(CHIPS[chip].key_blocks):
        width = CHIPS[chip].purpose_bits[number].width
        alone = CHIPS[chip].purposes - {0, 2, 3, 13, 14, 17, 18}
        for purpose in alone & set(range(1 << width)):
            data = joint((number, purpose), chip=chip)
            block = efuse.read(data, None).blocks[number]
            assert block.purpose in (KEY_PURPOSES[purpose], None)
            assert KEY_PURPOSES[purpose] in (block.purpose, *block.possible)
            assert block == efuse.read(data, chip).blocks[number] or len(block.possible) > 1


@pytest.mark.parametrize("number", range(6))
def test_a_ds_key_of_a_c3_is_told_without_the_chip(number: int) -> None:
    blocks = efuse.read(joint((number, 7)), None).blocks
    assert blocks[number].purpose == "HMAC_DOWN_DIGITAL_SIGNATURE"


def test_a_purpose_that_chips_read_differently_is_not_known() -> None:
    """The same bytes are SECURE_BOOT_DIGEST0 and DS key of a C3, and two XTS keys of a C5."""
    data = joint((0, 9), (1, 7))
    c3, c5, unknown = (efuse.read(data, chip).blocks[1] for chip in ("esp32c3", "esp32c5", None))
    assert (c3.purpose, c3.possible) == ("HMAC_DOWN_DIGITAL_SIGNATURE", ())
    assert (c5.purpose, c5.possible) == ("XTS_AES_128_PSRAM_KEY", ())
    assert (unknown.purpose, unknown.possible) == (None, (c3.purpose, c5.purpose))
    assert unknown.key == c3.key == c5.key == b"\x02" * 32


def test_data_of_the_user_does_not_hide_the_purposes() -> None:
    blocks = efuse.read(joint((1, 7), user=(3,)), None).blocks
    assert [block.purpose for block in blocks] == [
        *("USER", "HMAC_DOWN_DIGITAL_SIGNATURE", "USER", "USER", "USER", "USER")
    ]
    assert blocks[3].key is not None


def test_nothing_but_data_of_the_user() -> None:
    blocks = efuse.read(joint(user=(0, 5)), None).blocks
    assert [block.purpose for block in blocks] == ["USER"] * 6


def test_bytes_that_no_chip_has_leave_the_purposes_unknown() -> None:
    """Purposes of blocks that are empty and readable: nothing burns them so."""
    data = bytearray(joint((0, 8)))
    data[0x0C:0x0E] = b"\x78\x78"
    blocks = efuse.read(bytes(data), None).blocks
    assert [(block.purpose, block.possible) for block in blocks] == [(None, ())] * 6
    assert blocks[0].key == b"\x01" * 32


# --- Split dumps -------------------------------------------------------------------------------


def split_into(folder: Path, base: str, source: str = "esp32c3") -> list[Path]:
    """The files of a split dump under another name."""
    targets = []
    for number in range(11):
        targets.append(folder / f"{base}{number}.bin")
        shutil.copy(EFUSE / f"{source}.split{number}.bin", targets[-1])
    return targets


@pytest.mark.parametrize("base", ["dump", "dump1", "1", "", "a.b"])
def test_split_dump_by_any_of_its_files(tmp_path: Path, base: str) -> None:
    for path in split_into(tmp_path, base):
        assert content(efuse.load(str(path), None)) == expected("esp32c3"), path


def test_split_dump_whose_name_ends_in_a_number_beside_another(tmp_path: Path) -> None:
    """dump10.bin is block 10 of dump, or block 0 of dump1: its length tells."""
    split_into(tmp_path, "dump")
    split_into(tmp_path, "dump1")
    assert (tmp_path / "dump10.bin").stat().st_size == 24
    assert content(efuse.load(str(tmp_path / "dump10.bin"), None)) == expected("esp32c3")


def test_split_dump_by_the_name_given_to_espefuse(tmp_path: Path) -> None:
    split_into(tmp_path, "dump")
    dump = efuse.load(str(tmp_path / "dump.bin"), "esp32c3")
    assert (dump.form, content(dump)) == ("split dump", expected("esp32c3"))


def test_split_dump_that_is_not_whole(tmp_path: Path) -> None:
    paths = split_into(tmp_path, "dump")
    paths[6].unlink()
    for path in paths[:6] + paths[7:]:
        with pytest.raises(UsageError, match="the other files of a split dump are not all beside"):
            efuse.load(str(path), None)
    with pytest.raises(UsageError, match="a split dump of 6 blocks, 176 bytes, which no"):
        efuse.load(str(tmp_path / "dump.bin"), None)


def test_key_block_alone_is_no_dump(tmp_path: Path) -> None:
    alone = tmp_path / "dump4.bin"
    alone.write_bytes(HMAC_BYTES)
    for path in (alone, FIXTURES / "inputs" / "hmac_key.bin"):
        with pytest.raises(UsageError, match="one eFuse block") as caught:
            efuse.load(str(path), None)
        assert caught.value.code == "bad-efuse"
        assert caught.value.message.endswith("a key alone is given with --hmac-key")


# --- Files that are no dumps -------------------------------------------------------------------


def test_standard_input() -> None:
    with pytest.raises(UsageError, match="from a file, not from standard input") as caught:
        efuse.load("-", None)
    assert caught.value.code == "bad-efuse"


@pytest.mark.parametrize("name", ["absent.bin", "absent", "a\0b", "absent/4.bin"])
def test_absent_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        efuse.load(str(tmp_path / name), None)
    assert caught.value.code == "not-found"


@pytest.mark.parametrize("name", ["", "."])
def test_no_file(name: str) -> None:
    with pytest.raises(EspcertError) as caught:
        efuse.load(name, None)
    assert caught.value.code in ("not-found", "is-directory")


def test_too_large_a_file(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(efuse.MAX_DUMP_SIZE + 1))
    with pytest.raises(UsageError, match="over 1 MiB, larger than any eFuse dump") as caught:
        efuse.load(str(path), None)
    assert caught.value.code == "bad-efuse"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "text of 0 bytes"),
        (b"\0", "1 bytes"),
        (bytes(335), "335 bytes"),
        (b"\x01" * 336, "text of 336 bytes"),
        (bytes(480) + b"\x01" + bytes(31), "512 bytes"),
        (bytes(1000) + b"\x01" + bytes(23), "1024 bytes"),
        (b"-----BEGIN CERTIFICATE-----\n", "text of 28 bytes"),
        (b"{}", "text of 2 bytes"),
        (b'{"a": 1}', "JSON without BLOCK_KEY0"),
        (b'{"BLOCK_KEY0": ', "JSON that is damaged"),
    ],
)
def test_bytes_that_are_no_dump(data: bytes, found: str) -> None:
    message = refusal(data)
    assert message.startswith(found)
    assert "expected what espefuse writes" in message


# --- Tokens ------------------------------------------------------------------------------------


def token(chip: str, pieces: list[bytes], *, checksum: int | None = None) -> bytes:
    """A token by the test's own hand."""
    encoded = [base64.urlsafe_b64encode(piece).rstrip(b"=").decode() for piece in pieces]
    prefix = f"EFSR:{chip}:003:{':'.join(encoded)}::"
    crc = zlib.crc32(prefix.encode()) if checksum is None else checksum
    return (prefix + base64.urlsafe_b64encode(crc.to_bytes(4, "little")).decode()[:6]).encode()


def blank(chip: str) -> list[bytes]:
    return [bytes(length) for length in CHIPS[chip].block_lengths]


def test_token_in_a_console_log() -> None:
    text = b"espefuse v5.6.0\r\n\r\n" + golden("esp32c3.token.txt") + b"\r\nEFSR: the end\r\n"
    assert content(efuse.read(text, None)) == expected("esp32c3")


def test_token_with_error_registers() -> None:
    made = golden("esp32c3.token.txt").decode().rpartition(":")[0]
    prefix = f"{made}AQAAAAAAAAA:"
    crc = base64.urlsafe_b64encode(zlib.crc32(prefix.encode()).to_bytes(4, "little")).decode()[:6]
    assert content(efuse.read((prefix + crc).encode(), None)) == expected("esp32c3")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (golden("esp32c3.token.txt")[:-1], "checksum is wrong"),
        (golden("esp32c3.token.txt")[:100], "checksum is wrong"),
        (golden("esp32c3.token.txt").replace(b"NiZ", b"NiA"), "checksum is wrong"),
        (b"EFSR:esp32c3:000:AAAAAA", "checksum is wrong"),
        (b"EFSR:esp32c3", "checksum is wrong"),
        (token("esp32e22", blank("esp32c3")), "a token of esp32e22, expected one of esp32, "),
        (token("esp32s31", blank("esp32c3")), "a token of 11 blocks, expected 10"),
        (token("esp32c3", blank("esp32s31")), "a token of 10 blocks, expected 11"),
        (token("esp32c3", [b"\x01" * 36, *blank("esp32c3")[1:]]), "which no chip has"),
        (token("esp32c3", [b"\x01" * 25, *blank("esp32c3")[1:]]), "which no chip has"),
    ],
)
def test_bad_token(data: bytes, message: str) -> None:
    assert message in refusal(data)


# --- JSON --------------------------------------------------------------------------------------


def summary(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def field_of(value: object, *, readable: bool = True) -> dict[str, object]:
    return {"value": value, "readable": readable, "raw_value": "0x0", "efuse_type": "bytes:32"}


HEX = HMAC_BYTES.hex(" ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_summary_from_a_redirected_console(encoding: str) -> None:
    text = golden("esp32c5.summary.json").decode().replace("\n", "\r\n")
    dump = efuse.read(text.encode(encoding), None)
    assert content(dump) == expected("esp32c5")


def test_summary_behind_text_that_is_not_utf8() -> None:
    text = "C:\\J\xfcrgen> espefuse {--port COM3}\n".encode("latin-1")
    assert content(efuse.read(text + golden("esp32c3.summary.json"), None)) == expected("esp32c3")


@pytest.mark.parametrize(
    ("line", "chip"),
    [
        ("Detecting chip type... ESP32-C3", "esp32c3"),
        ("Connected to ESP32-S31 on /dev/ttyUSB0:", "esp32s31"),
        ("Loading eFuses for ESP32-P4 v3.0...", "esp32p4"),
        ("Detecting chip type... Unsupported\nDetecting chip type... ESP32-H2", "esp32h2"),
        ("Connected to ESP32-Z9 on COM3:", None),
        ("Supported chips: ESP32-C3", None),
    ],
)
def test_summary_names_the_chip_before_it_begins(line: str, chip: str | None) -> None:
    text = f"espefuse v5.6.0\n{line}\n".encode() + summary(BLOCK_KEY0=field_of(HEX))
    assert efuse.read(text, None).chip == chip
    assert efuse.read(text, chip).chip == chip


def test_summary_of_some_blocks_only() -> None:
    purpose = {"value": "HMAC_UP", "readable": True}
    dump = efuse.read(
        summary(BLOCK_KEY4=field_of(HEX), BLOCK_KEY2=field_of(HEX), KEY_PURPOSE_2=purpose), None
    )
    assert content(dump) == [(2, "HMAC_UP", HMAC_BYTES, False), (4, None, HMAC_BYTES, False)]
    assert dump.block(0) is None


@pytest.mark.parametrize(
    ("value", "readable", "key"),
    [
        (HEX, True, HMAC_BYTES),
        (HEX.upper(), True, HMAC_BYTES),
        (HEX, False, None),
        (bytes(32).hex(" "), True, None),
        (" ".join(["??"] * 32), False, None),
        (" ".join(["??"] * 32), True, None),
        (" ".join(["??"] * 16 + ["11"] * 16), True, None),
    ],
)
def test_summary_of_what_is_readable(value: str, readable: bool, key: bytes | None) -> None:
    (block,) = efuse.read(summary(BLOCK_KEY1=field_of(value, readable=readable)), None).blocks
    assert (block.key, block.read_protected) == (key, not readable)


@pytest.mark.parametrize(
    ("value", "purpose"),
    [
        ("HMAC_DOWN_ALL", "HMAC_DOWN_ALL"),
        ("ECDSA_KEY_P256", "ECDSA_KEY"),
        ("RESERVED", "RESERVED"),
        ("FORBIDDEN_STATE", "FORBIDDEN_STATE"),
        ("\x1b[31m", "FORBIDDEN_STATE"),
        ("7", "FORBIDDEN_STATE"),
        (True, None),
        (None, None),
    ],
)
def test_summary_of_a_purpose(value: object, purpose: str | None) -> None:
    fields = {"BLOCK_KEY1": field_of(HEX), "KEY_PURPOSE_1": {"value": value, "readable": True}}
    assert efuse.read(summary(**fields), None).blocks[0].purpose == purpose


@pytest.mark.parametrize(
    "block",
    [
        *(None, 1, "text", [], {}, {"value": 1}, {"value": [[["?"]]]}),
        *(field_of("11"), field_of("zz " * 32), field_of(HEX + " 00"), field_of("")),
    ],
)
def test_summary_with_a_block_that_is_no_key(block: object) -> None:
    message = refusal(summary(BLOCK_KEY3=block))
    assert message == "a JSON summary whose BLOCK_KEY3 is not 32 bytes in hexadecimal"


@pytest.mark.parametrize(
    "text",
    [
        '{"BLOCK_KEY0": ' + "[" * 100_000,
        '{"a": {' + '"a": {' * 100_000,
        '{"BLOCK_KEY0": {"value": ' + "[" * 900 + "]" * 900 + "}}",
        '{"BLOCK_KEY0": ' + "9" * 900_000 + "}",
        '{"BLOCK_KEY0": 0.' + "9" * 900_000 + "}",
        '{"BLOCK_KEY0": NaN}',
    ],
    ids=["lists", "objects", "value", "integer", "fraction", "nan"],
)
def test_hostile_summary(text: str) -> None:
    assert refusal(text.encode())


# --- Any bytes ---------------------------------------------------------------------------------

SIZES = sorted({chip.dump_length for chip in CHIPS.values()} | {32, 288, 512, 1024})
ANY_CHIP = st.sampled_from([None, *CHIPS])


def check_any(data: bytes, chip: str | None) -> None:
    """Bytes give a dump or a UsageError, and a dump holds only keys."""
    try:
        dump = efuse.read(data, chip)
    except UsageError as error:
        assert error.code == "bad-efuse"
        return
    assert chip in (None, dump.chip)
    assert all(block.key is None or any(block.key) for block in dump.blocks)
    assert all(len(block.key or bytes(32)) == 32 for block in dump.blocks)
    numbers = [block.number for block in dump.blocks]
    assert numbers == sorted(set(numbers))
    assert all((block.key or b"?").hex() not in repr(dump) for block in dump.blocks)


@given(st.binary(max_size=1100), ANY_CHIP)
@example(b"EFSR:", None)
@example(b"EFSR:::::::", None)
@example(b"[0 ] dump: 00000000", None)
@example(b'\xff\xfe{\x00"', None)
def test_any_bytes(data: bytes, chip: str | None) -> None:
    check_any(data, chip)


@given(st.sampled_from(SIZES).flatmap(lambda size: st.binary(min_size=size, max_size=size)))
def test_any_bytes_of_the_right_length(data: bytes) -> None:
    check_any(data, None)


@given(st.text(), ANY_CHIP)
@example("[0 ] dump: " + "0" * 8, None)
def test_any_text(text: str, chip: str | None) -> None:
    check_any(text.encode("utf-8", errors="surrogatepass"), chip)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(HEX),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["value", "readable"]), inner),
    max_leaves=8,
)
JSON_NAMES = st.sampled_from([f"{k}{n}" for k in ("BLOCK_KEY", "KEY_PURPOSE_") for n in range(7)])


@given(st.dictionaries(JSON_NAMES, JSON_VALUES), ANY_CHIP)
def test_any_summary(fields: dict[str, object], chip: str | None) -> None:
    check_any(json.dumps(fields).encode(), chip)


@given(
    st.sampled_from([name for name in GOLDENS if "split" not in name]),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
    st.none() | st.integers(0, 5000),
    ANY_CHIP,
)
@settings(max_examples=200)
def test_any_damage(
    name: str, changes: list[tuple[int, int]], cut: int | None, chip: str | None
) -> None:
    data = bytearray(golden(name))
    for offset, value in changes:
        data[offset % len(data)] = value
    check_any(bytes(data[:cut]), chip)


def test_keys_are_not_shown() -> None:
    dump = efuse.read(golden("esp32c3.joint.bin"), "esp32c3")
    shown = repr(dump)
    assert "HMAC_UP" in shown
    assert "key=" not in shown
    assert repr(HMAC_BYTES)[2:10] not in shown
