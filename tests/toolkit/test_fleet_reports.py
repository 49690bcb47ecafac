"""What the reports of a fleet make of odd records: other separators, URLs, every field."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.example_fleet import Fleet
from tests.toolkit import pki
from tests.toolkit.test_fleet_work import image_with, record_of

from espcert.fleet.reports import csv as csv_report
from espcert.fleet.reports import parquet, sarif
from espcert.fleet.task import MIGRATE

SIGNS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


@pytest.fixture
def record(tmp_path: Path) -> Any:
    """A migrated image."""
    image = image_with(pki.make_leaf(None, "module"), tmp_path)
    return record_of(image, MIGRATE, tmp_path / "out.bin")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("sign", ["=", "@", " =", "\uff1d"])
def test_no_separator_makes_a_formula(
    separator: str, sign: str, record: Any, tmp_path: Path
) -> None:
    text = f"CN=a{separator}{sign}HYPERLINK(1)"
    record |= {"subject": text, "id": text[4:], "serial": f'"{separator}{sign}1'}
    csv_report.write(Fleet([record]), tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file, delimiter=separator) for cell in row]
    assert any("HYPERLINK(1)" in cell for cell in cells)
    assert [cell for cell in cells if cell.lstrip().startswith(SIGNS)] == []


def test_objects_keep_their_urls(record: Any, tmp_path: Path) -> None:
    record |= {"source": "s3://bucket/a b.bin", "findings": [], "status": "failed"}
    record["error"] = {"code": "read-failed", "message": "x"}
    sarif.write(Fleet([record]), tmp_path / "r.sarif")
    (ran,) = json.loads((tmp_path / "r.sarif").read_text())["runs"]
    (place,) = ran["results"][0]["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "s3://bucket/a%20b.bin"


def test_parquet_has_every_field(record: Any, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    parquet.write(Fleet([record]), tmp_path / "r.parquet")
    (row,) = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert record["output_encrypted"] is False
    assert set(record) <= set(row)
    for name, value in record.items():
        if name not in ("items", "partition_table", "fingerprints", "not_after"):
            assert row[name] == value, name
