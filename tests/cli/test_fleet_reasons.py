"""`espcert fleet`: which images failed, and why, in every report and on the terminal."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.cli.runner import fixture, run
from tests.cli.test_fleet import AT, fleet
from tests.toolkit import pki
from tests.toolkit.test_fleet_work import image_with

from espcert.catalogue import CATALOGUE
from espcert_formats import tlv

SUFFIXES = ("html", "xml", "csv", "sarif", "jsonl")


class Case(NamedTuple):
    """An image that is an error only because the run was asked to be strict, and the reason."""

    source: Path
    options: tuple[str, ...]
    code: str


@pytest.fixture(params=["ds-not-proven", "key-not-proven", "missing-ca-cert"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    folder = tmp_path / "dumps"
    folder.mkdir()
    shutil.copy(fixture("tlv_ec"), folder / "good.bin")
    path = folder / "bad.bin"
    if request.param == "ds-not-proven":
        shutil.copy(fixture("tlv_ds_c3"), path)
        return Case(path, ("--require-proof",), request.param)
    if request.param == "key-not-proven":
        key = pki.entry("private_key", pki.key_bytes(pki.make_key("P-256", 5)))
        path.write_bytes(bytes(tlv.chain([key])).ljust(0x2000, b"\xff"))
        return Case(path, ("--require-proof",), request.param)
    image_with(pki.make_leaf(None, "module"), folder, "bad.bin")
    return Case(path, ("--strict",), request.param)


@pytest.fixture
def reports(case: Case, tmp_path: Path) -> dict[str, Path]:
    paths = {suffix: tmp_path / f"r.{suffix}" for suffix in SUFFIXES}
    asked = [one for path in paths.values() for one in ("--report", path)]
    done = fleet("audit", case.source.parent, *AT, *case.options, *asked)
    assert done.code == 1
    return paths


def packed(page: str) -> list[Any]:
    """The rows that a page carries inside."""
    texts = re.findall(r"H4sI[A-Za-z0-9+/=]+", page)
    return [json.loads(gzip.decompress(base64.b64decode(text))) for text in texts]


def test_sarif_has_the_reason_as_an_error(case: Case, reports: dict[str, Path]) -> None:
    (ran,) = json.loads(reports["sarif"].read_text())["runs"]
    levels = {(result["ruleId"], result["level"]) for result in ran["results"]}
    assert (case.code, "error") in levels


def test_junit_fails_for_the_reason(case: Case, reports: dict[str, Path]) -> None:
    failures = ElementTree.parse(reports["xml"]).getroot().findall(".//failure")
    assert [one.get("type") for one in failures] == [case.code]
    assert "-proven]" not in (failures[0].text or "").replace("not-proven]", "")


def test_csv_has_the_reason_among_the_errors(case: Case, reports: dict[str, Path]) -> None:
    with reports["csv"].open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == "bad")
    assert (row["verdict"], row["exit_code"]) == ("error", "1")
    assert row["errors"].split()[0] == case.code
    assert case.code not in row["warnings"].split()


def test_the_page_says_what_is_wrong(case: Case, reports: dict[str, Path]) -> None:
    page = reports["html"].read_text("utf-8")
    assert "Nothing asks to be done" not in page
    steps = page[page.index('<ol class="steps">') : page.index("</ol>")]
    assert f'data-code="{case.code}"' in steps
    names = packed(page)[0]["names"]["codes"]
    assert [severity for code, severity, *_ in names if code == case.code] == ["error"]


def test_the_record_stays_what_verify_says(case: Case, reports: dict[str, Path]) -> None:
    lines = [json.loads(line) for line in reports["jsonl"].read_text().splitlines()]
    record = next(line for line in lines if line.get("id") == "bad")
    finding = next(one for one in record["findings"] if one["code"] == case.code)
    assert (record["verdict"], finding["severity"]) == ("error", CATALOGUE[case.code].severity)
    answer = run("verify", "--json", *AT, *case.options, case.source).object
    assert record["findings"] == answer["findings"]


def test_the_summary_counts_the_reason(case: Case) -> None:
    done = fleet("audit", case.source.parent, *AT, *case.options)
    assert re.search(rf"^ +1 +{case.code}$", done.out, re.MULTILINE)
