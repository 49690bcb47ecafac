"""The report for spreadsheets: a row a module, safe to open, and therefore lossy."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from espcert import files
from espcert.fleet.reports import Report, reasons
from espcert.text import printable

COLUMNS: Final = (
    *("source", "id", "status", "exit_code", "verdict", "proven", "layout", "key", "revision"),
    *("label", "chip_family", "container", "subject", "serial", "not_after", "efuse_key_id"),
    *("key_sha256", "input_size", "input_sha256", "output", "output_sha256", "errors", "warnings"),
    *("error", "message", "duration_ms", "run"),
)
_FORMULA: Final = re.compile(r"(^|[;|\t])(?=\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet begins to compute: at the beginning of a field, or of what becomes one where
it takes another separator than the comma (much of Europe's takes the semicolon). Also the wide
forms of the signs. Source: OWASP, CSV Injection."""


def write(report: Report, path: Path, *, force: bool = False) -> None:
    """Write a header and a row for each record, UTF-8, CRLF, all fields quoted as needed."""
    run = _run(report.header)
    with files.written_atomically(path, force=force) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        for record in reasons.records(report):
            row = _row(record) | {"run": run}
            writer.writerow([_safe(row.get(name)) for name in COLUMNS])
        text.detach()


def _run(header: Mapping[str, Any]) -> str:
    """Which run this was, in every row: a table that is sorted or cut keeps it.

    Without the sources: with many of them the table would grow with the square of their number.
    """
    given = header["options"].items()
    options = {name: value for name, value in given if value and name != "sources"}
    parts = (header["tool"], header["version"], header["verb"], json.dumps(options))
    digest = f"journal {header['journal_sha256']}"
    left = f", not finished: {header['left']} images are left" if header["left"] else ""
    return f"{' '.join(map(str, parts))}, clock {header['at']}, {digest}{left}"


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    error = record.get("error") or {}
    return {
        **record,
        "errors": _codes(record, "error"),
        "warnings": _codes(record, "warning"),
        "error": error.get("code"),
        "message": error.get("message"),
    }


def _codes(record: Mapping[str, Any], severity: str) -> str:
    found = record["findings"]
    return " ".join(dict.fromkeys(one["code"] for one in found if one["severity"] == severity))


def _safe(value: object) -> str:
    """A field that no spreadsheet computes: an apostrophe before what looks like a formula."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return printable(_FORMULA.sub(r"\1'", str(value)))
