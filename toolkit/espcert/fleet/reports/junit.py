"""The report for CI systems: JUnit XML, a test case a module."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from espcert import files
from espcert.fleet.reports import Report, reasons

_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold, escaped or not. Source: XML 1.0, 2.2."""


def write(report: Report, path: Path, *, force: bool = False) -> None:
    """Write one suite: errors of a module are its failures, a module without an answer an error."""
    counted = Counter(_outcome(record) for record in report.records())
    with files.written_atomically(path, force=force) as file:
        for line in _lines(report, counted):
            file.write(f"{line}\n".encode())


def _outcome(record: Mapping[str, Any]) -> str:
    if record["status"] == "skipped":
        return "skipped"
    if "error" in record and record["error"]["code"] != "refused":
        return "errors"
    return "failures" if record["exit_code"] else "tests"


def _lines(report: Report, counted: Counter[str]) -> Iterator[str]:
    header, shared = report.header, len(report.across)
    unfinished = bool(header["left"])
    numbers = {
        "tests": counted.total() + shared + unfinished,
        "failures": counted["failures"] + shared,
        "errors": counted["errors"] + unfinished,
        "skipped": counted["skipped"],
    }
    name = f"{header['tool']} fleet {header['verb']}"
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<testsuites {_attributes(name=name, **numbers)}>"
    yield f"<testsuite {_attributes(name=name, timestamp=header['at'], **numbers)}>"
    yield "<properties>"
    for key, value in header.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"<property {_attributes(name=key, value=text)}/>"
    yield "</properties>"
    if unfinished:
        attributes = _attributes(type="not-finished", message=f"{header['left']} images are left")
        yield f'<testcase classname="run" name="not finished"><error {attributes}/></testcase>'
    for record in reasons.records(report):
        yield from _case(record)
    for finding in report.across:
        yield f"<testcase {_attributes(classname='across', name=finding['message'])}>"
        listed = "\n".join(finding["sources"])
        attributes = _attributes(type=finding["code"], message=finding["message"])
        yield f"<failure {attributes}>{_text(listed)}</failure></testcase>"
    yield "</testsuite></testsuites>"


def _case(record: Mapping[str, Any]) -> Iterator[str]:
    seconds = f"{record['duration_ms'] / 1000:.6f}"
    attributes = _attributes(
        classname=record["layout"] or "unreadable", name=record["source"], time=seconds
    )
    yield f"<testcase {attributes}>"
    outcome = _outcome(record)
    if outcome == "skipped":
        yield f"<skipped {_attributes(message=record.get('reason_code', ''))}/>"
    elif outcome == "errors":
        error = record["error"]
        yield f"<error {_attributes(type=error['code'], message=error['message'])}/>"
    elif outcome == "failures":
        told = [one for one in record["findings"] if one["severity"] == "error"]
        told = told or [record["error"]]
        code = told[0]["code"]
        listed = "\n".join(f"{one['message']} [{one['code']}]" for one in told)
        yield f"<failure {_attributes(type=code, message=code)}>{_text(listed)}</failure>"
    yield "</testcase>"


def _attributes(**values: object) -> str:
    return " ".join(f"{name}={quoteattr(_legal(str(value)))}" for name, value in values.items())


def _text(text: str) -> str:
    return escape(_legal(text))


def _legal(text: str) -> str:
    """The text with what XML cannot hold as `\\uNNNN`."""
    return _ILLEGAL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
