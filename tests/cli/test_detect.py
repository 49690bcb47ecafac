"""`espcert detect`, fixture by fixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cli.runner import FIXED, fixture, run
from tests.support import fixture_truth

from espcert.cli.words import KEY_WORDS

LAYOUT_WORDS = {
    "tlv": "TLV entries",
    "cust_flash": "cust_flash metadata",
    "cust_flash_legacy": "cust_flash metadata of a pre_prov module",
    "nvs": "NVS, namespace esp_secure_cert",
    "nvs_legacy": "NVS, namespace pre_prov",
    "nvs_esp_ds": "NVS, namespace esp_ds_ns of ESP-IDF's ssl_ds",
}

Row = dict[str, Any]
TRUTH = fixture_truth()
ONE_OF_EACH = {row["layout"]: Path(row["file"]).stem for row in TRUTH}
FAMILIES = {"esp32c3": "ds3072", "esp32s2": "ds4096", None: None}
BYTES_TELL = {"cust_flash": "esp_secure_cert", "nvs": "esp_secure_cert"}
BYTES_TELL["cust_flash_legacy"] = "pre_prov"


@pytest.fixture(scope="module")
def detected() -> dict[str, Row]:
    """What detect says of each fixture, all in one run."""
    names = [Path(row["file"]).stem for row in TRUTH]
    result = run("detect", "--json", *map(fixture, names))
    assert result.code == 0
    assert result.err == ""
    assert [found["file"] for found in result.objects] == [fixture(name) for name in names]
    return dict(zip(names, result.objects, strict=True))


@pytest.mark.parametrize("row", TRUTH, ids=lambda row: Path(row["file"]).stem)
def test_detect(detected: dict[str, Row], row: Row) -> None:
    found = detected[Path(row["file"]).stem]
    facts = {name: found[name] for name in ("layout", "key", "revision", "container")}
    assert facts == {name: row[name] for name in ("layout", "key", "revision")} | {
        "container": "partition"
    }
    assert found["schema"] == 1
    assert found["label"] == BYTES_TELL.get(row["layout"])
    if row["key"] == "rsa_ds":
        assert found["chip_family"] == FAMILIES[row["chip"]]
    size = (FIXED.parent / row["file"]).stat().st_size
    nothing = {"type": None, "subtype": None, "encrypted": None}
    assert found["partition"] == {"file_offset": 0, "size": size} | nothing
    assert found["evidence"]
    assert "reason" not in found
    assert "reason_code" not in found


@pytest.mark.parametrize("layout", sorted(LAYOUT_WORDS))
def test_human_form(layout: str) -> None:
    name = ONE_OF_EACH[layout]
    (row,) = [row for row in TRUTH if Path(row["file"]).stem == name]
    result = run("detect", fixture(name))
    assert (result.code, result.err) == (0, "")
    first, *rest = result.out.splitlines()
    assert first == f"{fixture(name)}: {layout} ({LAYOUT_WORDS[layout]}), {KEY_WORDS[row['key']]}"
    assert any("because" in line for line in rest)
    assert any(row["revision"].removeprefix("idf-") in line for line in rest)


def test_label_stands_in_the_result() -> None:
    found = run("detect", "--json", "--label", "my_certs", fixture("tlv_ec")).object
    assert found["label"] == "my_certs"


def test_contradicting_label_stands_in_evidence() -> None:
    result = run("detect", "--json", "--label", "pre_prov", fixture("tlv_ec"))
    assert result.code == 0
    assert result.object["layout"] == "tlv"
    assert any("pre_prov" in reason for reason in result.object["evidence"])
    shown = run("detect", "--label", "pre_prov", fixture("tlv_ec"))
    assert "contradicts" in shown.out


def test_label_chooses_between_two_namespaces(tmp_path: Path) -> None:
    """As the firmware: pre_prov opens only its own namespace."""
    from tests.support import NvsPage, nvs_image, nvs_namespace, nvs_string

    page = NvsPage(0).add(nvs_namespace("esp_secure_cert", 1), nvs_namespace("pre_prov", 2))
    page.add(nvs_string(1, "dev_cert", b"one\0"), nvs_string(2, "dev_cert", b"two\0"))
    path = tmp_path / "both.bin"
    path.write_bytes(nvs_image(page))
    assert run("detect", "--json", path).object["layout"] == "nvs"
    found = run("detect", "--json", "--label", "pre_prov", path).object
    assert found["layout"] == "nvs_legacy"


def test_damaged_image_is_still_detected() -> None:
    result = run("detect", "--json", fixture("tlv_damaged_ca"), fixture("nvs_lost_key"))
    assert result.code == 0
    assert [found["layout"] for found in result.objects] == ["tlv", "nvs"]


def test_quiet_prints_nothing_but_errors(tmp_path: Path) -> None:
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"\xff" * 8192)
    result = run("detect", "--quiet", fixture("tlv_ec"), bad)
    assert (result.code, result.out) == (3, "")
    assert result.err.count("\n") == 1
    assert str(bad) in result.err
