"""Text, reasons, chips, images: the small parts of the toolkit."""

from __future__ import annotations

import hashlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES, fixture_truth

from espcert import chips, image, text, unreadable
from espcert.errors import EspcertError, FileError, UnreadableError, UsageError

# --- Text --------------------------------------------------------------------------------------


@given(st.text(st.characters()))
def test_printable_is_printable(raw: str) -> None:
    shown = text.printable(raw)
    assert shown.isprintable()
    assert text.printable(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_printable_leaves_what_is_printable(raw: str) -> None:
    if raw.isprintable():
        assert text.printable(raw) == raw


@given(st.integers(0, 0x10FFFF))
def test_printable_names_the_character(code: int) -> None:
    shown = text.printable(chr(code))
    if shown != chr(code):
        assert int(shown.lstrip("\\xuU"), 16) == code if shown[1] != "x" else True
        assert shown[:2] in ("\\x", "\\u", "\\U")
        assert len(shown) == {"x": 4, "u": 6, "U": 10}[shown[1]]
        assert int(shown[2:], 16) == code


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\r\t\0", "a\\x0ab\\x0d\\x09\\x00"),
        ("\u202eevil", "\\u202eevil"),
        ("\x9b2J", "\\x9b2J"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
        ("ü·→", "ü·→"),
    ],
)
def test_printable_examples(raw: str, shown: str) -> None:
    assert text.printable(raw) == shown


def test_size_text() -> None:
    assert text.size_text(8192) == "8192 bytes (0x2000)"


# --- Reasons -----------------------------------------------------------------------------------

NOISE = random.Random(5).randbytes(1 << 16)


@pytest.mark.parametrize("length", [512, 1024, 4096, 16384, 65536])
def test_random_bytes_have_the_entropy_that_is_expected(length: int) -> None:
    measured = unreadable.entropy(NOISE[:length])
    expected = unreadable.random_entropy(length)
    assert abs(measured - expected) < 0.02 * expected
    assert unreadable.reason_for(NOISE[:length]).code == "encrypted_or_random"


def test_entropy() -> None:
    assert unreadable.entropy(bytes(100)) == 0
    assert unreadable.entropy(bytes(range(256))) == 8
    assert unreadable.entropy(b"ab" * 50) == 1


def test_the_credentials_are_no_random_bytes() -> None:
    """Certificates and keys, without the magics, look like no ciphertext; one fixture is random."""
    for row in fixture_truth():
        if "over-8k" in row["variants"]:
            continue
        data = (FIXTURES / row["file"]).read_bytes()
        reason = unreadable.reason_for(b"\x01" + data[64:])
        noise = reason.code in ("encrypted_or_random", "esp32_encrypted")
        assert row["key"] == "rsa_ds" or not noise


@pytest.mark.parametrize("twins", [0, 3, 4, 100])
def test_twin_blocks(twins: int) -> None:
    """Erased flash under the ESP32's cipher: the same 16 bytes twice."""
    blocks = [NOISE[at : at + 16] * 2 for at in range(0, twins * 16, 16)]
    data = b"".join(blocks) + NOISE[8192:16384]
    expected = "esp32_encrypted" if twins >= 4 else "encrypted_or_random"
    assert unreadable.reason_for(data).code == expected


def test_twin_blocks_count_at_their_places_only() -> None:
    shifted = NOISE[:16] + b"".join(NOISE[at : at + 16] * 2 for at in range(16, 1600, 16))
    assert unreadable.reason_for(shifted + NOISE[9000:17000]).code == "encrypted_or_random"


def test_short_noise_proves_nothing() -> None:
    assert unreadable.reason_for(NOISE[: unreadable.MIN_RANDOM_LENGTH - 16]).code == "unknown"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"\xff", "erased"),
        (b"\x00", "truncated"),
        (bytes(39), "truncated"),
        (bytes(40), "unknown"),
        (b"\xe9\x01" + bytes(22), "app_image"),
        (b"\xe9\x11" + bytes(4000), "unknown"),
        (b"\xe9\x00" + bytes(4000), "unknown"),
        (b"\xaa\x50" + bytes(30), "partition_table"),
    ],
)
def test_reasons(data: bytes, code: str) -> None:
    reason = unreadable.reason_for(data)
    assert reason.code == code
    assert reason.text


@settings(deadline=None)
@given(st.binary(max_size=600))
def test_there_is_always_a_reason(data: bytes) -> None:
    reason = unreadable.reason_for(data)
    assert reason.text.isprintable()


# --- Chips -------------------------------------------------------------------------------------

DS_BITS = {
    **dict.fromkeys(("esp32s2", "esp32s3", "esp32p4", "esp32s31"), 4096),
    **dict.fromkeys(("esp32c3", "esp32c5", "esp32c6", "esp32h2", "esp32h21"), 3072),
    **dict.fromkeys(("esp32", "esp32c2", "esp32c61", "esp32h4"), 0),
}


def test_chips() -> None:
    assert {name: chip.ds_max_bits for name, chip in chips.CHIPS.items()} == DS_BITS
    assert all(name == chip.name for name, chip in chips.CHIPS.items())


def test_ciphertext_lengths_of_chips() -> None:
    lengths = dict.fromkeys((0, 3072, 4096), 0) | {3072: 1200, 4096: 1584}
    for chip in chips.CHIPS.values():
        assert (chip.ds_ciphertext_length or 0) == lengths[chip.ds_max_bits]


# --- Images ------------------------------------------------------------------------------------


def row(label: bytes, kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<2sBBLL16sL", b"\xaa\x50", kind, 6, offset, size, label, 0)


def table(*rows: bytes) -> bytes:
    listed = b"".join(rows)
    return listed + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(listed).digest()


def flash(at: int, *rows: bytes) -> bytes:
    return (b"\xff" * at + table(*rows)).ljust(0x20000, b"\xff")


TODAY, LEGACY = (row(label, 0x3F, 0xD000, 0x6000) for label in (b"esp_secure_cert", b"pre_prov"))


@pytest.mark.parametrize("at", [0x1000, 0x8000, 0x9000, 0xC000, 0x10000, 0x1F000])
def test_table_is_found(at: int) -> None:
    found = image.locate(flash(at, TODAY))
    assert found.container == "flash"
    assert found.table is not None
    assert (found.table.offset, found.table.md5_ok) == (at, True)


def test_usual_offsets_come_first() -> None:
    data = bytearray(flash(0x1000, LEGACY))
    data[0xC000 : 0xC000 + 64] = table(TODAY)
    found = image.locate(bytes(data))
    assert found.row is not None
    assert found.row.label == b"esp_secure_cert"


@pytest.mark.parametrize("at", [0x20000, 0x8800, 0])
def test_table_is_looked_for_nowhere_else(at: int) -> None:
    assert image.locate(flash(at, TODAY)[: at + 0x8000]).container == "partition"


@pytest.mark.parametrize("rows", [(LEGACY, TODAY), (TODAY, LEGACY)], ids=["last", "first"])
def test_todays_label_wins(rows: tuple[bytes, ...]) -> None:
    found = image.locate(flash(0x8000, *rows))
    assert found.row is not None
    assert found.row.label == b"esp_secure_cert"
    asked = image.locate(flash(0x8000, *rows), label="pre_prov")
    assert asked.row is not None
    assert asked.row.label == b"pre_prov"


def test_no_such_partition() -> None:
    found = image.locate(flash(0x8000, row(b"nvs", 1, 0x9000, 0x6000)))
    assert (found.container, found.row) == ("flash", None)


@pytest.mark.parametrize("name", [row["file"] for row in fixture_truth()])
def test_bare_partitions(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    found = image.locate(data, name=name, label="x")
    assert (found.container, found.row, found.data) == ("partition", None, data)
    assert (found.name, found.label) == (name, "x")


def test_errors_know_their_codes() -> None:
    codes = {EspcertError: 1, UsageError: 2, UnreadableError: 3, FileError: 4}
    for kind, code in codes.items():
        error = kind("a-code", "what happened")
        assert (error.exit_code, error.code, str(error)) == (code, "a-code", "what happened")
        assert isinstance(error, EspcertError)
