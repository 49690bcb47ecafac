"""`espcert.migration`: what is kept, what is remade, and where it says no."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES, crc, fixture_truth

from espcert import detection, image, migration
from espcert.catalogue import ACCEPTABLE, AS_STORED, CATALOGUE, ERROR
from espcert.errors import InternalError, UnreadableError, UsageError
from espcert.migration import Migration, Options
from espcert_formats import tlv
from espcert_formats.items import Item

TRUTH = {Path(row["file"]).stem: row for row in fixture_truth()}
LAYOUTS = ("tlv", "cust_flash", "cust_flash_legacy", "nvs", "nvs_legacy", "nvs_esp_ds")
SEALS = ("integrity", "signature_block")
MAGIC = b"\x11\xba\x5e\xba"


def migrate_bytes(data: bytes, *, label: str | None = None, **options: Any) -> Migration:
    """Migrate an image's bytes; `options` are the fields of `Options`."""
    reading = detection.detect(image.locate(data, label=label))
    return migration.migrate(reading, Options(**options))


def data_of(name: str) -> bytes:
    return (FIXTURES / "images" / f"{name}.bin").read_bytes()


def codes(result: Migration) -> set[str]:
    return {finding.code for finding in result.blocking}


def entry(
    kind: int, data: bytes, *, subtype: int = 0, flags: int = 0, fill: bytes = b"\0"
) -> bytes:
    """A TLV entry by the test's own hand."""
    body = MAGIC + bytes((flags,)) + fill * 3 + struct.pack("<BBH", kind, subtype, len(data))
    body += data + bytes(-len(data) % 16)
    return body + struct.pack("<I", crc(body))


def sealed(body: bytes) -> bytes:
    """Entries with their integrity entry."""
    return body + entry(9, hashlib.sha256(body).digest())


AS_IS = [code for code in ACCEPTABLE if CATALOGUE[code].accepted == AS_STORED]
"""What an image of made-up bytes needs: no certificate or key of it is one."""
MENDED = {"tlv_ecdsa_leaked_key", "tlv_no_nul", "cust_flash_equal_lengths"}


each_fixture = pytest.mark.parametrize("name", TRUTH)


# --- Twice is once -----------------------------------------------------------------------------


@each_fixture
def test_migrating_twice_changes_nothing_more(name: str) -> None:
    once = migrate_bytes(data_of(name), accept=set(ACCEPTABLE) - {"leaked-key"}).output
    assert once is not None
    again = migrate_bytes(once)
    assert again.output == once
    assert again.changes == ()
    assert again.contents is not None
    assert again.contents.current


@each_fixture
def test_migrating_is_repeatable(name: str) -> None:
    first, second = (migrate_bytes(data_of(name), accept=ACCEPTABLE) for _ in range(2))
    assert (first.output, first.changes) == (second.output, second.changes)


@each_fixture
def test_a_current_image_comes_back_as_it_was(name: str) -> None:
    data = data_of(name)
    contents = detection.detect(image.locate(data)).require()
    result = migrate_bytes(data)
    if not contents.current or result.output is None:
        row = TRUTH[name]
        assert row["layout"] != "tlv" or row["revision"] == "2.0" or row["refused"]
        return
    if name in MENDED:
        assert result.changes[0].startswith("mended: ")
        return
    used = contents.end
    assert result.output[:used] == data[:used]
    assert set(result.output[used:]) <= {0xFF}
    assert (result.changes == ()) == (data[used : used + 4] != b"\xff\xff\x00\x00")


@each_fixture
def test_no_item_is_lost_or_made_up(name: str) -> None:
    """Straight from the two readings, by kind, index, bytes and protection."""
    if TRUTH[name]["refused"]:
        assert migrate_bytes(data_of(name)).output is None
        return
    source = detection.detect(image.locate(data_of(name))).require()
    result = migrate_bytes(data_of(name))
    assert result.output is not None
    written = detection.detect(image.locate(result.output)).require()
    expected = [mended(item) for item in source.items] if name in MENDED else source.items
    assert facts(written.items) == facts(expected)


def mended(item: Item) -> Item:
    """PEM gets its NUL, a key that is held in eFuse goes."""
    if item.protection == "ecdsa_peripheral":
        return replace(item, data=b"")
    if item.data.startswith(b"-----BEGIN") and not item.data.endswith(b"\0"):
        return replace(item, data=item.data + b"\0")
    return item


def facts(items: Sequence[Item]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (item.kind, item.index, item.data, item.protection)
        for item in items
        if item.kind not in SEALS
    )


# --- Labels ------------------------------------------------------------------------------------

FITS = {
    "esp_secure_cert": {"tlv", "cust_flash", "nvs", "nvs_legacy"},
    "pre_prov": {"cust_flash_legacy", "nvs_legacy", "nvs_esp_ds"},
    "of_my_own": set(LAYOUTS),
}
SAMPLE = {row["layout"]: name for name, row in TRUTH.items() if not row["refused"]}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("label", FITS)
def test_label_contradictions(label: str, layout: str) -> None:
    reading = detection.detect(image.locate(data_of(SAMPLE[layout]), label=label))
    result = migration.migrate(reading)
    assert reading.require().layout == layout
    fits = layout in FITS[label]
    assert codes(result) == (set() if fits else {"label-contradiction"})
    assert (reading.contradiction is None) == fits
    assert any("contradicts" in reason for reason in detection.evidence(reading)) != fits


# --- Sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "length", "size"),
    [
        ("cust_flash_der_no_ca", 24577, 0x6000),
        ("cust_flash_rsa", 24576, 0x6000),
        ("cust_flash_rsa", 0x6002, 0x7000),
        ("cust_flash_rsa", 0x8000, 0x8000),
        ("nvs_ec", 0x3000, 0x3000),
        ("nvs_ec", 0x1000, 0x2000),
        ("nvs_ec", 0x6001, 0x7000),
        ("tlv_ec", 1408, 0x2000),
        ("tlv_ec", 0x2000, 0x2000),
        ("tlv_ec", 24577, 0x7000),
    ],
)
def test_size_by_default(name: str, length: int, size: int) -> None:
    image_of_length = data_of(name)[:length].ljust(length, b"\xff")
    result = migrate_bytes(image_of_length, accept=["nvs-damage"])
    assert result.output is not None
    assert len(result.output) == result.size == size


@pytest.mark.parametrize(("layout", "least"), [("cust_flash", 0x6000), ("nvs", 0x2000)])
def test_least_size(layout: str, least: int) -> None:
    data = data_of(SAMPLE[layout])
    assert migrate_bytes(data, size=0x10000).size == 0x10000
    with pytest.raises(UsageError, match=f"{least:#x}"):
        migrate_bytes(data, size=least - 0x1000)


@pytest.mark.parametrize("size", [0, -0x1000, 1, 0x2001, 0x2800])
def test_size_in_whole_sectors(size: int) -> None:
    with pytest.raises(UsageError, match="sectors"):
        Options(size=size)


@pytest.mark.parametrize("over", [-16, -15, 0, 1, 16])
def test_what_does_not_fit(over: int) -> None:
    """Used bytes end at the size less 16; the message says by how many they do not."""
    room = 0x2000 - 16 + over
    first = entry(51, bytes(4000))
    length = (room - len(first) - 16) // 16 * 16
    body = first + entry(52, bytes(length))
    result = migrate_bytes(body.ljust(len(body) + 100, b"\xff"), size=0x2000)
    excess = len(body) - (0x2000 - 16)
    if excess <= 0:
        assert result.output is not None
        assert result.output[len(body) :] == b"\xff" * (0x2000 - len(body))
        return
    assert codes(result) == {"does-not-fit"}
    (finding,) = result.blocking
    for part in (f"{0x2000:#x}", f"{len(body):#x}", f"{excess} too many"):
        assert part in finding.message


def test_firmware_offset_limit() -> None:
    """Two entries of 32 KiB less 16 bytes fill 64 KiB less 16; one block more is too many."""
    half = (0x10000 - 16) // 2 // 16 * 16
    first = entry(51, bytes(half - 16))
    second = entry(52, bytes(0x10000 - 16 - half - 16))
    assert len(first) + len(second) == 0x10000 - 16
    result = migrate_bytes(first + second, size=0x20000)
    assert result.output is not None
    third = entry(52, bytes(0x10000 - half - 16))
    assert len(first) + len(third) == 0x10000
    assert codes(migrate_bytes(first + third, size=0x20000)) == {"does-not-fit"}


@pytest.mark.parametrize(("length", "fits"), [(65488, True), (65504, False), (65505, False)])
def test_long_entries(length: int, fits: bool) -> None:
    """65504 bytes are an entry of 65520, all that 64 KiB less 16 hold; 65505 make firmware loop."""
    result = migrate_bytes(entry(51, bytes(length)), size=0x20000, integrity=False)
    allowed = length + 16 <= 0x10000 - 16 and length <= 65504
    assert allowed == (fits or length == 65504)
    assert (result.output is not None) == allowed
    if not allowed:
        assert codes(result) == {"does-not-fit"}


@pytest.mark.parametrize("current", [True, False])
def test_entry_that_makes_firmware_loop(current: bool) -> None:
    data = entry(51, bytes(65505), flags=0 if current else 0xFF, fill=b"\0" if current else b"\xff")
    result = migrate_bytes(data, size=0x20000)
    assert codes(result) == {"does-not-fit"}
    assert re.search("65504|65520", result.blocking[0].message)


def test_old_material_behind_the_end() -> None:
    data = data_of("nvs_ec")[:0x1000] + b"\xff" * 0x1000 + b"key".ljust(0x1000, b"\xff")
    assert "does-not-fit" in codes(migrate_bytes(data, size=0x2000, accept=["nvs-damage"]))


# --- Losses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"\0", b"\xff" * 31 + b"\xfe", b"\xff\xff\x00\x00\xff\xff\x01"])
def test_trailing_data(tail: bytes) -> None:
    data = data_of("tlv_ec") + tail
    result = migrate_bytes(data)
    assert codes(result) == {"trailing-data"}
    (finding,) = result.blocking
    assert finding.offset == len(data) - len(tail.lstrip(b"\xff")) or tail.startswith(b"\xff\xff\0")
    accepted = migrate_bytes(data, accept=["trailing-data"])
    assert accepted.output == data_of("tlv_ec").ljust(0x2000, b"\xff")
    assert any("trailing-data" in change for change in accepted.changes)


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\xff" * 100, b"\xff\xff\x00\x00"])
def test_nothing_behind_the_entries(tail: bytes) -> None:
    result = migrate_bytes(data_of("tlv_ec") + tail)
    assert result.output == data_of("tlv_ec").ljust(0x2000, b"\xff")
    assert bool(result.changes) == (0 in tail)


def test_first_duplicate_is_kept() -> None:
    data = entry(51, b"first") + entry(51, b"second")
    assert codes(migrate_bytes(data)) == {"duplicate-entry"}
    result = migrate_bytes(data, accept=["duplicate-entry"])
    assert result.contents is not None
    assert [item.data for item in result.contents.of_kind("user_data_1")] == [b"first"]
    assert any("user_data_1" in change and "duplicate" in change for change in result.changes)


def test_signed_image_with_a_certificate_added_loses_its_signature() -> None:
    body = entry(51, b"mine") + entry(8, bytes(145))
    ca = (FIXTURES / "inputs" / "ec_ca.pem").read_bytes()
    found = codes(migrate_bytes(sealed(body), ca_cert=ca))
    assert found == {"signature-lost", "signature-malformed"}
    result = migrate_bytes(sealed(body), ca_cert=ca, accept=["signature-lost"])
    assert result.contents is not None
    assert {item.kind for item in result.contents.items} == {"user_data_1", "ca_cert", "integrity"}


def test_generation_2_0_becomes_current() -> None:
    old = entry(2, b"key", flags=0xFF, fill=b"\xff") + entry(0, b"ca", flags=0xFF, fill=b"\xff")
    result = migrate_bytes(old.ljust(0x2000, b"\xff"), accept=AS_IS)
    assert result.output == sealed(entry(0, b"ca") + entry(2, b"key")).ljust(0x2000, b"\xff")
    assert any("0xff → 0x00 in 2 entries" in change for change in result.changes)


def test_canonical_order_keeps_the_order_within_a_type() -> None:
    types = [(60, 0), (2, 1), (2, 0), (1, 0), (0, 1), (0, 0), (51, 0), (5, 0), (6, 0), (50, 0)]
    parts = [entry(kind, bytes((kind, sub)), subtype=sub, flags=0xFF, fill=b"\xff")
             for kind, sub in types]  # fmt: skip
    result = migrate_bytes(b"".join(parts), integrity=False, accept=AS_IS)
    assert result.output is not None
    found = [(one.type, one.subtype) for one in tlv.walk(result.output)]
    assert found == [
        *((6, 0), (0, 1), (0, 0), (1, 0), (2, 1), (2, 0), (5, 0)),
        *((60, 0), (51, 0), (50, 0)),
    ]


def test_odd_flags_and_reserved_bytes_of_payloads_are_carried() -> None:
    config = b"\x06" + bytes(range(39))
    data = entry(6, config) + entry(2, b"", flags=0x08) + entry(100, b"x", flags=0x15, fill=b"\x01")
    result = migrate_bytes(data, integrity=False)
    assert result.output is not None
    entries = {one.type: one for one in tlv.walk(result.output)}
    assert (entries[100].flags, entries[2].flags) == (0x15, 0x08)
    assert config in result.output


def test_unreadable_image() -> None:
    for data, code in ((b"", "empty"), (b"\xff" * 64, "erased"), (bytes(4096), "unknown")):
        with pytest.raises(UnreadableError) as caught:
            migrate_bytes(data)
        assert (caught.value.code, caught.value.exit_code) == (code, 3)


def test_unknown_code_is_wrong_usage() -> None:
    for code in ("bogus", "does-not-fit", "end-marker"):
        with pytest.raises(UsageError, match=code):
            Options(accept=frozenset({code}))


def test_refused_migration_has_no_output_and_no_changes() -> None:
    result = migrate_bytes(data_of("nvs_lost_key"))
    assert result.refused
    assert (result.output, result.contents, result.changes) == (None, None, ())


def test_an_expired_certificate_is_a_warning() -> None:
    from datetime import datetime, timezone

    for year, code in ((2060, "certificate-expired"), (2010, "certificate-not-yet-valid")):
        moment = datetime(year, 1, 1, tzinfo=timezone.utc)
        result = migrate_bytes(data_of("tlv_ec"), at=moment)
        assert result.output is not None
        found = {finding.code: finding.severity for finding in result.findings}
        assert found[code] == "warning"


def test_result_is_json() -> None:
    for name in TRUTH:
        result = migrate_bytes(data_of(name))
        assert json.loads(json.dumps(migration.to_json(result, None)))["output"] is None


def test_catalogue_is_consistent() -> None:
    for code, kind in CATALOGUE.items():
        assert code == kind.code
        assert kind.severity in ("error", "warning", "info")
        assert kind.hint
        assert kind.accepted is None or ERROR in (kind.severity, kind.migration)


# --- The proof ---------------------------------------------------------------------------------


def lost(items: list[Item]) -> list[Item]:
    return items[1:]


def swapped(items: list[Item]) -> list[Item]:
    """Device and CA certificate exchanged."""
    other = {"device_cert": "ca_cert", "ca_cert": "device_cert"}
    return [replace(item, kind=other.get(item.kind, item.kind)) for item in items]


def altered(items: list[Item]) -> list[Item]:
    return [replace(item, data=item.data + b" ") for item in items]


def moved(items: list[Item]) -> list[Item]:
    return [replace(item, index=item.index + 1) for item in items]


@pytest.mark.parametrize("spoil", [lost, swapped, altered, moved])
def test_sound_entries_with_other_items_are_a_bug(
    spoil: Callable[[list[Item]], list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All checksums are right: only the comparison with the source can find it."""
    real = tlv.write

    def writing(items: Iterable[Item], size: int, **options: Any) -> bytes:
        return real(spoil(list(items)), size, **options)

    monkeypatch.setattr(tlv, "write", writing)
    with pytest.raises(InternalError):
        migrate_bytes(data_of("nvs_ec"))


# --- Anything that can be written --------------------------------------------------------------

KINDS = st.sampled_from([0, 1, 2, 5, 6, 7, 51, 52, 53, 54, 55, 201, 202, 10, 60, 100, 253])
ENTRIES = st.lists(
    st.tuples(KINDS, st.integers(0, 16), st.integers(0, 254), st.binary(max_size=80)),
    min_size=1,
    max_size=12,
    unique_by=lambda one: one[:2],
)


@settings(deadline=None, max_examples=150)
@given(ENTRIES, st.booleans(), st.booleans())
def test_anything_written_is_migrated_unchanged(
    entries: list[tuple[int, int, int, bytes]], old: bool, integrity: bool
) -> None:
    """Entries of any type, flags and bytes; as current and as an older generation wrote them."""
    fill = b"\xff" if old else b"\0"
    parts = [
        entry(kind, data, subtype=sub, flags=flags, fill=fill) for kind, sub, flags, data in entries
    ]
    source = detection.detect(image.locate(b"".join(parts)))
    result = migration.migrate(source, Options(integrity=integrity, accept=frozenset(AS_IS)))
    assert result.output is not None
    written = detection.detect(image.locate(result.output)).require()
    assert facts(written.items) == facts(source.require().items)
    flags_of = {(one.type, one.subtype): one.flags for one in tlv.walk(result.output)}
    expected = {(kind, sub): flags for kind, sub, flags, _ in entries}
    assert {key: flags_of[key] for key in expected} == expected
    if not old:
        assert result.output[: len(b"".join(parts))] == b"".join(parts)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(SAMPLE.values())), st.data())
def test_a_damaged_image_is_refused_or_right(name: str, data: st.DataObject) -> None:
    """Bits flipped anywhere: never an exception, and never a silent loss."""
    source = bytearray(data_of(name))
    for _ in range(data.draw(st.integers(1, 3))):
        source[data.draw(st.integers(0, len(source) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        result = migrate_bytes(bytes(source))
    except UnreadableError:
        return
    if result.output is not None:
        before = detection.detect(image.locate(bytes(source))).require()
        after = detection.detect(image.locate(result.output)).require()
        assert facts(after.items) == facts(before.items)
        assert all(item.intact is not False for item in before.items)
