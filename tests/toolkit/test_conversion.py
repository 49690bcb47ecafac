"""Any layout to any other: the items stay what they are, and nothing is lost unasked."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from tests.support import FIXTURES, IMAGES, fixture_truth, real_truth

import espcert
from espcert import comparison, conversion, image
from espcert.catalogue import ACCEPTABLE, WARNING
from espcert.conversion import TARGETS, Conversion, Options
from espcert.detection import Reading
from espcert.errors import UsageError
from espcert_formats.items import SEALS, Contents

NAMES = [row["file"] for row in fixture_truth()]
each_fixture = pytest.mark.parametrize("name", NAMES)


def fixture(name: str) -> Path:
    return FIXTURES / (name if "/" in name else f"images/{name}.bin")


def reading(data: bytes | Path, label: str | None = None) -> Reading:
    if isinstance(data, Path):
        data = data.read_bytes()
    return espcert.detect(image.locate(data, label=label))


def label_for(layout: str) -> str | None:
    """The label that a partition of this layout has on its device."""
    return "pre_prov" if layout in ("cust_flash_legacy", "nvs_legacy", "nvs_esp_ds") else None


def material(contents: Contents) -> Counter[tuple[str, int, bytes, str | None]]:
    return Counter(
        (item.kind, item.index, item.data, item.protection)
        for item in contents.items
        if item.kind not in SEALS and item.intact is not False
    )


def converted(source: Reading, to: str, **options: object) -> Conversion:
    return conversion.convert(source, Options(to, **options))  # type: ignore[arg-type]


def opened(result: Conversion, to: str, folder: Path) -> Reading:
    """What was made, read from files or bytes as a user would."""
    if result.output is not None:
        return reading(result.output, label_for(to))
    target = folder / ("made.csv" if to == "csv" else "made")
    espcert.save(result, target)
    return espcert.detect(espcert.open_image(target))


def codes(result: Conversion) -> set[str]:
    return {finding.code for finding in result.findings}


# --- A → B → A ---------------------------------------------------------------------------------


def can_hold(contents: Contents, layout: str) -> bool:
    """What the table of layouts says, asked without the code under test."""
    found = material(contents)
    kinds = Counter(kind for kind, *_ in found.elements())
    if layout in ("tlv", "csv", "pem"):
        return True
    plain = {"device_cert", "ca_cert", "private_key"}
    ds = {"ds_ciphertext", "ds_iv", "ds_context"}
    wanted = ds if layout == "nvs_esp_ds" else plain | ds
    if not set(kinds) <= wanted or any(index for _, index, *_ in found):
        return False
    if any(how not in (None, "plaintext") for *_, how in found):
        return False
    if layout.startswith("cust_flash"):
        limits = {"device_cert": 2048, "ca_cert": 4096, "private_key": 4096}
        return all(0 < len(data) <= limits.get(kind, 1584) for kind, _, data, _ in found)
    texts = [data for kind, _, data, _ in found if kind in plain]
    return all(
        len(text) <= 3968 and text.endswith(b"\0") and text.count(b"\0") == 1 and b"BEGIN" in text
        for text in texts
    )


ROUNDS = list(itertools.product(NAMES, TARGETS))


@pytest.mark.parametrize(("name", "to"), ROUNDS, ids=[f"{a[7:-4]}-{b}" for a, b in ROUNDS])
def test_there_and_back(name: str, to: str, tmp_path: Path) -> None:
    source = reading(fixture(name))
    contents = source.require()
    there = converted(source, to, accept=frozenset(ACCEPTABLE), espcert_csv=to == "csv")
    kept = [item for item in contents.items if item.intact is not False]
    if not can_hold(contents, to):
        assert there.refused
        assert "does-not-fit" in codes(there)
        return
    if "duplicate-entry" in {anomaly.code for anomaly in contents.anomalies}:
        assert not there.refused
        return
    if "ds-incomplete" in {finding.code for finding in espcert.verify(source)}:
        assert not there.refused
        return
    assert kept
    assert not there.refused, there.findings
    second = opened(there, to, tmp_path)
    assert second.require().layout == to
    assert material(second.require()) == material(contents)
    back = converted(second, contents.layout)
    assert back.output is not None, back.findings
    third = reading(back.output, label_for(contents.layout))
    assert third.require().layout == contents.layout
    assert material(third.require()) == material(contents)


CANONICAL = {
    "cust_flash": ("cust_flash_rsa", "cust_flash_ds_c3", "cust_flash_equal_lengths"),
    "cust_flash_legacy": ("cust_flash_legacy_ec", "cust_flash_legacy_ds_s2"),
    "nvs": ("nvs_ec", "nvs_ds_s2"),
    "nvs_legacy": ("nvs_legacy_chain", "nvs_legacy_ds_c3"),
    "nvs_esp_ds": ("nvs_esp_ds_in_order",),
    "tlv": ("tlv_rsa", "tlv_ec", "tlv_ds_c3", "tlv_der", "tlv_password"),
}
"""Images whose bytes are those that the official tool of their day writes for their items."""


@pytest.mark.parametrize("name", [name for names in CANONICAL.values() for name in names])
def test_canonical_bytes_come_back(name: str, tmp_path: Path) -> None:
    source = reading(fixture(name))
    contents = source.require()
    ways = [to for to in TARGETS if can_hold(contents, to)]
    assert len(ways) >= 5
    for to in ways:
        there = converted(source, to, espcert_csv=to == "csv")
        back = converted(opened(there, to, tmp_path), contents.layout)
        assert back.output is not None
        assert back.output[: contents.size] == contents.data
        assert set(back.output[contents.size :]) <= {0xFF}


# --- The official tool's bytes -----------------------------------------------------------------

SAME = [
    ("tlv_rsa", "cust_flash", "cust_flash_rsa"),
    ("tlv_ds_c3", "cust_flash", "cust_flash_ds_c3"),
    ("tlv_ec", "cust_flash_legacy", "cust_flash_legacy_ec"),
    ("nvs_ds_s2_two_pages", "cust_flash_legacy", "cust_flash_legacy_ds_s2"),
    ("tlv_ec", "nvs", "nvs_ec"),
    ("cust_flash_legacy_ds_s2", "nvs", "nvs_ds_s2"),
    ("tlv_ds_c3", "nvs_legacy", "nvs_legacy_ds_c3"),
    ("nvs_esp_ds_v1", "nvs_esp_ds", "nvs_esp_ds_in_order"),
]
"""What is converted, to what, and the image of esp-secure-cert-tool 2.1.6 (of ESP-IDF's script
for the last one) that holds the same material."""


@pytest.mark.parametrize(("name", "to", "golden"), SAME)
def test_the_bytes_are_those_of_the_official_tool(name: str, to: str, golden: str) -> None:
    result = converted(reading(fixture(name)), to)
    assert result.output == fixture(golden).read_bytes()


def real_names() -> list[str]:
    return [row["image"] for row in real_truth() if row["layout"] not in ("tlv", None)]


@pytest.mark.parametrize("name", real_names() or ["none"])
def test_real_images_come_back_through_tlv(name: str) -> None:
    if name == "none":
        pytest.skip("the real images lie in ../shared beside the repository")
    source = reading(IMAGES / name)
    contents = source.require()
    there = converted(source, "tlv", accept=frozenset(ACCEPTABLE))
    assert there.output is not None, there.findings
    back = converted(reading(there.output), contents.layout, size=contents.size)
    assert back.output is not None
    assert material(reading(back.output, label_for(contents.layout)).require()) == material(
        contents
    )
    if contents.layout.startswith("cust_flash"):
        assert back.output == contents.data


# --- What is refused ---------------------------------------------------------------------------

LOST = {
    "nvs_other_data": {"other-data", "nvs-damage"},
    "nvs_lost_key": {"item-crc", "nvs-damage"},
    "tlv_trailing_data": {"trailing-data"},
    "tlv_duplicate": {"duplicate-entry"},
    "tlv_ds_incomplete": {"ds-incomplete"},
    "tlv_signed_p256": {"signature-lost"},
    "tlv_damaged_ca": {"item-crc"},
}


@pytest.mark.parametrize("name", LOST)
def test_nothing_is_lost_unasked(name: str) -> None:
    source = reading(fixture(name))
    refused = converted(source, "tlv")
    assert refused.refused
    assert refused.contents is None
    assert codes(refused) >= LOST[name]
    taken = converted(source, "tlv", accept=codes(refused))
    assert taken.output is not None
    for code in LOST[name]:
        assert any(code in change for change in taken.changes), code


def test_a_broken_seal_of_bytes_is_refused() -> None:
    data = bytearray(fixture("tlv_ec").read_bytes())
    end = data.rindex(b"\x11\xba\x5e\xba")
    assert data[end + 8] == 9
    integrity = data[end:]
    integrity[12] ^= 1
    from tests.support import crc

    integrity[44:48] = crc(bytes(integrity[:44])).to_bytes(4, "little")
    data[end:] = integrity
    source = reading(bytes(data))
    assert codes(converted(source, "cust_flash")) == {"integrity-mismatch"}
    taken = converted(source, "cust_flash", accept={"integrity-mismatch"})
    assert taken.output == converted(reading(fixture("tlv_ec")), "cust_flash").output


def test_a_label_that_contradicts_the_bytes() -> None:
    source = reading(fixture("cust_flash_rsa"), "pre_prov")
    assert codes(converted(source, "tlv")) == {"label-contradiction"}


def test_each_misfit_is_named() -> None:
    refused = converted(reading(fixture("tlv_subtypes")), "nvs")
    assert [finding.item for finding in refused.findings] == [
        "ca_cert[1]",
        "user_data_1",
        "user_data_1[1]",
    ]


def test_an_image_without_items() -> None:
    entry = bytearray(fixture("tlv_ca_only").read_bytes())
    entry[20] ^= 1
    source = reading(bytes(entry))
    result = converted(source, "cust_flash", accept={"item-crc", "integrity-mismatch"})
    assert "nothing-left" in codes(result)


# --- Options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chip", "fits"), [("esp32c3", True), ("esp32c5", True), ("esp32s3", False), ("esp32", False)]
)
def test_the_chip_must_read_the_ciphertext(chip: str, fits: bool) -> None:
    result = converted(reading(fixture("tlv_ds_c3")), "cust_flash", chip=chip)
    assert result.refused is not fits
    assert codes(result) == (set() if fits else {"ds-chip"})


def test_integrity_is_made_for_tlv_unless_asked_otherwise() -> None:
    source = reading(fixture("nvs_ec"))
    sealed = converted(source, "tlv").contents
    bare = converted(source, "tlv", integrity=False).contents
    assert sealed is not None
    assert bare is not None
    assert sealed.of_kind("integrity")
    assert not bare.of_kind("integrity")


def test_sizes() -> None:
    source = reading(fixture("tlv_ec"))
    for to, size in (("tlv", 0x4000), ("cust_flash", 0x8000), ("nvs", 0x6000)):
        output = converted(source, to, size=size).output
        assert output is not None
        assert len(output) == size
    assert "does-not-fit" in codes(converted(source, "cust_flash", size=0x2000))
    assert "does-not-fit" in codes(converted(source, "nvs", size=0x2000))


def test_what_would_stay_behind_the_new_partition_is_told() -> None:
    data = fixture("cust_flash_rsa").read_bytes()
    left = converted(reading(data), "nvs")
    assert left.output is not None
    assert [(one.code, one.severity) for one in left.findings] == []
    long = bytearray(data.ljust(0x8000, b"\xff"))
    long[0x7000] = 0
    told = converted(reading(bytes(long)), "nvs", accept={"trailing-data"})
    assert told.output is not None
    assert codes(told) == {"left-behind"}
    whole = converted(reading(bytes(long)), "nvs", accept={"trailing-data"}, size=0x8000)
    assert codes(whole) == set()


def test_cust_flash_without_a_ca_is_told() -> None:
    result = converted(reading(fixture("tlv_ds_s2")), "cust_flash")
    assert [(one.code, one.severity) for one in result.findings] == [("cust-flash-no-ca", WARNING)]
    assert result.output is not None
    assert result.output[8:14] == bytes(6)
    assert len(result.output) == 0x6000


@pytest.mark.parametrize(
    "options",
    [
        {"to": "bin"},
        {"to": "nvs", "size": 0x3001},
        {"to": "nvs", "size": 0x20000000},
        {"to": "nvs", "accept": {"nothing"}},
        {"to": "nvs", "chip": "esp8266"},
    ],
)
def test_wrong_options(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Options(**options)  # type: ignore[arg-type]


# --- diff --------------------------------------------------------------------------------------


def differences(a: str, b: str) -> list[str]:
    found = comparison.compare(reading(fixture(a)), reading(fixture(b)))
    return [f"{one.item} {one.only_in}" for one in found.differences]


def test_images_with_the_same_material() -> None:
    for name in ("nvs_ec", "cust_flash_legacy_ec", "tlv_2_0", "nvs_worn"):
        assert differences("tlv_ec", name) == []


def test_differences_are_named() -> None:
    assert differences("tlv_ec", "tlv_ca_only") == ["device_cert a", "private_key a"]
    assert differences("tlv_ca_only", "tlv_ec") == ["device_cert b", "private_key b"]
    assert differences("tlv_ec", "tlv_no_nul") == [
        "ca_cert None",
        "device_cert None",
        "private_key None",
    ]
    assert differences("tlv_duplicate", "tlv_ec") == ["ca_cert a"]


def test_protection_is_compared() -> None:
    assert "private_key None" in differences("tlv_ecdsa_leaked_key", "tlv_ec")


def test_no_byte_of_a_secret_is_told() -> None:
    found = comparison.compare(reading(fixture("tlv_ec")), reading(fixture("tlv_rsa")))
    text = str(comparison.to_json(found)) + repr(found.differences)
    assert "BEGIN" not in text
    assert "2d2d2d2d" not in text


def test_damage_is_told() -> None:
    found = comparison.compare(reading(fixture("tlv_damaged_ca")), reading(fixture("tlv_ec")))
    assert [item for _, item in found.damaged] == ["ca_cert"]
