"""TLV, written and read: the bytes of an entry, the firmware's limits, and the round trip."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import crc, known_images

from espcert_formats import items as kinds
from espcert_formats import tlv
from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, Item, Span

MAGIC = bytes.fromhex("11ba5eba")
SIZE = 0x2000


def entry(
    kind: int, data: bytes, *, subtype: int = 0, flags: int = 0, reserved: bytes = bytes(3)
) -> bytes:
    """One entry, made without the code under test."""
    head = (
        MAGIC + bytes((flags,)) + reserved + bytes((kind, subtype)) + struct.pack("<H", len(data))
    )
    body = head + data + bytes(-len(data) % 16)
    return body + struct.pack("<I", crc(body))


def item(kind: str, data: bytes, index: int = 0, flags: int | None = None) -> Item:
    return Item(kind, index, data, (), None, flags=flags)


def context(bits: int = 2048, key_id: int = 1, index: int = 0) -> Item:
    data = bytes(4) + bytes((key_id, 0)) + struct.pack("<H", bits)
    return Item(kinds.DS_CONTEXT, index, data, (), None, rsa_bits=bits, efuse_key_id=key_id)


def types_of(data: bytes) -> list[tuple[int, int]]:
    return [(found.type, found.subtype) for found in tlv.walk(data)]


def codes(contents: Contents) -> list[str]:
    return [anomaly.code for anomaly in contents.anomalies]


def read_entries(*entries: bytes) -> Contents:
    return tlv.read(b"".join(entries).ljust(SIZE, b"\xff"))


# --- The bytes of an entry ---------------------------------------------------------------------

GOLDEN = bytes.fromhex(
    "11ba5eba"  # magic 0xBA5EBA11
    "00"  # flags: plain
    "000000"  # reserved
    "01"  # type 1: device certificate
    "00"  # subtype 0
    "1300"  # length 19
    "2d2d2d2d2d424547494e2043455254494649"  # data: "-----BEGIN CERTIFI"
    "00"  # data: the NUL
    "00000000000000000000000000"  # padding to 32
    "e645358b"  # CRC-32, seed 0xFFFFFFFF, of all the above
)
GOLDEN_TEXT = b"-----BEGIN CERTIFI\0"

GOLDEN_DS = bytes.fromhex(
    "11ba5eba"  # magic
    "00000000"  # flags, reserved
    "03"  # type 3: DS data
    "00"  # subtype
    "1800"  # length 24
    "3f000000"  # rsa_length: 2048 / 32 - 1
    "000102030405060708090a0b0c0d0e0f"  # IV
    "c0c1c2c3"  # ciphertext (1200 or 1584 bytes in life)
    "0000000000000000"  # padding to 32
)


def test_golden_entry_is_written() -> None:
    assert tlv.encode(tlv.NewEntry(1, 0, 0, GOLDEN_TEXT)) == GOLDEN


def test_golden_entry_is_read() -> None:
    (found,) = tlv.read(GOLDEN + b"\xff" * 16).items
    assert found == Item(
        kinds.DEVICE_CERT, 0, GOLDEN_TEXT, (Span(12, 19),), True, flags=0, entry_offset=0
    )


def test_golden_ds_entry() -> None:
    iv, ciphertext = (
        item(kinds.DS_IV, bytes(range(16))),
        item(kinds.DS_CIPHERTEXT, b"\xc0\xc1\xc2\xc3"),
    )
    used = tlv.chain(tlv.entries_for([ciphertext, iv, context()]), integrity=False)
    assert used.startswith(GOLDEN_DS + struct.pack("<I", crc(GOLDEN_DS)))
    found = {one.kind: one for one in tlv.read(used).items}
    assert found[kinds.DS_IV].spans == (Span(16, 16),)
    assert found[kinds.DS_CIPHERTEXT].spans == (Span(32, 4),)
    assert found[kinds.DS_CIPHERTEXT].rsa_length == 0x3F


@pytest.mark.parametrize(("length", "total"), [(0, 16), (1, 32), (15, 32), (16, 32), (17, 48)])
def test_padding(length: int, total: int) -> None:
    encoded = tlv.encode(tlv.NewEntry(0, 0, 0, b"x" * length))
    assert encoded == entry(0, b"x" * length)
    assert len(encoded) == total
    assert set(encoded[12 + length : -4]) <= {0}


# --- The writer --------------------------------------------------------------------------------


def test_canonical_order() -> None:
    """Types 3, 4, 6, 0, 1, 2, 5, then the others as they came; integrity last."""
    source = [
        *(item("user_data_2", b"2"), item(kinds.ECDSA_SALT, b"s"), item("user_data_1", b"1")),
        *(item(kinds.PRIVATE_KEY, b"k"), item(kinds.DEVICE_CERT, b"d"), item("unknown_20", b"u")),
        *(item(kinds.CA_CERT, b"c"), item(kinds.SECURITY_CONFIG, bytes(40)), context()),
        *(item(kinds.DS_CIPHERTEXT, b"c" * 1200), item(kinds.DS_IV, bytes(16))),
    ]
    written = [number for number, _ in types_of(tlv.write(source, SIZE))]
    assert written == [3, 4, 6, 0, 1, 2, 5, 52, 51, 20, 9]


def test_order_within_a_type_is_the_sources() -> None:
    source = [item(kinds.CA_CERT, b"x", index) for index in (2, 0, 1)]
    source.insert(1, item(kinds.DEVICE_CERT, b"x"))
    assert types_of(tlv.write(source, SIZE)) == [(0, 2), (0, 0), (0, 1), (1, 0), (9, 0)]


def test_integrity_covers_what_lies_before_it() -> None:
    data = tlv.write([item(kinds.CA_CERT, b"ca"), item(kinds.PRIVATE_KEY, b"key")], SIZE)
    (seal,) = tlv.read(data).of_kind(kinds.INTEGRITY)
    assert seal.entry_offset == 64
    assert seal.data == hashlib.sha256(data[:64]).digest()


def test_integrity_can_be_left_out() -> None:
    data = tlv.write([item(kinds.CA_CERT, b"ca")], SIZE, integrity=False)
    assert types_of(data) == [(0, 0)]


def test_the_old_integrity_entry_is_not_carried() -> None:
    data = tlv.write([item(kinds.INTEGRITY, b"old"), item(kinds.CA_CERT, b"ca")], SIZE)
    assert types_of(data) == [(0, 0), (9, 0)]
    assert b"old" not in data


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        (None, 0),
        (0, 0),
        (0xFF, 0),
        (0x40, 0x40),
        (0x80, 0x80),
        (0x08, 0x08),
        (0x07, 7),
        (0xFE, 0xFE),
    ],
)
@pytest.mark.parametrize("kind", [kinds.CA_CERT, kinds.PRIVATE_KEY, "unknown_99"])
def test_flags_are_carried(kind: str, flags: int | None, written: int) -> None:
    data = tlv.write([item(kind, b"x", flags=flags)], SIZE)
    assert data[4] == written
    assert tlv.read(data).of_kind(kind)[0].flags == written


def test_flags_of_ds_data_are_the_ciphertexts() -> None:
    source = [item(kinds.DS_IV, bytes(16)), item(kinds.DS_CIPHERTEXT, b"c", flags=0x10), context()]
    assert tlv.write(source, SIZE)[4] == 0x10


@pytest.mark.parametrize("number", [7, 8, 50, 51, 55, 56, 200, 201, 202, 254, 255])
def test_any_type_is_carried(number: int) -> None:
    source = entry(number, b"payload", subtype=3, flags=0x21)
    data = tlv.write(read_entries(source).items, SIZE, integrity=False)
    assert data.startswith(source)
    assert tlv.type_of(tlv.kind_of(number)) == number


def test_no_type_has_two_names() -> None:
    names = [tlv.kind_of(number) for number in range(256)]
    assert len(set(names)) == 256
    assert names[50] == "unknown_50"
    assert names[:3] == ["ca_cert", "device_cert", "private_key"]
    with pytest.raises(KeyError):
        tlv.type_of("no_such_kind")


def test_reserved_bytes_of_payloads_are_carried() -> None:
    odd_context = bytes.fromhex("deadbeef") + b"\x02\x99" + struct.pack("<H", 3072)
    odd_config = b"\x05" + bytes(range(39))
    source = entry(4, odd_context) + entry(6, odd_config)
    data = tlv.write(tlv.read(source.ljust(SIZE, b"\xff")).items, SIZE, integrity=False)
    assert data.startswith(source)


# --- DS data -----------------------------------------------------------------------------------


def test_rsa_length_of_the_source_wins_over_the_contexts() -> None:
    source = entry(3, struct.pack("<I", 0x7F) + bytes(16) + b"c" * 1584) + entry(
        4, bytes(4) + b"\x01\x00" + struct.pack("<H", 2048)
    )
    data = tlv.write(tlv.read(source.ljust(SIZE, b"\xff")).items, SIZE, integrity=False)
    assert data.startswith(source)


@pytest.mark.parametrize(("bits", "word"), [(1024, 31), (2048, 63), (3072, 95), (4096, 127)])
def test_rsa_length_comes_from_the_context(bits: int, word: int) -> None:
    source = [item(kinds.DS_IV, bytes(16)), item(kinds.DS_CIPHERTEXT, b"c"), context(bits)]
    assert tlv.write(source, SIZE)[12:16] == struct.pack("<I", word)


def test_two_ds_keys_stay_apart() -> None:
    source = [
        one
        for index in (0, 1)
        for one in (
            item(kinds.DS_CIPHERTEXT, bytes((index,)) * 1200, index),
            item(kinds.DS_IV, bytes((0x10 + index,)) * 16, index),
            context(2048 + 1024 * index, index, index),
        )
    ]
    assert facts(tlv.read(tlv.write(source, SIZE)).items) == facts(source)


@pytest.mark.parametrize("missing", [kinds.DS_IV, kinds.DS_CONTEXT])
def test_incomplete_ds_material_is_refused(missing: str) -> None:
    source = [item(kinds.DS_IV, bytes(16)), item(kinds.DS_CIPHERTEXT, b"c"), context()]
    with pytest.raises(FormatError, match="together"):
        tlv.write([one for one in source if one.kind != missing], SIZE)


def test_ds_material_of_different_indexes_does_not_pair() -> None:
    source = [item(kinds.DS_IV, bytes(16), 1), item(kinds.DS_CIPHERTEXT, b"c"), context()]
    with pytest.raises(FormatError, match=r"ds_ciphertext\[0\]"):
        tlv.write(source, SIZE)


def test_an_iv_without_a_ciphertext_is_not_dropped() -> None:
    with pytest.raises(FormatError):
        tlv.write([item(kinds.DS_IV, bytes(16)), context()], SIZE)


# --- The firmware's limits ---------------------------------------------------------------------


def test_the_longest_entry() -> None:
    encoded = tlv.encode(tlv.NewEntry(51, 0, 0, bytes(65504)))
    assert len(encoded) == 65504 + 16
    assert len(encoded) < 0x10000


@pytest.mark.parametrize("length", [65505, 65520, 65521, 65535, 65536, 70000])
def test_longer_entries_are_refused(length: int) -> None:
    with pytest.raises(
        FormatError, match=rf"at most 65504 bytes.*{length} bytes of user_data_1\[2\]"
    ):
        tlv.write([item("user_data_1", bytes(length), 2)], 0x20000)


def test_sixteen_bytes_stay_free_at_the_end() -> None:
    used = b"".join(entry(51, bytes(16), subtype=index) for index in range(3))
    assert tlv.fill(used, len(used) + 16) == used + b"\xff" * 16
    with pytest.raises(FormatError) as caught:
        tlv.fill(used, len(used) + 15)
    assert caught.value.expected.startswith("at most 95 (0x5f) bytes used: 0x6f of the partition")
    assert caught.value.found == "96 (0x60) bytes, 1 too many"
    assert "larger size" in caught.value.hint


def test_sixty_four_kib_less_sixteen() -> None:
    assert len(tlv.fill(bytes(0xFFF0), 0x20000)) == 0x20000
    with pytest.raises(FormatError) as caught:
        tlv.fill(bytes(0xFFF1), 0x20000)
    assert "65520 (0xfff0)" in caught.value.expected
    assert caught.value.found == "65521 (0xfff1) bytes, 1 too many"
    assert caught.value.hint == ""


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31])
def test_a_tiny_partition_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        tlv.write([item(kinds.CA_CERT, b"x")], size)


def test_the_rest_is_erased_flash() -> None:
    data = tlv.write([item(kinds.CA_CERT, b"x")], SIZE)
    contents = tlv.read(data)
    assert len(data) == SIZE
    assert set(data[contents.end :]) == {0xFF}
    assert contents.anomalies == ()
    assert contents.current


# --- The round trip ----------------------------------------------------------------------------


def facts(items: Iterable[Item]) -> set[tuple[object, ...]]:
    """What a rewrite has to keep; flags 0xFF of the 2.0 generation and no flags mean 0."""
    return {
        (one.kind, one.index, one.data, 0 if one.flags in (None, 0xFF) else one.flags)
        for one in items
        if one.kind != kinds.INTEGRITY
    }


PLAIN_KINDS = [
    tlv.kind_of(number)
    for number in range(256)
    if number not in (tlv.TYPE_DS_DATA, tlv.TYPE_DS_CONTEXT, tlv.TYPE_INTEGRITY)
]
plain_items = st.builds(
    item,
    st.one_of(st.sampled_from(PLAIN_KINDS[:8]), st.sampled_from(PLAIN_KINDS)),
    st.binary(max_size=200),
    st.integers(0, 255),
    st.one_of(st.none(), st.integers(0, 255)),
)


@st.composite
def ds_items(draw: st.DrawFn) -> list[Item]:
    index = draw(st.integers(0, 255))
    bits, key_id = draw(st.integers(32, 0xFFFF)), draw(st.integers(0, 255))
    iv, ciphertext = draw(st.binary(min_size=16, max_size=16)), draw(st.binary(max_size=100))
    return [
        item(kinds.DS_IV, iv, index),
        item(kinds.DS_CIPHERTEXT, ciphertext, index),
        context(bits, key_id, index),
    ]


@st.composite
def item_lists(draw: st.DrawFn) -> list[Item]:
    unique = st.lists(plain_items, max_size=12, unique_by=lambda one: (one.kind, one.index))
    ds_keys = draw(st.lists(ds_items(), max_size=2, unique_by=lambda key: key[0].index))
    return draw(st.permutations([*draw(unique), *(one for key in ds_keys for one in key)]))


ODD_BUT_SOUND = {"unknown-flags", "contradicting-flags", "unknown-entry"}
"""What can be said of entries with any type and any flags."""


@settings(deadline=None)
@given(item_lists(), st.booleans())
def test_what_is_written_is_read(source: list[Item], integrity: bool) -> None:
    data = tlv.write(source, 0x4000, integrity=integrity)
    if not source and not integrity:
        assert data == b"\xff" * 0x4000
        return
    contents = tlv.read(data)
    assert facts(contents.items) == facts(source)
    assert len(contents.items) == len(source) + integrity
    assert all(one.intact for one in contents.items)
    assert contents.current
    assert {one.code for one in contents.anomalies} <= ODD_BUT_SOUND


@settings(deadline=None)
@given(item_lists())
def test_writing_again_changes_nothing(source: list[Item]) -> None:
    data = tlv.write(source, 0x4000)
    assert tlv.write(tlv.read(data).items, 0x4000) == data


# --- The reader is total -----------------------------------------------------------------------


def read_or_refuse(data: bytes) -> Contents | None:
    """Contents, or nothing where FormatError says that it is none; any other error fails."""
    tuple(tlv.fields(data))
    try:
        contents = tlv.read(data)
    except FormatError:
        assert tlv.recognise(data) is None
        return None
    assert all(one.spans[-1].offset + one.spans[-1].length <= len(data) for one in contents.items)
    assert contents.end <= len(data) == contents.size
    return contents


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert (read_or_refuse(data) is None) == (not data.startswith(MAGIC))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6))
def test_any_bytes_behind_magics(parts: list[bytes]) -> None:
    assert read_or_refuse(b"".join(MAGIC + part for part in parts)) is not None


TLV_IMAGES = [data for data in known_images() if data.startswith(MAGIC)]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_images(draws: st.DataObject) -> None:
    data = bytearray(draws.draw(st.sampled_from(TLV_IMAGES)))
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, len(data) - 1))
        change = draws.draw(st.binary(min_size=1, max_size=12))
        data[at : at + len(change)] = change
    read_or_refuse(bytes(data[: draws.draw(st.integers(0, len(data)))]))


# --- What flags and types mean -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "protection"),
    [
        (0x00, kinds.PLAINTEXT),
        (0xFF, kinds.PLAINTEXT),  # the 2.0 generation
        (0xC0, kinds.PLAINTEXT),
        (0x40, kinds.HMAC_DERIVED),
        (0x48, kinds.HMAC_DERIVED),  # derived is asked first
        (0x7F, kinds.HMAC_DERIVED),
        (0x08, kinds.ECDSA_PERIPHERAL),
        (0x0F, kinds.ECDSA_PERIPHERAL),
        (0x88, kinds.ECDSA_PERIPHERAL),  # before encrypted
        (0xC8, kinds.ECDSA_PERIPHERAL),
        (0x80, kinds.HMAC_ENCRYPTED),
        (0x90, kinds.HMAC_ENCRYPTED),
        (0x10, kinds.PLAINTEXT),
        (0x18, kinds.PLAINTEXT),
        (0x38, kinds.PLAINTEXT),
        (0x07, kinds.PLAINTEXT),
    ],
)
def test_protection(flags: int, protection: str) -> None:
    (key,) = read_entries(entry(2, b"key", flags=flags)).items
    assert key.protection == protection
    (other,) = read_entries(entry(1, b"cert", flags=flags)).items
    assert other.protection is None


@pytest.mark.parametrize(
    ("entries", "revision"),
    [
        ([entry(1, b"x", flags=0xFF, reserved=b"\xff" * 3)], "2.0"),
        ([entry(1, b"x")], "2.0.6+"),
        ([entry(2, b"x", flags=0x80)], "2.0.6+"),
        ([entry(2, b"", flags=0x40)], "2.1+"),
        ([entry(2, b"", flags=0x40), entry(5, b"salt")], "2.2.1+"),
        ([entry(2, b"", flags=0x08)], "2.3+"),
        ([entry(6, bytes(40))], "2.3+"),
        ([entry(0, b"x", subtype=1)], "2.4+"),
        ([entry(8, b"x")], "2.8+"),
        ([entry(9, bytes(32)), entry(8, b"x")], "2.9.2+"),
        ([entry(1, b"x", flags=0xFF, reserved=b"\xff" * 3), entry(5, b"s", flags=0xFF)], "2.2.1+"),
    ],
)
def test_revision(entries: list[bytes], revision: str) -> None:
    assert read_entries(*entries).revision == revision


def test_damaged_entries_do_not_raise_the_revision() -> None:
    broken = entry(9, bytes(32))[:-1] + b"\x00"
    assert read_entries(entry(1, b"x"), broken).revision == "2.0.6+"
    assert read_entries(broken).revision == "2.9.2+"


def test_context_and_config_are_understood() -> None:
    first, second = read_entries(
        entry(4, bytes.fromhex("00000000 05 00 0010")), entry(6, b"\x09" + bytes(39))
    ).items
    assert (first.rsa_bits, first.efuse_key_id) == (4096, 5)
    assert second.efuse_block == 9


@pytest.mark.parametrize(("kind", "length"), [(4, 7), (4, 9), (4, 0), (6, 39), (6, 41)])
def test_malformed_context_and_config_are_listed(kind: int, length: int) -> None:
    (found,) = read_entries(entry(kind, bytes(length))).items
    assert found.intact
    assert (found.rsa_bits, found.efuse_key_id, found.efuse_block) == (None, None, None)


@pytest.mark.parametrize("length", [0, 3, 4, 19])
def test_ds_data_without_room_for_an_iv(length: int) -> None:
    (found,) = read_entries(entry(3, bytes(length))).items
    assert (found.kind, len(found.data), found.intact) == (kinds.DS_CIPHERTEXT, length, True)


def test_ds_data_without_ciphertext() -> None:
    found = {one.kind: one for one in read_entries(entry(3, bytes(20))).items}
    assert found[kinds.DS_CIPHERTEXT].data == b""
    assert len(found[kinds.DS_IV].data) == 16


# --- The walk ----------------------------------------------------------------------------------


def test_the_walk_goes_past_a_bad_crc() -> None:
    broken = bytearray(entry(0, b"ca"))
    broken[12] ^= 1
    contents = read_entries(bytes(broken), entry(1, b"device"))
    assert [(one.kind, one.intact) for one in contents.items] == [
        ("ca_cert", False),
        ("device_cert", True),
    ]
    assert codes(contents) == [kinds.ITEM_CRC]
    assert not contents.current


def test_the_walk_ends_at_a_wrong_magic() -> None:
    contents = read_entries(entry(0, b"ca"), bytes(16), entry(1, b"device"))
    assert [one.kind for one in contents.items] == ["ca_cert"]
    assert contents.end == 32
    (stray,) = contents.anomalies
    assert (stray.code, stray.offset) == (kinds.TRAILING_DATA, 32)


def test_the_walk_is_limited() -> None:
    """A mebibyte of empty entries: sixteen times what the firmware's offset reaches."""
    data = entry(51, b"") * (0x140000 // 16)
    entries = list(tlv.walk(data))
    assert len(entries) == 0x100000 // 16
    assert entries[-1].end == 0x100000


@pytest.mark.parametrize("cut", [1, 4, 5, 20, 35])
def test_a_cut_entry_is_damage(cut: int) -> None:
    data = entry(0, b"ca") + entry(1, b"d" * 30)
    contents = tlv.read(data[: len(data) - cut])
    assert contents.items[0].kind == "ca_cert"
    assert contents.items[0].intact
    assert all(one.intact is False for one in contents.items[1:])
    assert contents.end == 32
    assert kinds.ITEM_CRC in codes(contents)
    (damage,) = [one for one in contents.anomalies if one.code == kinds.ITEM_CRC]
    assert (damage.offset, damage.kind) == (32, kinds.DEVICE_CERT)


def test_a_cut_entry_whose_data_are_there_is_listed() -> None:
    contents = tlv.read(entry(1, b"d" * 16)[:-1])
    (found,) = contents.items
    assert (found.data, found.intact) == (b"d" * 16, False)


def test_a_header_at_the_very_end() -> None:
    assert tlv.read(MAGIC).items == ()
    assert tlv.read(entry(0, b"")[:12]).items[0].intact is False


@pytest.mark.parametrize("length", [65505, 65520, 65521, 65535])
def test_entries_that_the_firmware_loops_on_are_read(length: int) -> None:
    contents = tlv.read((entry(51, bytes(length)) + entry(1, b"device")).ljust(0x12000, b"\xff"))
    assert [one.kind for one in contents.items] == ["user_data_1", "device_cert"]
    assert all(one.intact for one in contents.items)
    assert len(contents.items[0].data) == length


def test_end_marker() -> None:
    used = entry(1, b"device")
    (marker,) = read_entries(used, b"\xff\xff\x00\x00").anomalies
    assert (marker.code, marker.offset) == (kinds.END_MARKER, len(used))
    assert tlv.read(used + b"\xff\xff\x00\x00").anomalies == (marker,)
    assert tlv.read(used + b"\xff\xff\x00\x00").current


def test_data_behind_the_end_marker() -> None:
    used = entry(1, b"device") + b"\xff\xff\x00\x00"
    contents = read_entries(used, b"\xff\xff\x00\x00")
    assert codes(contents) == [kinds.END_MARKER, kinds.TRAILING_DATA]
    assert contents.anomalies[1].offset == len(used) + 2


@pytest.mark.parametrize("gap", [0, 1, 16, 100])
def test_trailing_data(gap: int) -> None:
    used = entry(1, b"device")
    contents = read_entries(used, b"\xff" * gap, b"\x5a")
    (stray,) = contents.anomalies
    assert (stray.code, stray.offset) == (kinds.TRAILING_DATA, len(used) + gap)
    assert "0x5a" in stray.found


def test_duplicates() -> None:
    contents = read_entries(entry(1, b"one"), entry(1, b"two"), entry(1, b"x", subtype=1))
    (twice,) = contents.anomalies
    assert (twice.code, twice.offset, twice.kind) == (kinds.DUPLICATE_ENTRY, 32, kinds.DEVICE_CERT)
    assert [one.data for one in contents.items] == [b"one", b"two", b"x"]
    assert not contents.current


# --- Current or not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "reserved", "current"),
    [
        (0x00, "000000", True),
        (0x40, "000000", True),
        (0xFF, "ffffff", False),
        (0xFF, "000000", False),
        (0x00, "ffffff", False),
        (0x00, "000001", False),
    ],
)
def test_current(flags: int, reserved: str, current: bool) -> None:
    made = entry(1, b"x", flags=flags, reserved=bytes.fromhex(reserved))
    assert read_entries(made).current is current


def test_two_integrity_entries_are_not_current() -> None:
    contents = read_entries(entry(1, b"x"), entry(9, bytes(32)), entry(9, bytes(32)))
    assert not contents.current


def test_rewriting_the_2_0_generation() -> None:
    old = entry(1, b"x", flags=0xFF, reserved=b"\xff" * 3)
    items = tlv.read(old.ljust(SIZE, b"\xff")).items
    assert tlv.write(items, SIZE, integrity=False).startswith(entry(1, b"x"))


# --- Recognition -------------------------------------------------------------------------------


def test_recognition_is_by_the_first_word() -> None:
    assert tlv.recognise(MAGIC) is not None
    assert tlv.recognise(b"\xff" + MAGIC) is None
    assert tlv.recognise(MAGIC[:3]) is None


@pytest.mark.parametrize("data", [b"", b"\x11", b"\xff" * 100])
def test_refusal_names_what_was_expected(data: bytes) -> None:
    with pytest.raises(FormatError, match="11 ba 5e ba") as caught:
        tlv.read(data)
    assert (caught.value.layout, caught.value.offset) == ("tlv", 0)


def test_the_bytes_leave_the_label_open() -> None:
    assert tlv.read(entry(1, b"x"), "anything").label is None


def test_items_do_not_show_their_bytes() -> None:
    (key,) = read_entries(entry(2, b"top secret")).items
    assert "secret" not in repr(replace(key, index=1))
