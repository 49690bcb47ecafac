"""`espcert.firmware` and `espcert.checks.firmware`: what each version reads, row by row.

EXAMPLES holds, for every row of the table, an image that the row is about, and by their first and
last release the versions of which something is to be said. It is written from the component's
history and from what its readers were seen to do, not from the table.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import FIXTURES, NvsPage, crc, known_images, nvs_image, nvs_namespace, nvs_string

from espcert import firmware
from espcert.catalogue import CATALOGUE, SUBJECTS
from espcert.checks import firmware as checks
from espcert.checks import firmware_subjects
from espcert.checks.context import Context
from espcert.chips import CHIPS
from espcert.errors import UsageError
from espcert.findings import Finding
from espcert.firmware import LATEST, RELEASES, Version, parse_version, version_text
from espcert_formats import cust_flash, nvs, registry, tlv
from espcert_formats.items import Contents

AT = datetime(2030, 1, 1, tzinfo=timezone.utc)
CA, DEVICE, KEY, DS_DATA, DS_CONTEXT, SALT, CONFIG, TEE, SIGNATURE, INTEGRITY = range(10)
UNREAD, MISREAD, UNSURE, IGNORES = (
    f"firmware-{word}" for word in ("unread", "misread", "unsure", "ignores")
)
FROM_NOW_ON = "2.9.3"
SECRET = b"the secret of this entry"

# --- Images ------------------------------------------------------------------------------------


def entry(kind: int, data: bytes = SECRET, subtype: int = 0, flags: int = 0) -> bytes:
    body = struct.pack("<IB3xBBH", 0xBA5EBA11, flags, kind, subtype, len(data))
    body += data + bytes(-len(data) % 16)
    return body + struct.pack("<I", crc(body))


def spoilt(one: bytes) -> bytes:
    """An entry with a wrong CRC."""
    return one[:-1] + bytes((one[-1] ^ 1,))


def image(*entries: bytes, size: int = 0x2000) -> Contents:
    return tlv.read(b"".join(entries).ljust(size, b"\xff"))


def ds_data(length: int = 1200, subtype: int = 0, flags: int = 0) -> bytes:
    return entry(DS_DATA, struct.pack("<I", 63) + bytes(16 + length), subtype, flags)


def ds_context(subtype: int = 0, length: int = 8) -> bytes:
    return entry(DS_CONTEXT, struct.pack("<4xBxH", 1, 2048)[:length].ljust(length, b"\0"), subtype)


def fixture(name: str) -> Contents:
    found = registry.read((FIXTURES / "images" / f"{name}.bin").read_bytes())
    assert found is not None
    return found[1]


def unmountable() -> Contents:
    """One NVS page, where the firmware wants three."""
    built = NvsPage(0).add(nvs_namespace("esp_secure_cert", 1), nvs_string(1, "dev_cert", b"x\0"))
    return nvs.read(nvs_image(built, size=0x1000))


def context(contents: Contents, version: Version | None, chip: str | None = None) -> Context:
    return Context(contents, AT, chip=CHIPS[chip] if chip else None, firmware=version)


def check(contents: Contents, version: str, chip: str | None = None) -> list[Finding]:
    return list(checks.check(context(contents, parse_version(version), chip)))


def said(contents: Contents, version: str, chip: str | None = None) -> list[tuple[str, str | None]]:
    return [(one.code, one.item) for one in check(contents, version, chip)]


# --- Versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"),
    [
        *(("2.4.1", (2, 4, 1)), ("v2.4.1", (2, 4, 1)), ("2.4", (2, 4, 0)), (" 1.0.3\n", (1, 0, 3))),
        *(("1.0", (1, 0, 0)), ("2.4.2", (2, 4, 2)), ("2.10.0", (2, 10, 0)), ("3.0", (3, 0, 0))),
        *(("2.09.3", (2, 9, 3)), ("2.9.4", (2, 9, 4)), ("99999.0.1", (99999, 0, 1))),
    ],
)
def test_versions(text: str, version: Version) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "v", "2.", "2.4.", ".4", "2.4.1.0", "2.4.x", "2,4,1", "vv2.4.1", "2.4.1-rc1"),
        *(
            "-2.4.1",
            "2 .4",
            "0.9.9",
            "0.0.0",
            "v0.9",
            "latest",
            "2.4.\u0661",
            "1" * 6 + ".0",
            "2.4\0",
        ),
    ],
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_version(text)
    assert raised.value.code == "bad-firmware"
    assert repr(text) in raised.value.message
    assert raised.value.message.isprintable()


@given(st.text(max_size=12))
def test_any_text_is_a_version_or_refused(text: str) -> None:
    try:
        version = parse_version(text)
    except UsageError:
        return
    assert parse_version(version_text(version)) == version >= firmware.FIRST


SERIES = ("1.0", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "2.9")
LAST_PATCHES = (3, 8, 0, 1, 1, 1, 1, 1, 2, 1, 3)


def test_releases() -> None:
    last = zip(SERIES, LAST_PATCHES, strict=True)
    names = [f"{series}.{patch}" for series, patches in last for patch in range(patches + 1)]
    assert [version_text(version) for version in RELEASES] == names
    assert [parse_version(version_text(version)) for version in RELEASES] == list(RELEASES)


# --- The table, row by row ---------------------------------------------------------------------


class Example(NamedTuple):
    """An image, and (code, first release, last release, items) of what is said of it by a row."""

    contents: Contents
    said: list[tuple[str, str, str, list[str | None]]]
    chip: str | None = None


CERTS = entry(CA) + entry(DEVICE)
TWO_CAS = image(entry(CA), entry(DEVICE), entry(CA, b"another one", 1))
DERIVED = entry(KEY, b"", flags=0x40)
WHOLE: list[str | None] = [None]

EXAMPLES: dict[str, Example] = {
    # Layouts
    "tlv": Example(image(CERTS), [(UNREAD, "1.0.0", "1.0.3", WHOLE)]),
    "legacy-layout": Example(
        fixture("cust_flash_rsa"),
        [(UNSURE, "1.0.0", "1.0.2", WHOLE), (UNREAD, "2.0.0", FROM_NOW_ON, WHOLE)],
    ),
    "swapped-pairs": Example(
        fixture("cust_flash_legacy_ec"), [(MISREAD, "1.0.0", "1.0.2", ["device_cert", "ca_cert"])]
    ),
    "cust-flash-ca": Example(fixture("cust_flash_rsa"), [(MISREAD, "1.0.3", "2.3.1", ["ca_cert"])]),
    "cust-flash-with-ds": Example(
        fixture("cust_flash_ds_c3"), [(UNSURE, "1.0.0", FROM_NOW_ON, ["ds_context"])]
    ),
    "cust-flash-without-ds": Example(
        fixture("cust_flash_rsa"), [(UNSURE, "1.0.0", FROM_NOW_ON, WHOLE)]
    ),
    "cust-flash-ds-longer": Example(
        fixture("cust_flash_legacy_ds_s2"),
        [(MISREAD, "1.0.0", FROM_NOW_ON, ["ds_ciphertext"])],
        "esp32c3",
    ),
    "cust-flash-ds-shorter": Example(
        fixture("cust_flash_ds_c3"),
        [(UNREAD, "1.0.0", FROM_NOW_ON, ["ds_ciphertext"])],
        "esp32s3",
    ),
    "nvs-ds-longer": Example(
        fixture("nvs_ds_s2_two_pages"),
        [(UNREAD, "1.0.0", FROM_NOW_ON, ["ds_ciphertext"])],
        "esp32c6",
    ),
    "nvs-ds-shorter": Example(
        fixture("nvs_legacy_ds_c3"),
        [(MISREAD, "1.0.0", FROM_NOW_ON, ["ds_ciphertext"])],
        "esp32s2",
    ),
    "nvs-esp-ds": Example(fixture("nvs_esp_ds_c3"), [(UNREAD, "1.0.0", FROM_NOW_ON, WHOLE)]),
    "nvs-not-mounted": Example(unmountable(), [(UNREAD, "1.0.0", FROM_NOW_ON, WHOLE)]),
    # Entries
    "subtypes": Example(TWO_CAS, [(UNREAD, "2.0.0", "2.3.1", ["ca_cert[1]"])]),
    "several-entries": Example(
        TWO_CAS,
        [
            (MISREAD, "2.4.0", "2.4.0", ["ca_cert[1]"]),
            (UNSURE, "2.4.1", FROM_NOW_ON, ["ca_cert[1]"]),
        ],
    ),
    "several-ds": Example(
        image(ds_data(), ds_context(), ds_data(1200, 1)),
        [(MISREAD, "2.4.0", "2.4.0", ["ds_ciphertext[1]"])],
    ),
    "no-subtype-0": Example(
        image(CERTS, entry(KEY, subtype=1)),
        [(UNSURE, "2.4.1", FROM_NOW_ON, ["private_key[1]"])],
    ),
    "ds-no-subtype-0": Example(
        image(ds_data(1200, 1), ds_context(1)),
        [(UNREAD, "2.4.1", FROM_NOW_ON, ["ds_ciphertext[1]"])],
    ),
    "security-config-no-subtype-0": Example(
        image(entry(CONFIG, bytes(40), 2)),
        [(UNREAD, "2.4.0", FROM_NOW_ON, ["security_config[2]"])],
    ),
    "subtype-255": Example(
        image(entry(CA, subtype=255)), [(MISREAD, "2.4.0", "2.4.0", ["ca_cert[255]"])]
    ),
    "subtype-254": Example(
        image(entry(CA, subtype=254)), [(MISREAD, "2.4.1", FROM_NOW_ON, ["ca_cert[254]"])]
    ),
    "ds-context": Example(
        fixture("tlv_ds_incomplete"),
        [
            (MISREAD, "2.0.0", "2.9.2", ["ds_ciphertext"]),
            (UNREAD, "2.9.3", FROM_NOW_ON, ["ds_ciphertext"]),
        ],
    ),
    "tlv-ds-longer": Example(
        fixture("tlv_ds_s2"), [(MISREAD, "2.0.0", FROM_NOW_ON, ["ds_ciphertext"])], "esp32c5"
    ),
    "tlv-ds-shorter": Example(
        fixture("tlv_ds_c3"), [(MISREAD, "2.0.0", FROM_NOW_ON, ["ds_ciphertext"])], "esp32p4"
    ),
    "derails-walk": Example(
        image(entry(CA), entry(51, bytes(65505)), size=0x20000),
        [(MISREAD, "2.0.0", FROM_NOW_ON, ["user_data_1"])],
    ),
    "behind-64k": Example(
        image(entry(51, bytes(60000)), entry(52, bytes(6000)), entry(CA), size=0x20000),
        [(UNREAD, "2.0.0", FROM_NOW_ON, ["ca_cert"])],
    ),
    "no-end-gap": Example(
        image(entry(51, bytes(4096 - 16)), size=0x1000), [(MISREAD, "2.0.0", FROM_NOW_ON, WHOLE)]
    ),
    # Protected entries
    "hmac-encrypted": Example(
        image(entry(CA, flags=0x80)),
        [
            (MISREAD, "2.0.0", "2.0.5", ["ca_cert"]),
            (UNREAD, "2.7.0", FROM_NOW_ON, ["ca_cert"]),
        ],
    ),
    "hmac-derived": Example(image(DERIVED), [(MISREAD, "2.0.0", "2.0.8", ["private_key"])]),
    "derived-with-salt": Example(
        image(entry(SALT), DERIVED),
        [
            (MISREAD, "2.1.0", "2.2.0", ["private_key"]),
            (UNSURE, "2.7.0", "2.8.1", ["private_key"]),
        ],
    ),
    "derived-without-salt": Example(
        image(DERIVED, entry(SALT, subtype=1)),
        [(UNREAD, "2.2.1", FROM_NOW_ON, ["private_key"])],
    ),
    "other-derived-without-salt": Example(
        image(entry(KEY, b"", 1, 0x40), entry(SALT)),
        [(UNREAD, "2.4.1", FROM_NOW_ON, ["private_key[1]"])],
    ),
    "derived-subtype": Example(
        image(entry(KEY, b"", 1, 0x40), entry(SALT), entry(SALT, b"another", 1)),
        [(MISREAD, "2.4.0", "2.4.0", ["private_key[1]"])],
    ),
    "derived-elsewhere": Example(
        image(entry(DEVICE, flags=0x40)), [(MISREAD, "2.1.0", FROM_NOW_ON, ["device_cert"])]
    ),
    "ecdsa-peripheral": Example(
        image(entry(KEY, b"", flags=0x08)),
        [
            (MISREAD, "2.0.0", "2.2.1", ["private_key"]),
            (UNSURE, "2.3.0", "2.3.0", ["private_key"]),
        ],
    ),
    "ecdsa-peripheral-legacy-build": Example(
        image(entry(KEY, b"", flags=0x08)), [(UNSURE, "2.3.0", FROM_NOW_ON, ["private_key"])]
    ),
    "ecdsa-peripheral-with-data": Example(
        image(entry(KEY, flags=0x08)), [(MISREAD, "2.3.0", FROM_NOW_ON, ["private_key"])]
    ),
    "flags-0x88": Example(
        image(entry(KEY, flags=0x88)), [(MISREAD, "2.3.0", FROM_NOW_ON, ["private_key"])]
    ),
    # Types
    "salt": Example(image(entry(SALT)), [(IGNORES, "2.0.0", "2.2.0", ["ecdsa_salt"])]),
    "security-config": Example(
        image(entry(CONFIG, bytes(40))), [(IGNORES, "2.0.0", "2.2.1", ["security_config"])]
    ),
    "tee-key": Example(image(entry(TEE)), [(IGNORES, "2.0.0", FROM_NOW_ON, ["tee_key"])]),
    "signature": Example(
        image(entry(SIGNATURE, subtype=1)),
        [(IGNORES, "2.0.0", FROM_NOW_ON, ["signature_block[1]"])],
    ),
    "integrity": Example(image(entry(INTEGRITY)), [(IGNORES, "2.0.0", "2.9.1", ["integrity"])]),
    "user-data": Example(
        image(entry(51), entry(55, subtype=3)),
        [(UNREAD, "2.0.0", "2.3.1", ["user_data_1", "user_data_5[3]"])],
    ),
    "user-data-5": Example(
        image(entry(54), entry(55)), [(MISREAD, "2.4.0", "2.8.1", ["user_data_5"])]
    ),
    "matter": Example(
        image(entry(201, subtype=129), entry(202)),
        [
            (UNREAD, "2.0.0", "2.3.1", ["matter_1[129]", "matter_2"]),
            (UNSURE, "2.4.0", "2.4.1", ["matter_1[129]", "matter_2"]),
        ],
    ),
}

ROWS = {feature.name: feature for feature in checks.FEATURES}


def test_every_row_has_an_example() -> None:
    assert list(EXAMPLES) == list(ROWS)
    assert len(ROWS) == len(checks.FEATURES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_row_in_every_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All releases are asked: the one before, inside and behind each range are among them."""
    monkeypatch.setattr(checks, "FEATURES", (ROWS[name],))
    example = EXAMPLES[name]
    for version in RELEASES:
        found = [
            (one.code, one.item)
            for one in checks.check(context(example.contents, version, example.chip))
        ]
        expected = [
            (code, item)
            for code, first, last, items in example.said
            if parse_version(first) <= version <= parse_version(last)
            for item in items
        ]
        assert found == expected, version_text(version)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_range_that_is_open_goes_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is true of the last release is taken to be true of later ones, and that is told."""
    monkeypatch.setattr(checks, "FEATURES", (ROWS[name],))
    example = EXAMPLES[name]
    last = said(example.contents, "2.9.3", example.chip)
    later = said(example.contents, "2.9.4", example.chip)
    assert later == [(UNSURE, None), *last]


@pytest.mark.parametrize("name", EXAMPLES)
def test_form_of_findings(name: str) -> None:
    example = EXAMPLES[name]
    offsets = {item.offset for item in example.contents.items}
    offsets |= {anomaly.offset for anomaly in example.contents.anomalies}
    for version in RELEASES:
        for one in checks.check(context(example.contents, version, example.chip)):
            assert one.message.startswith(f"{one.item or example.contents.layout}: ")
            assert f"esp_secure_cert_mgr {version_text(version)} " in one.message
            assert re.search(r"\(SCM [0-9a-f]{7}\b[^()]*\)$", one.message)
            assert one.offset in offsets if one.item else one.offset is not None
            assert one.message.isprintable()
            assert SECRET.decode() not in one.message


def test_form_of_the_table() -> None:
    codes = {kind.code for kind in SUBJECTS["Firmware"]}
    used = set()
    for feature in checks.FEATURES:
        assert feature.verdicts
        for before, verdict in zip((None, *feature.verdicts), feature.verdicts, strict=False):
            assert verdict.code in codes & set(CATALOGUE)
            assert verdict.since in RELEASES
            assert verdict.until is None or verdict.until in RELEASES
            assert verdict.until is None or verdict.since < verdict.until
            assert before is None or (before.until or LATEST) <= verdict.since
            assert re.match(r"[0-9a-f]{7}\b", verdict.source)
            used.add(verdict.code)
    assert used == codes


def test_names_of_layouts() -> None:
    """They stand in the check as text, so that no layout is imported for its name."""
    assert {tlv.NAME} == firmware_subjects.TLV
    assert {cust_flash.NAME, cust_flash.NAME_LEGACY} == firmware_subjects.CUST_FLASH
    assert {cust_flash.NAME_LEGACY} == firmware_subjects.SWAPPED
    assert {nvs.NAME, nvs.NAME_LEGACY} == firmware_subjects.NVS
    assert {nvs.NAME_ESP_DS} == firmware_subjects.ESP_DS


SINCE: dict[str, str | None] = {
    **dict.fromkeys(("ca_cert", "device_cert", "private_key", "ds_data", "ds_context"), "2.0.0"),
    **dict.fromkeys(("user_data_1", "user_data_2", "user_data_3", "user_data_4"), "2.4.0"),
    **dict.fromkeys(("matter_1", "matter_2"), "2.5.0"),
    **dict.fromkeys(("signature_block", "tee_key"), None),
    "ecdsa_salt": "2.2.1",
    "security_config": "2.3.0",
    "user_data_5": "2.9.0",
    "integrity": "2.9.2",
}
"""The release since which a default build reads an entry of each kind, None for none."""


def test_every_kind_of_entry_is_judged() -> None:
    assert set(SINCE) == set(tlv.KIND_OF_TYPE.values())
    for number, kind in tlv.KIND_OF_TYPE.items():
        one = ds_data() + ds_context() if kind == "ds_data" else entry(number, bytes(8))
        since = SINCE[kind]
        for version in RELEASES:
            if version >= (2, 0, 0):
                right = since is not None and version >= parse_version(since)
                assert (said(image(one), version_text(version)) == []) is right, (kind, version)


LEGACY = ["cust_flash_rsa", "cust_flash_legacy_ec", "nvs_ec", "nvs_legacy_chain"]


def said_of_layout(name: str, version: Version) -> set[str]:
    found = said(fixture(name), version_text(version))
    return {code for code, item in found if item is None}


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_layouts(name: str) -> None:
    """1.0.3 alone reads them in every build; cust_flash without DS depends on the build always."""
    build = {UNSURE} if name.startswith("cust_flash") else set()
    for version in RELEASES:
        expected = {UNSURE} if version < (1, 0, 3) else {UNREAD} if version > (1, 0, 3) else set()
        assert said_of_layout(name, version) == expected | build, version


def test_other_layouts() -> None:
    for version in RELEASES:
        assert said_of_layout("nvs_esp_ds_c3", version) == {UNREAD}
        assert said_of_layout("tlv_2_0", version) == ({UNREAD} if version < (2, 0, 0) else set())


# --- Whole images ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("tlv_ec", "2.9.3", []),
        ("tlv_ec", "2.9.1", [(IGNORES, "integrity")]),
        ("tlv_ec", "1.0.3", [(UNREAD, None)]),
        ("tlv_2_0", "2.0.0", []),
        ("tlv_2_0", "2.9.3", []),
        ("tlv_ds_c3", "2.9.3", []),
        ("tlv_hmac_encrypted", "2.6.1", [(IGNORES, "integrity")]),
        ("tlv_hmac_encrypted", "2.9.3", [(UNREAD, "private_key")]),
        ("tlv_hmac_derived", "2.9.3", []),
        ("tlv_hmac_derived", "2.9.2", []),
        ("tlv_hmac_derived", "2.2.1", [(IGNORES, "integrity")]),
        (
            "tlv_hmac_derived",
            "2.2.0",
            [(MISREAD, "private_key"), (IGNORES, "ecdsa_salt"), (IGNORES, "integrity")],
        ),
        ("tlv_ecdsa_peripheral", "2.9.3", [(UNSURE, "private_key")]),
        ("tlv_ecdsa_leaked_key", "2.9.3", [(UNSURE, "private_key"), (MISREAD, "private_key")]),
        ("nvs_ec", "1.0.3", []),
        ("nvs_ec", "2.9.3", [(UNREAD, None)]),
        ("cust_flash_legacy_ec", "2.4.0", [(UNREAD, None), (UNSURE, None)]),
    ],
)
def test_fixtures(name: str, version: str, expected: list[tuple[str, str | None]]) -> None:
    assert said(fixture(name), version) == expected


def test_nothing_is_said_without_a_version() -> None:
    for example in EXAMPLES.values():
        assert list(checks.check(context(example.contents, None))) == []


@pytest.mark.parametrize("version", ["2.9.4", "2.10.0", "3.0.0", "99.0"])
def test_a_version_of_which_nothing_is_known(version: str) -> None:
    (finding,) = check(fixture("tlv_ec"), version)
    assert (finding.code, finding.item, finding.offset) == (UNSURE, None, None)
    assert "2.9.3" in finding.message
    assert version_text(parse_version(version)) in finding.message


@pytest.mark.parametrize(
    ("version", "like"), [("2.3.7", "2.3.1"), ("2.4.9", "2.4.1"), ("2.0.99", "2.0.8")]
)
def test_a_version_between_releases_is_judged_by_the_ranges(version: str, like: str) -> None:
    for example in EXAMPLES.values():
        first, *found = said(example.contents, version, example.chip)
        assert first[0] == UNSURE
        assert found == said(example.contents, like, example.chip)


# --- What a row is not about -------------------------------------------------------------------


def test_damaged_entries_are_passed_over() -> None:
    contents = image(entry(CA), spoilt(entry(KEY, flags=0x80)), spoilt(entry(CA, b"2", 1)))
    for version in RELEASES[4:]:
        assert said(contents, version_text(version)) == []


@pytest.mark.parametrize(
    "entries",
    [
        [entry(CA, subtype=0), entry(CA, SECRET, 1)],
        [entry(CA, b"2", 1), entry(CA)],
        [entry(51), entry(51, b"2", 1)],
    ],
    ids=["equal", "the-first-lies-last", "user-data"],
)
def test_several_entries_that_do_not_matter(entries: list[bytes]) -> None:
    assert said(image(*entries), "2.9.3") == []
    assert said(image(*entries), "2.4.0") == []


@pytest.mark.parametrize("flags", [0x00, 0xFF, 0xC0, 0x07, 0x10])
def test_flags_that_are_plain(flags: int) -> None:
    """0xC0 and 0xFF count as plain text in every version."""
    for version in RELEASES[4:]:
        assert said(image(CERTS, entry(KEY, flags=flags)), version_text(version)) == []


@pytest.mark.parametrize(("length", "kept"), [(65504, True), (65505, False), (65521, False)])
def test_lengths_around_the_loop(length: int, kept: bool) -> None:
    contents = image(entry(53, bytes(length)), size=0x20000)
    derailed = [one for one in check(contents, "2.9.3") if "16 bits: it loops" in one.message]
    assert (derailed == []) is kept


@pytest.mark.parametrize(
    ("context_entry", "sound"),
    [
        (ds_context(), True),
        (ds_context(length=12), False),
        (ds_context(length=4), False),
        (ds_context(1), False),
        (spoilt(ds_context()), False),
        (b"", False),
    ],
)
def test_contexts(context_entry: bytes, sound: bool) -> None:
    contents = image(ds_data(), context_entry)
    assert (said(contents, "2.9.3") == []) is sound
    assert (MISREAD, "ds_ciphertext") not in said(contents, "2.9.3")


@pytest.mark.parametrize(
    ("chip", "right"),
    [("esp32c3", True), ("esp32c5", True), ("esp32s2", False), ("esp32", True), (None, True)],
)
def test_the_chip_of_ds_data(chip: str | None, right: bool) -> None:
    """No chip, or one without the peripheral, says nothing of the driver's room."""
    assert (said(fixture("tlv_ds_c3"), "2.9.3", chip) == []) is right


@pytest.mark.parametrize(("chip", "told"), [("esp32", False), ("esp32c3", True), (None, True)])
def test_metadata_without_ds_where_no_ds_can_be_built_in(chip: str | None, told: bool) -> None:
    assert ((UNSURE, None) in said(fixture("cust_flash_rsa"), "1.0.3", chip)) is told


def test_a_cust_flash_without_ca() -> None:
    assert (MISREAD, "ca_cert") not in said(fixture("cust_flash_der_no_ca"), "2.0.0")


def test_legacy_layouts_have_no_subtypes() -> None:
    """In a build without entries all that is said is said of the layout."""
    assert {item for _, item in said(fixture("nvs_legacy_chain"), "2.0.0")} == {None}


# --- Hostile images ----------------------------------------------------------------------------


def test_many_entries_of_one_row() -> None:
    contents = image(*(entry(CA, b"", number % 250 + 1) for number in range(3000)), size=0x10000)
    found = [one for one in check(contents, "2.0.0") if one.code == UNREAD]
    named = [one for one in found if "one number" in one.message]
    assert len(named) == checks.MAX_NAMED
    assert named[-1].message.startswith("ca_cert[8] (and 2992 more like it): ")
    assert all("more like it" not in one.message for one in named[:-1])


KNOWN = known_images()
FLAGS = st.sampled_from([0x00, 0x08, 0x40, 0x48, 0x80, 0x88, 0xC0, 0xFF])
ENTRIES = st.builds(
    entry,
    st.one_of(st.integers(0, 9), st.sampled_from([50, 51, 55, 201, 202, 254, 255])),
    st.sampled_from([b"", b"\0" * 8, bytes(40), bytes(1220), bytes(1604), bytes(19)]),
    st.sampled_from([0, 0, 0, 1, 2, 254, 255]),
    FLAGS,
)
VERSIONS = st.one_of(
    st.sampled_from(RELEASES),
    st.tuples(st.integers(1, 4), st.integers(0, 99), st.integers(0, 99)),
)
ANY_CHIP = st.one_of(st.none(), st.sampled_from(list(CHIPS)))


def findings_are_sound(contents: Contents, version: Version, chip: str | None) -> None:
    found = list(checks.check(context(contents, version, chip)))
    assert len(found) <= 1 + checks.MAX_NAMED * sum(len(row.verdicts) for row in checks.FEATURES)
    there = [(one.kind, one.index) for one in contents.items]
    there += [(one.kind, one.index) for one in contents.anomalies if one.kind]
    names = {f"{kind}[{index}]" if index else kind for kind, index in there}
    assert {one.item for one in found if one.item} <= names
    assert len(found) == len(set(found))


@settings(deadline=None, max_examples=200)
@given(st.lists(ENTRIES, min_size=1, max_size=12), VERSIONS, ANY_CHIP)
def test_any_entries(entries: list[bytes], version: Version, chip: str | None) -> None:
    findings_are_sound(image(*entries), version, chip)


@settings(deadline=None, max_examples=100)
@given(st.data(), VERSIONS, ANY_CHIP)
def test_changed_images(draws: st.DataObject, version: Version, chip: str | None) -> None:
    data = bytearray(draws.draw(st.sampled_from(KNOWN)))
    for _ in range(draws.draw(st.integers(0, 4))):
        data[draws.draw(st.integers(0, len(data) - 1))] = draws.draw(st.integers(0, 255))
    found = registry.read(bytes(data))
    if found is not None:
        findings_are_sound(found[1], version, chip)


def test_contents_alone_decide() -> None:
    """The bytes of the image are not looked at again."""
    contents = replace(fixture("tlv_ec"), data=b"", end=0)
    assert said(contents, "2.0.0") == said(fixture("tlv_ec"), "2.0.0")
