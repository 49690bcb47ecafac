"""Records that name no module: labels of partitions, which may be a customer's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.cli.test_unreadable_images import Rows, table
from tests.support import FIXTURES
from tests.toolkit.test_fleet_work import AT

from espcert import schemas
from espcert.fleet import work
from espcert.fleet.redaction import redact
from espcert.fleet.task import AUDIT, MIGRATE, Source, Task

CREDENTIALS = (FIXTURES / "images" / "nvs_ec.bin").read_bytes()
LABELS = ("acme_nvs", "acme_app", "customer_x")
OWN = ("acme_nvs", 1, 2, 0xD000, 0x6000)
CASES: dict[str, tuple[Rows, str | None, str | None]] = {
    "the only one": ([OWN], None, None),
    "asked of all": ([OWN], "acme_nvs", None),
    "asked of all, not there": ([OWN], "customer_x", None),
    "asked of one, not there": ([OWN], None, "customer_x"),
    "erased": ([OWN, ("acme_app", 1, 2, 0x1A000, 0x4000)], "acme_app", None),
    "beyond the end": ([OWN, ("acme_app", 1, 2, 0x40000, 0x4000)], "acme_app", None),
    "several": ([OWN, ("acme_app", 1, 2, 0x14000, 0x6000)], None, None),
    "overlapping": ([OWN, ("acme_app", 0, 0, 0xF000, 0x4000)], None, None),
    "odd": ([OWN, ("acme_app", 0, 0, 0x1A001, 0x4000)], None, None),
}


def record_of(
    rows: Rows, verb: str, folder: Path, of_all: str | None = None, of_one: str | None = None
) -> Any:
    """The record of a flash image with such a table, and a label that was asked for."""
    image = bytearray(b"\xff" * 0x20000)
    image[0x8000:0x8C00] = table(rows)
    for start in (0xD000, 0x14000):
        if any(row[3] == start for row in rows):
            image[start : start + len(CREDENTIALS)] = CREDENTIALS
    path = folder / "image.bin"
    path.write_bytes(bytes(image))
    output = str(folder / "out.bin") if verb == MIGRATE else None
    source = Source(str(path), path.stem, label=of_one, output=output)
    return work.process(source, Task(verb, AT, label=of_all))


@pytest.mark.parametrize("verb", [AUDIT, MIGRATE])
@pytest.mark.parametrize("case", CASES)
def test_no_field_holds_a_label(case: str, verb: str, tmp_path: Path) -> None:
    rows, of_all, of_one = CASES[case]
    record = record_of(rows, verb, tmp_path, of_all, of_one)
    assert any(label in json.dumps(record) for label in LABELS)
    shown = json.loads(json.dumps(redact(record)))
    fields = {name: json.dumps(value) for name, value in shown.items()}
    assert [name for name, text in fields.items() if any(one in text for one in LABELS)] == []
    assert list(Draft202012Validator(schemas.load("fleet")).iter_errors(shown)) == []


def test_known_labels_stay(tmp_path: Path) -> None:
    record = record_of([("esp_secure_cert", 1, 2, 0xD000, 0x6000)], MIGRATE, tmp_path)
    shown = redact(record)
    for name in ("label", "evidence", "partition_table"):
        assert shown[name] == record[name]
