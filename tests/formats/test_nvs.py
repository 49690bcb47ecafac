"""NVS: which value counts, what mounting repairs, and what is damage; images built slot by slot."""

from __future__ import annotations

import struct
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import (
    ERASED_PAGE,
    NVS_ACTIVE,
    NVS_BLOB,
    NVS_CHUNK,
    NVS_ERASED,
    NVS_FREEING,
    NVS_FULL,
    NVS_ILLEGAL,
    NVS_SLOT,
    NVS_U16,
    NVS_WRITTEN,
    NvsPage,
    known_images,
    nvs_blob,
    nvs_data,
    nvs_header,
    nvs_image,
    nvs_index,
    nvs_namespace,
    nvs_number,
    nvs_string,
)

from espcert_formats import items as kinds
from espcert_formats import nvs
from espcert_formats.errors import FormatError
from espcert_formats.items import Contents, OtherEntry

NS = nvs_namespace("esp_secure_cert", 1)
OLD = b"the old certificate, more than one slot\0"
NEW = b"the new certificate, more than one slot\0"


def device_cert(data: bytes) -> bytes:
    return nvs_string(1, "dev_cert", data)


def page(*items: bytes, sequence: int = 0, state: int = NVS_ACTIVE, version: int = 0xFE) -> NvsPage:
    return NvsPage(sequence, state, version).add(*items)


def values(contents: Contents) -> dict[str, bytes]:
    return {item.kind: item.data for item in contents.items if item.intact}


def damage(contents: Contents) -> list[int]:
    """Offsets of signs of damage."""
    return [one.offset for one in contents.anomalies if one.code == kinds.NVS_DAMAGE]


def slot_offset(slot: int, page_number: int = 0) -> int:
    return page_number * 4096 + 64 + slot * NVS_SLOT


def check_sound(contents: Contents, expected: dict[str, bytes], *codes: str) -> None:
    """`codes` are those of what is no damage: repairs, and erased values."""
    assert values(contents) == expected
    assert [one.code for one in contents.anomalies] == list(codes)
    assert contents.mountable


# --- Values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0xFF, 0xFE])
@pytest.mark.parametrize("length", [1, 31, 32, 33, 1000, 3900])
def test_strings(length: int, version: int) -> None:
    text = b"x" * (length - 1) + b"\0"
    contents = nvs.read(nvs_image(page(NS, device_cert(text), version=version)))
    check_sound(contents, {kinds.DEVICE_CERT: text})
    (item,) = contents.items
    assert item.spans == ((slot_offset(2), length),)


def test_all_keys() -> None:
    items = [
        *(nvs_string(1, key, key.encode() + b"\0") for key in ("dev_cert", "ca_cert", "priv_key")),
        *nvs_blob(1, "cipher_c", b"c" * 1200),
        *nvs_blob(1, "iv", b"i" * 16),
        nvs_number(1, "rsa_len", 2048, NVS_U16),
        nvs_number(1, "ds_key_id", 3),
    ]
    contents = nvs.read(nvs_image(page(NS, *items)))
    context = bytes(4) + b"\x03\x00" + struct.pack("<H", 2048)
    check_sound(
        contents,
        {
            kinds.DEVICE_CERT: b"dev_cert\0",
            kinds.CA_CERT: b"ca_cert\0",
            kinds.PRIVATE_KEY: b"priv_key\0",
            kinds.DS_CIPHERTEXT: b"c" * 1200,
            kinds.DS_IV: b"i" * 16,
            kinds.DS_CONTEXT: context,
        },
    )
    assert contents.other_entries == ()
    assert contents.of_kind(kinds.PRIVATE_KEY)[0].protection == kinds.PLAINTEXT


@pytest.mark.parametrize("known", ["rsa_len", "ds_key_id"])
def test_half_a_context(known: str) -> None:
    number = nvs_number(1, known, 5, NVS_U16 if known == "rsa_len" else 1)
    (item,) = nvs.read(nvs_image(page(NS, number))).items
    expected = (5, None) if known == "rsa_len" else (None, 5)
    assert (item.kind, item.data) == (kinds.DS_CONTEXT, b"")
    assert (item.rsa_bits, item.efuse_key_id) == expected


def test_a_value_of_another_type_is_another_entry() -> None:
    contents = nvs.read(nvs_image(page(NS, nvs_number(1, "dev_cert", 7))))
    assert contents.items == ()
    assert contents.other_entries == (OtherEntry("esp_secure_cert", "dev_cert", "u8", 1),)


@pytest.mark.parametrize("start", [0, 0x80])
def test_blobs_in_one_chunk(start: int) -> None:
    contents = nvs.read(nvs_image(page(NS, *nvs_blob(1, "cipher_c", b"c" * 1200, start))))
    check_sound(contents, {kinds.DS_CIPHERTEXT: b"c" * 1200})


@pytest.mark.parametrize("start", [0, 0x80])
def test_blobs_over_pages(start: int) -> None:
    """Chunks on two pages, the later page lying first."""
    first = nvs_data(1, NVS_CHUNK, "cipher_c", b"1" * 3000, chunk=start)
    second = nvs_data(1, NVS_CHUNK, "cipher_c", b"2" * 500, chunk=start + 1)
    index = nvs_index(1, "cipher_c", 3500, 2, start)
    pages = page(second, index, sequence=6), page(NS, first, sequence=5, state=NVS_FULL)
    contents = nvs.read(nvs_image(*pages))
    check_sound(contents, {kinds.DS_CIPHERTEXT: b"1" * 3000 + b"2" * 500})
    assert contents.items[0].spans == ((slot_offset(2, 1), 3000), (slot_offset(1), 500))


@pytest.mark.parametrize("version", [0xFF, 0xFE])
def test_old_blobs(version: int) -> None:
    old = nvs_data(1, NVS_BLOB, "cipher_c", b"c" * 1200)
    contents = nvs.read(nvs_image(page(NS, old, version=version)))
    check_sound(contents, {kinds.DS_CIPHERTEXT: b"c" * 1200})


def test_a_blob_in_chunks_wins_over_an_old_one() -> None:
    old = nvs_data(1, NVS_BLOB, "iv", b"o" * 16)
    later = page(*nvs_blob(1, "iv", b"n" * 16), sequence=1)
    contents = nvs.read(nvs_image(page(NS, old, state=NVS_FULL), later))
    check_sound(contents, {kinds.DS_IV: b"n" * 16}, kinds.NVS_REPAIR)


def test_bad_data_crc() -> None:
    broken = bytearray(device_cert(NEW))
    broken[40] ^= 1
    contents = nvs.read(nvs_image(page(NS, bytes(broken))))
    (item,) = contents.items
    assert item.intact is False
    assert [one.code for one in contents.anomalies] == [kinds.ITEM_CRC]


# --- Which of several --------------------------------------------------------------------------


def test_pages_are_ordered_by_sequence() -> None:
    """The page that lies first is the newer one; its last item erases the older copy."""
    newer = page(device_cert(NEW), sequence=9)
    older = page(NS, device_cert(OLD), sequence=8, state=NVS_FULL)
    contents = nvs.read(nvs_image(newer, older))
    assert values(contents) == {kinds.DEVICE_CERT: NEW}


def test_rewritten() -> None:
    built = page(NS, device_cert(OLD), device_cert(NEW)).erase(1, 3)
    check_sound(nvs.read(nvs_image(built)), {kinds.DEVICE_CERT: NEW}, kinds.NVS_OLD_VALUE)


def test_in_page_duplicates_on_an_active_page() -> None:
    contents = nvs.read(nvs_image(page(NS, device_cert(OLD), device_cert(NEW))))
    assert values(contents) == {kinds.DEVICE_CERT: NEW}


def test_in_page_duplicates_on_a_full_page() -> None:
    """No repair there: the first is found, and the second contradicts it."""
    built = page(NS, device_cert(OLD), device_cert(NEW), state=NVS_FULL)
    contents = nvs.read(nvs_image(built))
    assert values(contents) == {kinds.DEVICE_CERT: OLD}
    assert damage(contents) == [slot_offset(4)]


def test_only_the_last_item_erases_its_older_copy() -> None:
    older = page(NS, device_cert(OLD), state=NVS_FULL)
    newer = page(device_cert(NEW), nvs_string(1, "ca_cert", b"ca\0"), sequence=1)
    contents = nvs.read(nvs_image(older, newer))
    assert values(contents) == {kinds.DEVICE_CERT: OLD, kinds.CA_CERT: b"ca\0"}
    assert damage(contents) == [slot_offset(0, 1)]


def test_equal_copies_do_not_contradict() -> None:
    older = page(NS, device_cert(OLD), state=NVS_FULL)
    newer = page(device_cert(OLD), nvs_string(1, "ca_cert", b"ca\0"), sequence=1)
    contents = nvs.read(nvs_image(older, newer))
    check_sound(contents, {kinds.DEVICE_CERT: OLD, kinds.CA_CERT: b"ca\0"})


def test_the_first_definition_of_a_namespace_counts() -> None:
    items = (
        NS,
        nvs_namespace("esp_secure_cert", 2),
        device_cert(OLD),
        nvs_string(2, "dev_cert", NEW),
    )
    contents = nvs.read(nvs_image(page(*items, state=NVS_FULL)))
    assert values(contents) == {kinds.DEVICE_CERT: OLD}


def test_erased_value_behind_the_live_one() -> None:
    built = page(NS, device_cert(OLD), device_cert(NEW)).erase(4, 3)
    contents = nvs.read(nvs_image(built))
    assert values(contents) == {kinds.DEVICE_CERT: OLD}
    assert damage(contents) == [slot_offset(4)]


def test_erased_value_that_nothing_replaces() -> None:
    contents = nvs.read(nvs_image(page(NS, device_cert(OLD)).erase(1, 3)))
    assert contents.items == ()
    assert damage(contents) == [slot_offset(1)]


def test_purged_slots_are_no_damage() -> None:
    """ESP-IDF from v6.1 overwrites erased entries with zeros."""
    built = page(NS, bytes(3 * NVS_SLOT), device_cert(NEW)).erase(1, 3)
    check_sound(nvs.read(nvs_image(built)), {kinds.DEVICE_CERT: NEW})


# --- Interrupted -------------------------------------------------------------------------------


def interrupted(first: NvsPage, written: int) -> bytes:
    """The next certificate behind a page's items: the header's state and so many slots of it."""
    raw, start = device_cert(NEW), first.used
    first.write(start, raw[: written * NVS_SLOT])
    first.mark(start, NVS_WRITTEN)
    return nvs_image(first)


@pytest.mark.parametrize("written", [1, 2])
def test_an_interrupted_write_leaves_the_older_value(written: int) -> None:
    contents = nvs.read(interrupted(page(NS, device_cert(OLD)), written))
    check_sound(contents, {kinds.DEVICE_CERT: OLD}, kinds.NVS_REPAIR)


@pytest.mark.parametrize("written", [1, 2])
def test_an_interrupted_write_without_an_older_value_is_damage(written: int) -> None:
    contents = nvs.read(interrupted(page(NS), written))
    assert contents.items == ()
    assert damage(contents) == [slot_offset(1)]


def test_an_item_whose_states_are_lost_is_damage() -> None:
    contents = nvs.read(interrupted(page(NS, device_cert(OLD)), 3))
    assert values(contents) == {kinds.DEVICE_CERT: OLD}
    assert damage(contents)


@pytest.mark.parametrize("length", [4, 16, 32])
def test_a_header_without_its_state_is_passed_over(length: int) -> None:
    first = page(NS, device_cert(OLD))
    first.write(first.used, device_cert(NEW)[:length])
    check_sound(nvs.read(nvs_image(first)), {kinds.DEVICE_CERT: OLD}, kinds.NVS_REPAIR)


# --- Freeing -----------------------------------------------------------------------------------


def freeing(*copied: bytes) -> Contents:
    """A page that was being reclaimed when power failed, and the page that it was copied to."""
    old = page(NS, device_cert(OLD), sequence=3, state=NVS_FREEING)
    return nvs.read(nvs_image(old, page(*copied, sequence=4)))


@pytest.mark.parametrize("copied", [(), (NS,), (NS, device_cert(OLD))])
def test_a_freeing_page_still_counts(copied: tuple[bytes, ...]) -> None:
    check_sound(freeing(*copied), {kinds.DEVICE_CERT: OLD}, kinds.NVS_REPAIR)


def test_what_is_moved_from_a_freeing_page_is_the_newest() -> None:
    """So of two copies the one that stays where it is comes first."""
    old = page(NS, device_cert(OLD), sequence=3, state=NVS_FREEING)
    full = page(device_cert(NEW), nvs_number(1, "ds_key_id", 1), sequence=4, state=NVS_FULL)
    contents = nvs.read(nvs_image(old, full))
    assert values(contents)[kinds.DEVICE_CERT] == NEW
    assert damage(contents) == [slot_offset(1)]


def test_another_value_on_the_page_that_is_given_up() -> None:
    contents = freeing(NS, device_cert(NEW))
    assert values(contents) == {kinds.DEVICE_CERT: OLD}
    assert damage(contents) == [slot_offset(1, 1)]


# --- Blobs that do not add up ------------------------------------------------------------------


@pytest.mark.parametrize(
    "items",
    [
        nvs_blob(1, "iv", b"i" * 16)[:1],
        nvs_blob(1, "iv", b"i" * 16)[1:],
        [nvs_blob(1, "iv", b"i" * 16)[0], nvs_index(1, "iv", 17, 1)],
        [nvs_blob(1, "iv", b"i" * 16)[0], nvs_index(1, "iv", 16, 2)],
        [nvs_blob(1, "iv", b"i" * 16)[0], nvs_index(1, "iv", 16, 1, 0x80)],
    ],
    ids=["no-index", "no-chunk", "size", "count", "start"],
)
def test_orphans_and_mismatches(items: list[bytes]) -> None:
    contents = nvs.read(nvs_image(page(NS, *items)))
    assert contents.items == ()
    assert damage(contents)


# --- Pages -------------------------------------------------------------------------------------


def test_bad_header_crc() -> None:
    broken = page(NS, device_cert(NEW))
    broken.data[28] ^= 1
    assert nvs.recognise(nvs_image(broken)) is None
    contents = nvs.read(nvs_image(page(NS, device_cert(OLD), state=NVS_FULL), broken))
    assert values(contents) == {kinds.DEVICE_CERT: OLD}
    assert damage(contents) == [0x1000]
    assert contents.mountable


@pytest.mark.parametrize("state", [0, 0xFFFFFFF0, 0xFFFFFFFF, 0xFFFFFFFD])
def test_a_state_that_no_longer_counts(state: int) -> None:
    contents = nvs.read(nvs_image(page(NS, device_cert(NEW), state=state)))
    assert contents.layout == "nvs"
    assert contents.items == ()
    assert damage(contents) == [0]


@pytest.mark.parametrize("version", [0xFD, 0x00])
def test_a_newer_version_is_not_mountable(version: int) -> None:
    newer = page(sequence=1, version=version)
    contents = nvs.read(nvs_image(page(NS, device_cert(OLD), state=NVS_FULL), newer))
    assert not contents.mountable
    assert values(contents) == {kinds.DEVICE_CERT: OLD}
    assert damage(contents) == [0x1000]


@pytest.mark.parametrize(("size", "mountable"), [(0x1000, False), (0x2000, False), (0x3000, True)])
def test_three_pages_at_least(size: int, mountable: bool) -> None:
    contents = nvs.read(nvs_image(page(NS, device_cert(NEW)), size=size))
    assert values(contents) == {kinds.DEVICE_CERT: NEW}
    assert contents.mountable is mountable
    assert bool(damage(contents)) is not mountable


def test_no_free_page() -> None:
    pages = [page(NS, device_cert(NEW), state=NVS_FULL), page(sequence=1), page(sequence=2)]
    contents = nvs.read(nvs_image(*pages, size=0x3000))
    assert values(contents) == {kinds.DEVICE_CERT: NEW}
    assert not contents.mountable
    assert damage(contents) == [0]


@pytest.mark.parametrize("size", [0x3001, 0x3FFF])
def test_a_part_of_a_page(size: int) -> None:
    contents = nvs.read(nvs_image(page(NS, device_cert(NEW)), size=size))
    assert values(contents) == {kinds.DEVICE_CERT: NEW}
    assert damage(contents) == [size]


@pytest.mark.parametrize("state", [NVS_ACTIVE, NVS_FULL])
def test_an_item_with_a_slot_that_is_not_written(state: int) -> None:
    first = page(NS, device_cert(NEW), nvs_string(1, "ca_cert", b"ca\0"), state=state)
    first.mark(2, NVS_ERASED)
    contents = nvs.read(nvs_image(first))
    assert values(contents) == {kinds.CA_CERT: b"ca\0"}
    assert slot_offset(1) in damage(contents)


def test_an_illegal_slot_state() -> None:
    first = page(NS, nvs_number(1, "ds_key_id", 1), nvs_string(1, "ca_cert", b"ca\0"))
    first.mark(1, NVS_ILLEGAL)
    contents = nvs.read(nvs_image(first))
    assert values(contents) == {kinds.CA_CERT: b"ca\0"}
    assert slot_offset(1) in damage(contents)


@pytest.mark.parametrize(
    "bad",
    [
        nvs_header(1, 0x33, 1, "dev_cert", b""),
        nvs_header(1, 0x01, 2, "ds_key_id", b"\x01"),
        nvs_header(1, 0x21, 1, "dev_cert", struct.pack("<HHI", 40, 0xFFFF, 0)),
        nvs_header(1, 0x21, 200, "dev_cert", struct.pack("<HHI", 199 * 32, 0xFFFF, 0)),
        nvs_header(1, 0x42, 2, "iv", struct.pack("<HHI", 16, 0xFFFF, 0)),
        b"\0" + nvs_number(1, "ds_key_id", 1)[1:],
    ],
    ids=["type", "span-of-a-number", "span", "span-over-the-page", "chunk-ff", "crc"],
)
@pytest.mark.parametrize("state", [NVS_ACTIVE, NVS_FULL])
def test_inconsistent_headers_are_damage(bad: bytes, state: int) -> None:
    first = page(NS, bad, nvs_string(1, "ca_cert", b"ca\0"), state=state)
    contents = nvs.read(nvs_image(first))
    assert values(contents) == {kinds.CA_CERT: b"ca\0"}
    assert damage(contents) == [slot_offset(1)]


# --- Namespaces --------------------------------------------------------------------------------

BOTH = [
    nvs_namespace("pre_prov", 1),
    nvs_namespace("esp_secure_cert", 2),
    nvs_string(1, "dev_cert", OLD),
    nvs_string(2, "dev_cert", NEW),
]


@pytest.mark.parametrize(
    ("label", "layout", "value"),
    [(None, "nvs", NEW), ("esp_secure_cert", "nvs", NEW), ("pre_prov", "nvs_legacy", OLD)],
)
def test_both_namespaces(label: str | None, layout: str, value: bytes) -> None:
    contents = nvs.read(nvs_image(page(*BOTH)), label)
    assert contents.layout == layout
    check_sound(contents, {kinds.DEVICE_CERT: value})
    (other,) = contents.other_entries
    assert (other.key, other.type) == ("dev_cert", "string")


def test_other_entries() -> None:
    items = [
        *(NS, nvs_namespace("app", 2), device_cert(NEW), nvs_number(2, "count", 7, 0x04)),
        *(nvs_string(2, "ssid", b"my network\0"), *nvs_blob(1, "blob", b"123")),
    ]
    contents = nvs.read(nvs_image(page(*items)))
    found = {(one.namespace, one.key, one.type) for one in contents.other_entries}
    assert found == {
        ("app", "count", "u32"),
        ("app", "ssid", "string"),
        ("esp_secure_cert", "blob", "blob"),
    }


def test_length_of_other_strings_counts_the_nul() -> None:
    contents = nvs.read(nvs_image(page(NS, nvs_string(1, "ssid", b"my network\0"))))
    assert contents.other_entries == (OtherEntry("esp_secure_cert", "ssid", "string", 11),)


def test_undefined_namespace() -> None:
    contents = nvs.read(nvs_image(page(NS, nvs_number(7, "lost", 1))))
    assert damage(contents) == [slot_offset(1)]
    assert [one.namespace for one in contents.other_entries] == ["index 7"]


@pytest.mark.parametrize(
    ("name", "layout"), [("pre_prov", "nvs_legacy"), ("esp_ds_ns", "nvs_esp_ds"), ("app", None)]
)
def test_recognition(name: str, layout: str | None) -> None:
    data = nvs_image(page(nvs_namespace(name, 1)))
    evidence = nvs.recognise(data)
    assert (evidence.layout if evidence else None) == layout
    assert nvs.namespaces(data) == (name,)
    if layout is None:
        with pytest.raises(FormatError):
            nvs.read(data)


# --- The reader is total -----------------------------------------------------------------------

KNOWN = [data for data in known_images() if nvs.recognise(data)]


def read_or_refuse(data: bytes) -> Contents | None:
    """Contents, or nothing where FormatError says that it is none; any other error fails."""
    tuple(nvs.fields(data))
    try:
        return nvs.read(data)
    except FormatError:
        assert nvs.recognise(data) is None
        return None


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_changed_images(draws: st.DataObject) -> None:
    data = bytearray(draws.draw(st.sampled_from(KNOWN)))
    for _ in range(draws.draw(st.integers(1, 5))):
        at = draws.draw(st.integers(0, len(data) // 4096 - 1)) * 4096
        at += draws.draw(st.one_of(st.integers(0, 63), st.integers(0, 4095)))
        new = draws.draw(st.binary(min_size=1, max_size=32))[: len(data) - at]
        data[at : at + len(new)] = new
    read_or_refuse(bytes(data[: draws.draw(st.integers(0, len(data)))]))


slots = st.builds(
    nvs_header,
    st.integers(0, 3),
    st.sampled_from([0x01, 0x02, 0x04, 0x21, 0x41, 0x42, 0x48, 0x33]),
    st.integers(0, 4),
    st.sampled_from(["dev_cert", "iv", "esp_secure_cert", "rsa_len"]),
    st.sampled_from([bytes(8), b"\x01", struct.pack("<HHI", 32, 0, 0), b"\x10\0\0\0\x01\x00"]),
    chunk=st.sampled_from([0, 1, 0x80, 0xFF]),
)
hostile_pages = st.builds(
    lambda sequence, state, headers: page(NS, *headers, sequence=sequence, state=state),
    st.integers(0, 3),
    st.sampled_from([NVS_ACTIVE, NVS_FULL, NVS_FREEING, 0]),
    st.lists(slots, max_size=30),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(hostile_pages, min_size=1, max_size=4))
def test_sound_headers_in_any_order(pages: list[NvsPage]) -> None:
    assert read_or_refuse(nvs_image(*pages)) is not None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert read_or_refuse(data) is None


# --- Size --------------------------------------------------------------------------------------


def full_of(pages: int, *items: bytes) -> bytes:
    """A partition of pages that are full of these one-slot items, under the same keys."""
    body = NvsPage(0, NVS_FULL).add(NS, *(items * 125)[:125]).data[32:]
    headers = (NvsPage(number, NVS_FULL).data[:32] for number in range(pages - 1))
    return nvs_image(*(bytes(header + body) for header in headers), ERASED_PAGE, size=pages * 4096)


MANY_KEYS = [nvs_number(1, f"key{number}", number) for number in range(125)]
CROWDS = {
    "many-keys": MANY_KEYS,
    "one-key": [nvs_number(1, "ds_key_id", 1)],
    "indices": [nvs_index(1, "iv", 16, 1)],
    "indices-of-nothing": [nvs_index(1, "iv", 0, 0)],
    "chunks": [nvs_data(1, NVS_CHUNK, "iv", b"", chunk=0)],
    "chunks-and-indices": [nvs_data(1, NVS_CHUNK, "iv", b"", chunk=0), nvs_index(1, "iv", 0, 1)],
    "empty-strings": [nvs_string(1, "dev_cert", b"")],
}


def lines_to_read(data: bytes) -> int:
    """How many lines of code are run to read an image: its cost, whatever the machine."""
    number = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal number
        number += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        nvs.read(data)
    finally:
        sys.settrace(before)
    return number


@pytest.mark.parametrize("items", CROWDS.values(), ids=CROWDS)
def test_the_work_grows_with_the_image(items: list[bytes]) -> None:
    """Twice the pages: about twice the lines, not four times."""
    few, many = (lines_to_read(full_of(pages, *items)) for pages in (9, 17))
    assert many < 2.4 * few


def test_four_mebibytes_are_read() -> None:
    """1023 full pages of single-slot entries: 128,000 items."""
    contents = nvs.read(full_of(1024, *MANY_KEYS))
    assert contents.size == 0x400000
    assert len(contents.other_entries) == 125
