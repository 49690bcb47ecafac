"""The fixtures folder is complete: every file is described, every description has its file."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
README = (FIXTURES / "README.md").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = json.loads((FIXTURES / "truth.json").read_text(encoding="utf-8"))
IMAGES = sorted((FIXTURES / "images").iterdir())
INPUTS = sorted((FIXTURES / "inputs").iterdir())
MOST_BYTES = 500_000
"""A sweep flips every bit of every image: the images have to stay small."""

LAYOUTS = {"tlv", "cust_flash", "cust_flash_legacy", "nvs", "nvs_legacy", "nvs_esp_ds"}
KEYS = {"rsa_ds", "hmac_derived", "ecdsa_peripheral", "hmac_encrypted", "plaintext", "none"}
REVISIONS = {"1.x", "idf-4.3", "2.0", "2.0.6+", "2.9.2+"}
REFUSALS = {
    "item-crc",
    "trailing-data",
    "duplicate-entry",
    "other-data",
    "nvs-damage",
    "ds-incomplete",
    "signature-lost",
}
REQUIRED: dict[str, set[str]] = {
    "tlv": {
        *("generation-2.0", "current", "integrity", "no-integrity", "end-marker", "filled"),
        *("ec-plaintext", "rsa-plaintext", "der", "chain", "crlf", "no-nul", "pkcs8-key"),
        *("password-key", "hostile-subject", "ca-only", "no-ca"),
        *("ds-3072", "ds-4096", "ds-incomplete", "hmac-encrypted", "hmac-derived"),
        *("ecdsa-peripheral", "ecdsa-leaked-key", "subtypes", "every-type", "unknown-type"),
        *("odd-flags", "over-8k", "trailing-data", "duplicate-entry", "damaged-item"),
        *("signed-rsa3072", "signed-p256", "signature-lost"),
    },
    "cust_flash": {
        *("rsa-plaintext", "ec-plaintext", "der", "no-nul", "ds-3072", "no-ca"),
        *("24577-bytes", "equal-lengths"),
    },
    "cust_flash_legacy": {"swapped-pairs", "ec-plaintext", "ds-4096", "no-ca", "24577-bytes"},
    "nvs": {
        *("version-2-pages", "version-1-pages", "old-blob", "multi-page-blob", "all-pages-full"),
        *("ec-plaintext", "ds-3072", "ds-4096", "no-ca", "password-key", "pkcs8-key"),
        *("erased-pages", "erased-entries", "page-order", "duplicate-live", "half-written"),
        *("freeing-page", "damaged-page", "damaged-item", "other-namespaces", "unknown-key"),
    },
    "nvs_legacy": {"version-2-pages", "chain", "ec-plaintext", "ds-3072"},
    "nvs_esp_ds": {
        *("version-2-pages", "version-1-pages", "old-blob", "ds-3072", "no-certificates"),
    },
}


def row_id(row: dict[str, Any]) -> str:
    """The name of a row's image, for test ids."""
    return Path(row["file"]).stem


each_row = pytest.mark.parametrize("row", ROWS, ids=row_id)


def test_rows_and_images_are_the_same_files() -> None:
    assert [row["file"] for row in ROWS] == [f"images/{path.name}" for path in IMAGES]


@each_row
def test_image_has_the_digest_that_truth_and_readme_say(row: dict[str, Any]) -> None:
    digest = hashlib.sha256((FIXTURES / row["file"]).read_bytes()).hexdigest()
    assert row["sha256"] == digest
    assert f"| `{row['file']}` | `{digest}` | `{row['layout']}` |" in README


def test_readme_names_no_image_that_is_not_there() -> None:
    named = re.findall(r"^\| `(images/[^`]+)` \|", README, re.MULTILINE)
    assert sorted(named) == sorted(row["file"] for row in ROWS)


@each_row
def test_row_uses_the_known_words(row: dict[str, Any]) -> None:
    assert row["layout"] in LAYOUTS
    assert row["key"] in KEYS
    assert row["revision"] in REVISIONS
    assert set(row["refused"]) <= REFUSALS
    assert set(row["variants"]) <= REQUIRED[row["layout"]]
    assert row["made_by"]
    assert row["exercises"]
    assert ("chip" in row) == (row["key"] == "rsa_ds")


@each_row
def test_items_have_lengths_and_digests(row: dict[str, Any]) -> None:
    for item in row["items"]:
        if item["kind"] == "ds_context":
            assert item.keys() == {"kind", "index", "rsa_bits", "efuse_key_id"}
        else:
            assert item["length"] >= 0
            assert re.fullmatch("[0-9a-f]{64}", item["sha256"])
        assert ("protection" in item) == (item["kind"] == "private_key")


@pytest.mark.parametrize("layout", sorted(REQUIRED))
def test_every_variant_of_a_layout_has_an_image(layout: str) -> None:
    there = {name for row in ROWS if row["layout"] == layout for name in row["variants"]}
    assert there == REQUIRED[layout]


def test_every_refusal_has_an_image() -> None:
    assert {code for row in ROWS for code in row["refused"]} == REFUSALS


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.name)
def test_every_input_is_named(path: Path) -> None:
    assert f"| `inputs/{path.name}` |" in README


def test_images_stay_small() -> None:
    assert sum(path.stat().st_size for path in IMAGES) <= MOST_BYTES


def test_the_demo_migrates_every_legacy_image(tmp_path: Path) -> None:
    demo = [sys.executable, str(FIXTURES / "demo.py"), str(tmp_path / "out")]
    done = subprocess.run(demo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " NO" not in done.stdout
