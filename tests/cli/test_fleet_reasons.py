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
from tests.support import FIXTURES
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


# --- The terminal ---------------------------------------------------------------------------------


def erased(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"\xff" * 4096)


def test_failures_are_named_with_their_reasons(case: Case) -> None:
    done = fleet("audit", case.source.parent, *AT, *case.options)
    told = [line for line in done.err.splitlines() if str(case.source) in line]
    assert len(told) == 1
    assert f"[{case.code}]" in told[0]
    assert "good.bin" not in done.err
    for briefly in ("--quiet", "--json"):
        done = fleet("audit", case.source.parent, *AT, *case.options, briefly)
        assert case.code not in done.err
        assert done.code == 1


def test_the_worst_failures_are_named_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    image_with(pki.make_leaf(None, "old", until=2022), tmp_path, "a expired.bin")
    names = [f"{number}\x1b[31m.bin" for number in range(6)]
    erased(tmp_path / "b", *names)
    done = fleet("audit", tmp_path, *AT, "--journal", tmp_path / "j")
    assert done.code == 3
    *named, last = [line for line in done.err.splitlines() if line.startswith("espcert: ")]
    assert len(named) == 5
    for number, line in enumerate(named):
        assert f"{number}\\x1b[31m.bin: erased flash" in line
        assert line.endswith("[erased]")
    assert last == "espcert: and 2 more, see --report or --json"


def test_a_message_that_names_its_image_does_not_name_it_twice(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("none.bin\n")
    done = fleet("audit", "@list", *AT, cwd=tmp_path)
    assert done.code == 2
    assert done.err.count("none.bin") == 1
    assert "[not-found]" in done.err


def test_redacted_failures_name_no_image(tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    image_with(pki.make_leaf(None, "SN4711", until=2022), folder, "SN4711.bin")
    shutil.copy(folder / "SN4711.bin", folder / "SN4712.bin")
    report = ("--report", tmp_path / "SN4711.csv", "--journal", tmp_path / "SN4711.sqlite")
    done = fleet("audit", folder, *AT, "--redact", *report)
    assert done.code == 1
    assert "SN471" not in done.out + done.err
    assert str(tmp_path) not in done.out + done.err
    assert "[certificate-expired]" in done.err


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Ten modules twice: ten keys and ten certificates are shared."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number in range(10):
        path = image_with(pki.make_leaf(None, f"module {number}"), folder, f"{number}.bin")
        shutil.copy(path, folder / f"{number} again.bin")
    return folder


def test_lists_that_are_cut_say_so(pairs: Path) -> None:
    done = fleet("audit", pairs, *AT)
    assert done.out.count("  across ") == 10
    assert "and 10 more, see --report\n" in done.out


def test_codes_that_are_cut_are_counted(tmp_path: Path) -> None:
    done = fleet("audit", FIXTURES / "images", *AT, "--report", tmp_path / "r.jsonl")
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    codes = {
        finding["code"]
        for record in records
        for finding in record.get("findings", ())
        if finding["severity"] != "info"
    }
    listed = re.findall(r"^ +[0-9]+ {7}([a-z-]+)$", done.out, re.MULTILINE)
    assert len(listed) == 12 < len(codes)
    assert set(listed) <= codes
    assert f"and {len(codes) - 12} more, see --report" in done.out


def test_a_shard_without_images_says_so(tmp_path: Path) -> None:
    erased(tmp_path, "x.bin")
    said = [fleet("audit", "x.bin", "--shard", f"{n}/2", cwd=tmp_path).out for n in (1, 2)]
    assert sorted(text.splitlines()[0][:9] for text in said) == ["0 images:", "1 images:"]
    number = next(n for n, text in enumerate(said, 1) if text.startswith("0"))
    assert f"0 images: shard {number}/2 has none\n" in said[number - 1]


def test_a_merge_says_what_was_joined(tmp_path: Path) -> None:
    erased(tmp_path / "dumps", "x.bin", "y.bin", "z.bin")
    for number in (1, 2):
        more = ("--shard", f"{number}/2", "--journal", f"{number}.sqlite", "--quiet")
        fleet("audit", "dumps", *AT, *more, cwd=tmp_path)
    done = fleet("merge", "1.sqlite", "2.sqlite", "-o", "all\x1b.sqlite", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out == "3 images of 2 journals in all\\x1b.sqlite\n"
