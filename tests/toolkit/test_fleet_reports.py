"""What the reports of a fleet make of odd records: other separators, URLs, every field."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.example_fleet import Fleet
from tests.toolkit import pki
from tests.toolkit.test_fleet_work import image_with, record_of

from espcert.fleet import merging, runs
from espcert.fleet.journal import read_journal
from espcert.fleet.plan import source_of
from espcert.fleet.reporting import FleetReport
from espcert.fleet.reports import csv as csv_report
from espcert.fleet.reports import parquet, sarif
from espcert.fleet.settings import Request
from espcert.fleet.task import AUDIT, MIGRATE, Task
from espcert.fleet.work import process

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


def test_the_sources_of_the_run_are_not_in_every_row(record: Any, tmp_path: Path) -> None:
    """They would make the table grow with the square of what was named."""
    fleet = Fleet([record])
    fleet.header["options"] = {"sources": ["named-source.bin"], "strict": True}
    csv_report.write(fleet, tmp_path / "r.csv")
    text = (tmp_path / "r.csv").read_text("utf-8")
    assert "strict" in text
    assert "named-source" not in text


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


def header_of(folder: Path, *, work: bool = False) -> Any:
    """What a report says of a run that was begun, and perhaps done."""
    task = Task(AUDIT, datetime(2026, 6, 1, tzinfo=timezone.utc))
    begun = runs.begin(Request((str(folder / "in"),), task), folder / "j")
    try:
        if work:
            todo = begun.journal.todo(begun.plan.run, rehash=False)
            sources = [source_of(*one, rehash=False) for one in todo]
            begun.journal.write([process(source, begun.task) or {} for source in sources])
            runs.end(begun.journal)
        return FleetReport(begun.journal).header
    finally:
        begun.journal.close()


def test_a_report_says_whether_the_run_was_finished(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    device = pki.make_leaf(None, "module")
    image_with(device, tmp_path / "in", "1.bin")
    header = header_of(tmp_path)
    assert (header["total"], header["left"], header["finished"]) == (0, 1, None)
    header = header_of(tmp_path, work=True)
    assert (header["total"], header["left"], header["finished"] is None) == (1, 0, False)
    image_with(device, tmp_path / "in", "2.bin")
    header = header_of(tmp_path)
    assert (header["total"], header["left"], header["finished"]) == (1, 1, None)
    merging.merge([tmp_path / "j"], tmp_path / "merged")
    merged = read_journal(tmp_path / "merged")
    header = FleetReport(merged).header
    merged.close()
    assert (header["total"], header["left"], header["finished"]) == (1, 1, None)
