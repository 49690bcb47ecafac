"""Every known image, real or made as a fixture: its items are those that its truth.json lists."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.support import (
    FIXTURES,
    IMAGES,
    fixture_truth,
    real_image,
    real_truth,
    sha256,
)

from espcert_formats import items as kinds
from espcert_formats import registry
from espcert_formats.items import Contents, Item

Row = dict[str, Any]
Fact = tuple[object, ...]

REAL = real_truth()
FIXED = fixture_truth()

REVISIONS = {
    "cust_flash_tlv/partition.bin": "2.0",
    "tlv_signed/partition.bin": "2.8+",
    "tlv_from_csv/partition.bin": "2.9.2+",
    "tlv_rsa_ds_c3/partition.bin": "2.9.2+",
}
OTHER_REVISIONS = {"nvs_esp_ds": "idf-4.3"}

READER_CODES = {
    kinds.ITEM_CRC,
    kinds.TRAILING_DATA,
    kinds.DUPLICATE_ENTRY,
    kinds.NVS_DAMAGE,
}
"""Anomalies that make a migration refuse the image; `refused` of a fixture names them too."""

ANOMALIES: dict[str, dict[str, int]] = {
    "nvs_worn/dev_gc.bin": {kinds.NVS_OLD_VALUE: 8},
    "nvs_worn/dev_powerloss_1.bin": {kinds.NVS_REPAIR: 1},
    "nvs_worn/dev_rewritten.bin": {kinds.NVS_OLD_VALUE: 3},
    "nvs_worn/dev_v1_upgraded.bin": {kinds.NVS_OLD_VALUE: 3},
    "nvs_worn/legacy_dev_rewritten.bin": {kinds.NVS_OLD_VALUE: 3},
}
"""Real images with anomalies: no damage, but what wear and a power loss leave."""

no_real = pytest.mark.skipif(not REAL, reason="the real images lie in ../shared")


def contents_of(data: bytes, label: str | None) -> Contents:
    found = registry.read(data, label)
    assert found is not None
    layout, contents = found
    evidence = layout.recognise(data, label)
    assert evidence is not None
    assert (contents.layout, contents.evidence[0]) == (evidence.layout, evidence.reasons[0])
    return contents


def fact_of(item: Item) -> Fact:
    if item.kind == kinds.DS_CONTEXT:
        return item.kind, item.index, item.rsa_bits, item.efuse_key_id
    return item.kind, item.index, len(item.data), sha256(item.data)


def fact_from(row: Row) -> Fact:
    if row["kind"] == kinds.DS_CONTEXT:
        return row["kind"], row["index"], row["rsa_bits"], row["efuse_key_id"]
    return row["kind"], row["index"], row["length"], row["sha256"]


def check_items(contents: Contents, data: bytes, row: Row) -> None:
    assert contents.layout == row["layout"]
    whole = [item for item in contents.items if item.intact is not False]
    assert Counter(map(fact_of, whole)) == Counter(map(fact_from, row["items"]))
    ordered = sorted(contents.items, key=lambda item: (item.offset, item.kind))
    assert list(contents.items) == ordered
    for item in contents.items:
        check_spans(item, data)


def check_spans(item: Item, data: bytes) -> None:
    """The spans are where the item's bytes lie; a context's bytes are put together."""
    assert item.spans
    if item.kind != kinds.DS_CONTEXT:
        parts = [data[offset : offset + length] for offset, length in item.spans]
        assert b"".join(parts) == item.data


# --- The real images ---------------------------------------------------------------------------


@no_real
@pytest.mark.parametrize("row", REAL, ids=[row["image"] for row in REAL])
def test_real_image(row: Row) -> None:
    data = real_image(row["image"])
    contents = contents_of(data, row["label"])
    check_items(contents, data, row)
    revision = REVISIONS.get(row["image"], OTHER_REVISIONS.get(row["layout"], "1.x"))
    assert contents.revision == revision
    assert all(item.intact is not False for item in contents.items)
    found = Counter(anomaly.code for anomaly in contents.anomalies)
    assert found == ANOMALIES.get(row["image"], {})


@no_real
@pytest.mark.parametrize("row", REAL, ids=[row["image"] for row in REAL])
def test_real_image_needs_no_label(row: Row) -> None:
    data = real_image(row["image"])
    check_items(contents_of(data, None), data, row)


@no_real
def test_the_damaged_signed_image() -> None:
    """The component's own corrupt image: no entry lost, the signature of a pre-release in it."""
    contents = contents_of(real_image("tlv_signed/partition-corrupt.bin"), None)
    assert contents.layout == "tlv"
    assert {"device_cert", "ca_cert", "private_key"} <= {item.kind for item in contents.items}


@no_real
@pytest.mark.parametrize("name", ["part_old_blob_format", "sample_encryption_keys"])
def test_other_nvs_images_hold_no_credentials(name: str) -> None:
    assert registry.read(real_image(f"nvs_samples/{name}.bin")) is None


# --- The fixtures ------------------------------------------------------------------------------


def test_fixtures_have_a_truth() -> None:
    assert FIXED, f"{FIXTURES / 'truth.json'} is missing"


@pytest.mark.parametrize("row", FIXED, ids=[row["file"] for row in FIXED])
def test_fixture(row: Row) -> None:
    data = (FIXTURES / row["file"]).read_bytes()
    assert sha256(data) == row["sha256"]
    contents = contents_of(data, row["label"])
    check_items(contents, data, row)
    assert contents.revision == row["revision"]


@pytest.mark.parametrize("row", FIXED, ids=[row["file"] for row in FIXED])
def test_fixture_shows_its_damage_and_no_other(row: Row) -> None:
    contents = contents_of((FIXTURES / row["file"]).read_bytes(), row["label"])
    damaged = set(row.get("damaged", ()))
    assert {item.kind for item in contents.items if item.intact is False} <= damaged
    assert not any(item.kind in damaged for item in contents.items if item.intact is not False)
    found = {anomaly.code for anomaly in contents.anomalies} & READER_CODES
    assert found == set(row["refused"]) & READER_CODES
    assert ("other-data" in row["refused"]) == bool(contents.other_entries)


@pytest.mark.parametrize("row", FIXED, ids=[row["file"] for row in FIXED])
def test_fixture_protection(row: Row) -> None:
    """A password is told from the key's text, which is not the reader's business."""
    contents = contents_of((FIXTURES / row["file"]).read_bytes(), row["label"])
    listed = [item for item in row["items"] if item["kind"] == kinds.PRIVATE_KEY]
    expected = [item["protection"].replace("password", "plaintext") for item in listed]
    found = [item.protection for item in contents.of_kind(kinds.PRIVATE_KEY)]
    assert sorted(map(str, found)) == sorted(expected)


def test_swapped_label_is_seen_from_the_bytes() -> None:
    for row in FIXED:
        if row["layout"].startswith("cust_flash"):
            data = (FIXTURES / row["file"]).read_bytes()
            assert contents_of(data, None).label == row["label"]


def test_images_are_where_the_truth_says() -> None:
    assert all((IMAGES / row["image"]).is_file() for row in REAL)
    assert all((FIXTURES / row["file"]).is_file() for row in FIXED)
